import multiprocessing
import os
import signal
import threading
import time

import pytest

from anomalybench.core.errors import UsageError
from anomalybench.vision import devices


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    """Two devices that are not there, with locks of this test's own."""
    monkeypatch.setattr(devices, "gpus", lambda: {"cuda:0": "uuid-a", "cuda:1": "uuid-b"})
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "POLL_S", 0.001)


def test_each_gpu_is_reserved_for_one_job_at_a_time(two_gpus):
    used, most, lock = [], [], threading.Lock()

    def job():
        with devices.reserved("auto") as name:
            with lock:
                used.append(name)
                most.append(len(used))
                assert len(set(used)) == len(used)
            time.sleep(0.005)
            with lock:
                used.remove(name)

    threads = [threading.Thread(target=job) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 20
    assert max(most) == 2


def test_a_named_gpu_waits_for_that_one(two_gpus):
    with devices.reserved("cuda:1") as first, devices.reserved("cuda") as other:
        assert (first, other) == ("cuda:1", "cuda:0")
        waiting = threading.Thread(target=lambda: devices.reserved("cuda:1").__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def hold(name, started):
    with devices.reserved(name):
        started.set()
        time.sleep(60)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork for the fake devices")
def test_a_killed_process_gives_its_gpu_back(two_gpus):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=hold, args=("cuda:0", started))
    process.start()
    assert started.wait(10)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with devices.reserved("cuda:0") as name:
        assert name == "cuda:0"


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(devices, "gpus", dict)
    with devices.reserved("auto") as first, devices.reserved("cpu") as second:
        assert first == second == "cpu"
    with pytest.raises(UsageError, match=r"cuda:3.*Take one of: cpu"), devices.reserved("cuda:3"):
        pass


@pytest.mark.parametrize("name", ["gpu", "cuda:7", "gpus"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch, name):
    monkeypatch.setattr(devices, "gpus", dict)
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=rf"device '{name}'.*Take one of: cpu, auto\."):
        devices.device_name(name)


def test_gpu_is_any_gpu(two_gpus, monkeypatch):
    assert devices.device_name("gpu") == "cuda"
    with devices.reserved("gpu") as name:
        assert name == "cuda:0"
    monkeypatch.setattr(devices, "gpus", dict)
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: True)
    assert devices.device_name("gpu") == "mps"
    with devices.reserved("gpu") as name:
        assert name == "mps"
