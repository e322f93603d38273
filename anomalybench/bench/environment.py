"""What a result depends on besides its job: versions, machine, commit, and the command and time it came from."""

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from anomalybench.core import places
from anomalybench.vision import devices

_PACKAGES = ("anomalybench-vision", "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "pillow")


def environment(device: str) -> dict[str, str]:
    """Names and values, as records keep them."""
    packages = {name: version(name) for name in _PACKAGES}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "device": device,
        "host": platform.node(),
        "machine": devices.machine(device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **packages,
        **_commit(),
    }


@cache
def _commit() -> dict[str, str]:
    """The checkout's commit, with a + where files differ from it; empty without a checkout or git."""
    root = places.checkout()
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True) if root else None
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git": found.stdout.strip()} if found else {}
