"""Fitted states: what a method needs to predict again. Large arrays are kept once per results folder, by contents.

Most of a state is a frozen network, the same in every job: ten methods on two categories took 131 MB in whole copies.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.bench.store import arrays
from anomalybench.core.errors import StoreError
from anomalybench.core.files import write_aside

_LARGE = 2**16
"""Bytes from which on an array is shared."""
_SHARED = "sha256:"
"""Begins the name of an entry that holds the hash of a shared array instead of the array."""


def write(file: Path, shared: Path, state: Mapping[str, NDArray[Any]]) -> None:
    """Write a state.

    Args:
        file: The job's file.
        shared: Folder of the arrays that jobs share.
        state: Arrays by name.
    """
    entries = {}
    for name, values in state.items():
        if values.nbytes < _LARGE:
            entries[name] = values
            continue
        digest = _digest(values)
        target = shared / f"{digest.hex()}.npz"
        if _shared(target, digest) is None:
            with write_aside(target) as aside:
                arrays.write(aside, {"values": values})
        entries[_SHARED + name] = np.frombuffer(digest, np.uint8)
    arrays.write(file, entries)


def read(file: Path, shared: Path) -> dict[str, NDArray[Any]]:
    """Read what `write` wrote.

    Raises:
        StoreError: An array is damaged, gone or another one.
    """
    found = {}
    for name, values in arrays.read(file).items():
        if not name.startswith(_SHARED):
            found[name] = values
            continue
        digest = values.tobytes()
        one = shared / f"{digest.hex()}.npz"
        whole = _shared(one, digest)
        if whole is None:
            raise StoreError(f"{one}: is gone or damaged. Fit the job again: --force.")
        found[name.removeprefix(_SHARED)] = whole
    return found


def _shared(file: Path, digest: bytes) -> NDArray[Any] | None:
    """The array of a file; None where it is not there, damaged or another one."""
    try:
        values = arrays.read(file).get("values")
    except StoreError:
        return None
    return values if values is not None and _digest(values) == digest else None


def _digest(values: NDArray[Any]) -> bytes:
    plain = np.ascontiguousarray(values)
    return hashlib.sha256(f"{plain.dtype.str} {plain.shape} ".encode() + plain.tobytes()).digest()
