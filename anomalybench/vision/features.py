"""Frozen features, computed once: shared by methods, protocols, folds and seeds of all runs into one results folder.

An entry is what one image gives after some layers of one network, at one size, as float16. Its folder is named after
everything that determines it but the image (weights, layers, size, preprocessing, engine), its file after the image's
contents. Values go through float16 whether or not they are stored, so that a run gives the same numbers with and
without the store. Files are written aside and renamed and carry a checksum; what is damaged is computed again, what was
not used for longest goes first when the store is full.
"""

import contextlib
import copy
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from anomalybench.core.files import sweep, write_aside
from anomalybench.core.method import FeatureCache, ImageArrays, Images
from anomalybench.vision import images as vision
from anomalybench.vision.inference import Run, Tapped, engine
from anomalybench.vision.training import state_hash

if TYPE_CHECKING:
    from anomalybench.vision.backbones import Backbone  # timm takes as long to import as torch, and floors need none
    from anomalybench.vision.graph import FrozenGraph

LIMIT = 20 * 10**9
_BATCH = 16
_HEADER = 2
"""Leading float16 places that hold the checksum's 32 bits."""
_LARGEST = float(np.finfo(np.float16).max)
_SPEED = "seconds_per_image.json"
_engines: dict[tuple[str, str, int, int], tuple[str, Run]] = {}
"""Exported networks of this process: an export takes as long as dozens of images."""


class FeatureStore:
    """Entries under one folder.

    Attributes:
        saved_s: Seconds that entries have saved so far: what computing them took when they were made.
        trouble: Why the store has stopped writing, if it has.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self.saved_s = 0.0
        self.trouble: str | None = None
        self._bytes: int | None = None

    def read(self, network: str, image: str, length: int) -> NDArray[np.float16] | None:
        """The entry's `length` values, or None if it is not there or damaged."""
        file = self.folder / network / image
        try:
            # Not mapped: a mapping holds its file open, and a thousand open files are too many for most systems.
            stored = np.frombuffer(file.read_bytes(), np.float16)
        except (OSError, ValueError):
            return None
        if stored.size != length + _HEADER or stored[:_HEADER].tobytes() != _checksum(stored[_HEADER:]):
            return None
        with contextlib.suppress(OSError):  # read-only, or just removed by another process
            os.utime(file)
        return stored[_HEADER:]

    def write(self, network: str, image: str, values: NDArray[np.float16]) -> None:
        """Store an entry; a disk that is full or read-only ends the writing, not the run."""
        if self.trouble is not None:
            return
        folder = self.folder / network
        try:
            content = _checksum(values) + values.tobytes()
            with write_aside(folder / image, durable=False) as aside:
                aside.write_bytes(content)
            self._grow(len(content))
        except OSError as error:
            self.trouble = f"the feature store {self.folder} stopped writing ({error.strerror or error})"

    def speed(self, network: str, seconds: float | None = None) -> float:
        """Seconds per image that computing took when it was last measured; with `seconds`, remember a measurement."""
        file = self.folder / network / _SPEED
        try:
            if seconds is not None and self.trouble is None:
                with write_aside(file, durable=False) as aside:
                    aside.write_text(json.dumps(seconds), encoding="ascii")
            return float(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return seconds or 0.0

    def _grow(self, size: int) -> None:
        if self._bytes is None:
            for network in self.folder.iterdir():
                sweep(network)
            self._bytes = sum(size for _, size, _ in self._entries())
        else:
            self._bytes += size
        if self._bytes > self.limit:
            entries = sorted(self._entries())
            self._bytes = sum(size for _, size, _ in entries)  # others may have written and removed some
            for _, old, file in entries:
                if self._bytes <= 0.9 * self.limit:
                    break
                file.unlink(missing_ok=True)
                self._bytes -= old

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and file of every entry."""
        for file in self.folder.glob("*/*"):
            try:
                about = file.stat()
            except FileNotFoundError:
                continue  # another process has just removed it
            if file.name != _SPEED and not file.name.startswith("."):
                yield about.st_mtime, about.st_size, file


class Frozen:
    """The frozen layers of a backbone, from images to float32 features.

    Args:
        backbone: The network; its layers must be frozen and on `device`.
        ends: After how many of its layers an output is wanted, ascending.
        size: Input side in pixels; images are resized to it.
        device: Torch device name.
        store: Where features are kept, if anywhere.
        normalise: Whether images are brought into the range that the weights expect, or only to [0, 1].
    """

    def __init__(
        self,
        backbone: "Backbone",
        ends: Sequence[int],
        size: int,
        device: str,
        store: FeatureCache | None = None,
        *,
        normalise: bool = True,
    ) -> None:
        self._backbone, self._size, self._device, self._store = backbone, size, device, store
        self._network = Tapped(backbone.layers, sorted(set(ends))).eval()
        self._normalise = normalise

    def __call__(self, images: Images) -> list[torch.Tensor]:
        """Outputs n x c x h x w after each wanted layer; from the store where `images` carries content hashes."""
        hashes: tuple[str, ...] | None = getattr(images, "hashes", None)  # a list of arrays, as in a notebook, has none
        store = self._store if hashes is not None else None
        entries: dict[int, NDArray[np.float16]] = {}
        if store is not None and hashes is not None:
            stored = ((i, store.read(self._key, name, self._length)) for i, name in enumerate(hashes))
            entries = {i: values for i, values in stored if values is not None}
            store.saved_s += len(entries) * store.speed(self._key) if entries else 0.0
        missing = [i for i in range(len(images)) if i not in entries]
        start = time.perf_counter()
        for places, values in self._compute(images, missing):
            for i, one in zip(places, values, strict=True):
                entries[i] = one
                if store is not None and hashes is not None:
                    store.write(self._key, hashes[i], one)
        if store is not None and missing:
            store.speed(self._key, (time.perf_counter() - start) / len(missing))
        return self._unpacked([entries[i] for i in range(len(images))])

    def tensor(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Outputs for pictures n x 3 x size x size, uint8 or float in [0, 255], that no store needs to know."""
        parts = [self._pass(batch) for batch in pictures.split(_BATCH)]
        return self._unpacked([one for part in parts for one in part])

    def graph(self) -> "FrozenGraph":
        """The same as a network on the CPU, from pictures n x 3 x size x size in [0, 255], for export."""
        from anomalybench.vision.graph import FrozenGraph

        return FrozenGraph(self._backbone, copy.deepcopy(self._network).cpu(), normalise=self._normalise)

    def _compute(self, images: Images, places: Sequence[int]) -> Iterator[tuple[Sequence[int], NDArray[np.float16]]]:
        """Features of some images, batch by batch; the next batch is decoded while one is computed."""
        chunks = [places[start : start + _BATCH] for start in range(0, len(places), _BATCH)]
        with ThreadPoolExecutor(1) as ahead:
            decoded = [ahead.submit(self._decode, images, chunk) for chunk in chunks[:1]]
            for i, chunk in enumerate(chunks):
                pictures = decoded.pop().result()
                decoded = [ahead.submit(self._decode, images, following) for following in chunks[i + 1 : i + 2]]
                yield chunk, self._pass(pictures)

    def _decode(self, images: Images, places: Sequence[int]) -> torch.Tensor:
        return vision.stack(ImageArrays([images[i] for i in places]), self._size)

    def _pass(self, pictures: torch.Tensor) -> NDArray[np.float16]:
        """One batch through the network: n x values."""
        batch = self._backbone.normalise(pictures) if self._normalise else pictures.float() / 255
        outputs = self._run(batch)
        self._shapes = [tuple(output.shape[1:]) for output in outputs]
        flat = torch.cat([output.reshape(len(batch), -1) for output in outputs], 1)
        return flat.clamp(-_LARGEST, _LARGEST).half().numpy()

    def _unpacked(self, entries: Sequence[NDArray[np.float16]]) -> list[torch.Tensor]:
        lengths = [int(np.prod(shape)) for shape in self._shapes]
        flat = torch.from_numpy(np.stack(entries)).split(lengths, 1)
        return [part.reshape(-1, *shape).float() for part, shape in zip(flat, self._shapes, strict=True)]

    @cached_property
    def _identity(self) -> str:
        """Hash of everything but the image and the engine."""
        about = [repr(self._network.layers), self._network.ends, self._size, self._normalise]
        about += [self._backbone.mean, self._backbone.std]
        about += [state_hash(self._network)]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]

    @cached_property
    def _engine(self) -> tuple[str, Run]:
        key = (self._identity, self._device, self._size, torch.get_num_threads())
        if key not in _engines:
            if len(_engines) >= 8:
                _engines.pop(next(iter(_engines)))
            _engines[key] = engine(self._network, self._size, self._device)
        return _engines[key]

    @property
    def _run(self) -> Run:
        return self._engine[1]

    @property
    def _key(self) -> str:
        return f"{self._identity}-{self._engine[0]}"

    @cached_property
    def _shapes(self) -> list[tuple[int, ...]]:
        """Shape of each output for one image."""
        return [tuple(output.shape[1:]) for output in self._run(torch.zeros(1, 3, self._size, self._size))]

    @property
    def _length(self) -> int:
        return sum(int(np.prod(shape)) for shape in self._shapes)


def _checksum(values: NDArray[np.float16]) -> bytes:
    return zlib.crc32(values.tobytes()).to_bytes(4, "little")
