import contextlib
import os
import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest
from made_served import png, promote

pytest.importorskip("fastapi", reason="needs the extra serve")
from fastapi.testclient import TestClient

from anomalybench.service.app import create_app
from anomalybench.service.engine import Engine
from anomalybench.service.settings import Settings

WAIT_S = 60


class Service:
    """A service in this process."""

    def __init__(self, engine, client):
        self.engine, self.client = engine, client
        self.get, self.post, self.request = client.get, client.post, client.request

    def predict(self, *levels, name="pill", part=None, query="", **options):
        files = [("image", (f"{level}.png", png(level), "image/png")) for level in levels]
        data = {} if part is None else {"part": part}
        return self.post(f"/models/{name}/predict{query}", files=files, data=data, **options)


@pytest.fixture
def results(tmp_path):
    """A results folder with one promoted and exported model, pill."""
    promote(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def start(results):
    """Starts a service in this process, with settings by name."""
    with contextlib.ExitStack() as stack:

        def begin(**settings):
            engine = Engine(Settings(**{"results": results, "poll_s": 0.05, **settings}))
            engine.start()
            client = stack.enter_context(TestClient(create_app(engine), raise_server_exceptions=False))
            return Service(engine, client)

        yield begin


@pytest.fixture
def service(start):
    return start()


class Process:
    """A service in a process of its own, as a user starts it."""

    def __init__(self, *arguments, **environment):
        code = "from anomalybench.cli import main; main()"
        self.popen = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip
        self._killer = threading.Timer(WAIT_S, self.popen.kill)
        self._killer.start()
        self.lines, self.url = [], ""
        for line in self.popen.stdout:
            self.lines.append(line)
            if match := re.search(r"serving at (\S+)", line):
                self.url = match[1]
            if "log of decisions" in line:
                break

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=30, **options)

    def end(self, number=signal.SIGTERM):
        """Send a signal; the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(30)

    def close(self):
        self._killer.cancel()
        if self.popen.poll() is None:
            self.popen.kill()
        rest, error = self.popen.communicate(timeout=30)
        self.lines += rest.splitlines()
        return error


@pytest.fixture
def launch(results):
    """Starts services in processes of their own; all are killed in the end."""
    started = []

    def begin(*arguments, **environment):
        process = Process("--results", results, *arguments, **environment)
        started.append(process)
        assert process.url, process.close()
        return process

    yield begin
    for process in started:
        process.close()
