"""The service as a process: how it starts, how it ends, and what outlives kill -9."""

import itertools
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import httpx
import pytest
from made_served import png, promote

FORM = [("image", ("x.png", png(60), "image/png"))]


def logged(results):
    with sqlite3.connect(results / "service" / "decisions.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT * FROM decisions").fetchall()
    for row in rows:
        assert sum(value is None for value in row) == 1, row  # all but the part
    return {row[0] for row in rows}


def ask_until_it_ends(process, answered, refused, count=4, n_images=1):
    """Threads that ask on until the connection fails."""

    def ask():
        with process.client() as client:
            while True:
                try:
                    response = client.post("/models/pill/predict", files=FORM * n_images)
                except httpx.HTTPError:
                    return
                if response.status_code == 200:
                    answered.append([one["decision"] for one in response.json()])
                else:
                    refused.append(response.status_code)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_it_starts_in_no_time_and_without_torch(results):
    """From the command to the first answer; what is heavy is not even imported."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    heavy = ("torch", "timm", "pandas", "matplotlib", "sklearn", "pyarrow")
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('LOADED', [name for name in {heavy!r} if name in sys.modules]))\n"
        "from anomalybench.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "serve", "--results", str(results), "--port", str(port)]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health/live").raise_for_status()
                break
            except httpx.ConnectError:
                assert time.monotonic() < begun + 30
                time.sleep(0.01)
        took = time.monotonic() - begun
        url = f"http://127.0.0.1:{port}/models/pill"
        assert httpx.post(f"{url}/predict", files=FORM).status_code == 200
        for path in ("", "/drift", "/comparison"):
            assert httpx.get(url + path, timeout=20).status_code == 200
        process.terminate()
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "LOADED []" in output
    assert took < 2 or took < 4 * _import_s(), f"{took:.1f} s"  # a busy machine is slow at everything


def _import_s():
    """Seconds that a process takes here for the imports alone."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import fastapi, uvicorn, onnxruntime, numpy, PIL.Image"], check=True)
    return time.monotonic() - begun


def test_the_first_lines_say_what_is_served_and_where(launch, results):
    promote(results)
    process = launch("--split", "pill=current:90,previous:10")
    text = "".join(process.lines)
    assert "pill: version 2 (90 %), version 1 (10 %)" in text
    assert f"{process.url}/docs" in text
    with process.client() as client:
        assert client.get("/docs").status_code == 200


@pytest.mark.slow
def test_what_was_answered_is_in_the_log_after_kill_9(launch, results):
    every = set()
    for n_images in (1, 3):
        process, answered = launch(), []
        threads = ask_until_it_ends(process, answered, [], n_images=n_images)
        wait_for(lambda found=answered: len(found) > 60)
        process.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
        every |= set(itertools.chain(*answered))
        kept = logged(results)
        assert every <= kept
        assert len(kept - every) <= 2 * 4 * n_images  # what was written but not answered any more


@pytest.mark.slow
def test_sigterm_finishes_what_is_in_flight(launch, results):
    promote(results, "slow", work=40)
    process, statuses = launch(), []
    began = threading.Barrier(5)

    def ask():
        with process.client() as client:
            began.wait()
            statuses.append(client.post("/models/slow/predict", files=FORM * 2).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    began.wait()
    with process.client() as client:
        wait_for(lambda: client.get("/health/ready").json()["queue"] == 4)
    assert process.end() == 0
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert len(logged(results)) == 8
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.url)
    process.close()
    assert "every answered decision is in the log" in "".join(process.lines)


def test_sigterm_under_load_loses_no_answer(launch, results):
    process, answered, refused = launch(), [], []
    threads = ask_until_it_ends(process, answered, refused)
    wait_for(lambda: len(answered) > 30)
    assert process.end() == 0
    for thread in threads:
        thread.join()
    assert refused == []
    assert set(itertools.chain(*answered)) <= logged(results)
    assert "Traceback" not in process.close()


def test_ctrl_c_ends_it_without_a_traceback(launch):
    process = launch()
    assert process.end(signal.SIGINT) == 0
    assert "Traceback" not in process.close()


@pytest.mark.slow
def test_a_log_that_may_not_grow_stops_no_answer(results):
    """As on a full disk: a limit of the operating system on the size of files."""
    code = "from anomalybench.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--results", str(results), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: (  # noqa: PLW1509, nothing else runs here yet
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000)),
        ),
    )  # fmt: skip
    try:
        url = process.stdout.readline().split()[-1]
        answers = []
        for _ in range(80):
            response = httpx.post(f"{url}/models/pill/predict", files=FORM * 8)
            assert response.status_code == 200
            answers += response.json()
        assert answers[0]["logged"]
        assert not answers[-1]["logged"]
        ready = httpx.get(f"{url}/health/ready").json()
        assert (ready["status"], ready["log_writable"]) == ("degraded", False)
        feedback = httpx.post(f"{url}/feedback", json={"decision": answers[0]["decision"], "verdict": "ok"})
        assert feedback.status_code == 503
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
    assert {one["decision"] for one in answers if one["logged"]} == logged(results)
