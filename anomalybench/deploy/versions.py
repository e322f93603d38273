"""What a proof or a measurement depends on besides the model: packages, processor, operating system."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("anomalybench-vision", "torch", "onnx", "onnxruntime", "openvino", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Versions of the packages that compute; those that are not installed are left out."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def system() -> str:
    """The operating system and the kind of processor."""
    return platform.platform()
