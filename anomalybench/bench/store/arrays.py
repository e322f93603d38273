"""Reading .npz files that may come from anywhere: what an array claims to be is checked before memory is taken."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from anomalybench.core.errors import StoreError

Arrays = dict[str, NDArray[Any]]
_MOST_INFLATED = 1100
"""Deflate makes at most 1,032 bytes of one."""


def read(file: Path, names: tuple[str, ...] | None = None, most: int | None = None) -> Arrays:
    """The arrays of a file by name.

    Args:
        file: An .npz file.
        names: Only these, where they are there.
        most: No array may have more bytes.

    Raises:
        StoreError: The file is damaged, holds objects, or claims more than it can hold.
    """
    try:
        size = file.stat().st_size
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = {}
            for name in members if names is None else [name for name in names if name in members]:
                with archive.open(members[name]) as stream:
                    found[name] = _read(stream, members[name], size, most)
            return found
    except Exception as error:  # numpy and zipfile raise many kinds for a file that is not what it should be
        raise StoreError(f"{file}: cannot be read ({error}).") from None


def write(file: Path, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False) -> None:
    """Write arrays by name."""
    save = np.savez_compressed if compressed else np.savez
    save(file, allow_pickle=False, **arrays)


def _read(stream: IO[bytes], info: zipfile.ZipInfo, size: int, most: int | None) -> NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"{info.filename} has an unknown format {version}")
    shape, _, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds objects")
    claimed = dtype.itemsize
    for side in shape:
        claimed *= side
    if claimed + stream.tell() != info.file_size or info.file_size > _MOST_INFLATED * size + 1024:
        raise ValueError(f"{info.filename} claims to be {shape}, which does not fit its size")
    if most is not None and claimed > most:
        raise ValueError(f"{info.filename} has {claimed} bytes, {most} at most were expected")
    stream.seek(0)
    values: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return values
