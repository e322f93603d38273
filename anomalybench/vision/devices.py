"""Where a method computes, and how much memory that took."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from anomalybench.core.errors import UsageError

POLL_S = 0.2


def device_name(wanted: str) -> str:
    """The torch device to use.

    Args:
        wanted: A torch device; `auto` is an NVIDIA GPU where there is one, else the CPU; `gpu` is any GPU.

    Raises:
        UsageError: The device does not exist here; the error lists what does.
    """
    if wanted == "auto":
        return "cuda" if gpus() else "cpu"
    if wanted == "gpu":
        name = "cuda" if gpus() else "mps"
        if name == "mps" and not torch.backends.mps.is_available():
            raise UsageError(f"device 'gpu': there is no GPU here. {_choices()}")
        return name
    try:
        torch.zeros(1, device=torch.device(wanted))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"device '{wanted}' cannot be used: {reason}. {_choices()}") from None
    return wanted


def _choices() -> str:
    """What there is to choose from here."""
    here = ["cpu", *gpus(), *(["mps"] if torch.backends.mps.is_available() else [])]
    return f"Take one of: {', '.join(here)}, auto."


@contextmanager
def reserved(wanted: str) -> Iterator[str]:
    """The torch device for one job; a GPU goes to one job at a time on this machine, and the others wait.

    The lock is the operating system's, so that it ends with the process, and is named after the GPU itself: `cuda:0`
    may be another one in each process.

    Args:
        wanted: As for `device_name`; `auto`, `gpu` and `cuda` take the first NVIDIA GPU that is free.

    Raises:
        UsageError: There is no such GPU.
    """
    name = device_name(wanted) if wanted in ("auto", "gpu") else wanted
    if not name.startswith("cuda"):
        yield name
        return
    fitting = {gpu: uuid for gpu, uuid in gpus().items() if name in ("cuda", gpu)}
    if not fitting:
        raise UsageError(f"device '{wanted}' is not here. {_choices()}")
    locks = {gpu: FileLock(Path(tempfile.gettempdir()) / f"anomalybench-{uuid}.lock") for gpu, uuid in fitting.items()}
    while True:
        for gpu, lock in locks.items():
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield gpu
            finally:
                lock.release()
            return
        time.sleep(POLL_S)


def gpus() -> dict[str, str]:
    """Unique identifier of each GPU that this process may use, by torch device name."""
    return {f"cuda:{i}": str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())}


def machine(device: str) -> str:
    """Processor and number of cores, and the accelerator where one is used."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = about.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    except OSError:
        processor = ""
    named = f"{processor or platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return f"{named}, {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else named


def reset_peak_memory(device: str) -> None:
    """Start a new measurement of the peak."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # elsewhere than on Linux the peak is the process's own, from its start


def peak_memory_mb(device: str) -> float:
    """Peak since the reset, in MB: of the accelerator where one is used, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        import resource  # does not exist on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
