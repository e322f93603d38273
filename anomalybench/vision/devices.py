"""Where a method computes, and how much memory that took."""

from pathlib import Path

import torch

from anomalybench.core.errors import UsageError


def device_name(wanted: str) -> str:
    """The torch device to use: `auto` takes an NVIDIA GPU where there is one.

    Raises:
        UsageError: The device does not exist here.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=torch.device(wanted))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{wanted}' cannot be used: {str(error).splitlines()[0]} Take cpu or auto.") from None
    return wanted


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
