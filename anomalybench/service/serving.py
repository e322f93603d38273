"""Which versions of which models are in memory, and how a newly promoted one takes over.

A thread looks at the results folder about once a second. A version is loaded aside and run once before it gets any
request; then the table of models is replaced as a whole. A request keeps the model that it was given, so none is
dropped or answered half by one and half by another.

A version that is promoted but not exported, or damaged, never takes a working one's place, and `pending` says why. What
answers instead is what answered before, or else the newest version that rollbacks would return to. A version that a
rollback has left, because it was bad, comes back by no later promotion; it goes on only where it answered at the time
of the rollback and nothing else can.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anomalybench.core.errors import AnomalyBenchError, StoreError, UsageError, described
from anomalybench.core.method import ImageArrays
from anomalybench.core.model_card import CARD
from anomalybench.core.places import command
from anomalybench.deploy import onnx_model
from anomalybench.deploy.model import ONNX, Model
from anomalybench.deploy.promoted import Promoted
from anomalybench.service.settings import Settings
from anomalybench.service.traffic import EVERYTHING, Selector, Split, pick
from anomalybench.service.window import Seen, Window

_SIDE = 64
"""Of the image that a model without an input size is run on first."""
Stamp = tuple[tuple[int, int, int], ...]
Refill = Callable[[str, int, int], list[Seen]]
"""The last images that a version has seen before: name, version and how many."""


@dataclass(frozen=True)
class Loaded:
    """A version in memory.

    Attributes:
        name: Name of the model.
        version: Its number.
        model: The model.
        window: The last images that it has seen.
    """

    name: str
    version: int
    model: Model
    window: Window = field(compare=False)


@dataclass(frozen=True)
class Share:
    """Who answers a share of the requests.

    Attributes:
        selector: As in the split.
        percent: The share.
        version: The version in memory that answers; None while there is none.
    """

    selector: Selector
    percent: float
    version: int | None


@dataclass(frozen=True)
class Served:
    """A promoted model, and what is served of it.

    Attributes:
        name: Its name.
        current: The promoted version; None while it cannot be told.
        there: Versions in the results folder.
        versions: Those in memory.
        shares: Who answers which share of the requests.
        pending: What keeps a version from being served, in words.
    """

    name: str
    current: int | None = None
    there: tuple[int, ...] = ()
    versions: Mapping[int, Loaded] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    pending: tuple[str, ...] = ()

    def at(self, place: float) -> Loaded | None:
        """Who answers at a place in the traffic, 0 to 100; None where nothing is in memory."""
        known = [(share.version, share.percent) for share in self.shares if share.version is not None]
        return self.versions[pick(known, place)] if known else None

    def answering(self, selector: Selector) -> Loaded | None:
        """Who answers the share of a selector; None where nothing does."""
        versions = (share.version for share in self.shares if share.selector == selector)
        return next((self.versions[version] for version in versions if version is not None), None)

    @property
    def main(self) -> Loaded | None:
        """The version that answers as the current one, or else the first of the split."""
        shares = sorted(self.shares, key=lambda share: share.selector != "current")
        return next((self.versions[share.version] for share in shares if share.version is not None), None)


class Serving:
    """The models of a service.

    Attributes:
        models: What is served, by name; replaced as a whole.
    """

    def __init__(self, settings: Settings, refill: Refill = lambda name, version, most: []) -> None:
        """The models of a service; `refresh` loads them.

        Args:
            settings: Where they lie, and how traffic is shared.
            refill: What a version has seen before it was loaded.
        """
        self.models: Mapping[str, Served] = {}
        self._settings, self._refill = settings, refill
        self._threads = max(1, (os.cpu_count() or 1) // settings.workers)
        self._promoted = Promoted(settings.results)
        self._tried: dict[tuple[str, int], tuple[Stamp, Loaded | str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-watcher", daemon=True)

    def start(self) -> None:
        """Go on looking at the results folder."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Look at the results folder once, and take over what has changed."""
        try:
            names = self._promoted.names()
        except OSError:  # a folder on another machine may be away for a while
            names = []
        models = {name: self._served(name) for name in {*names, *self.models}}
        used = {(name, version) for name, one in models.items() for version in one.versions}
        self._tried = {
            key: tried for key, tried in self._tried.items() if key in used or not isinstance(tried[1], Loaded)
        }
        self.models = dict(sorted(models.items()))

    def check(self) -> None:
        """See that there is something to serve, and that every split names a model and versions that are there.

        Raises:
            StoreError: No model can be served.
            UsageError: A split names what is not there.
        """
        if not self.models:
            results = self._settings.results
            promote = command("models", "promote", "JOB", "--as", "NAME", results=results)
            export = command("export", "NAME", results=results)
            raise StoreError(f"{results}: no model is promoted. Promote one, and export it: {promote}, then {export}")
        if not any(one.main for one in self.models.values()):
            pending = (text for one in self.models.values() for text in one.pending)
            raise StoreError(f"no model can be served. {' '.join(pending)}")
        for name, split in self._settings.splits.items():
            if name not in self.models:
                known = ", ".join(self.models) or "none"
                raise UsageError(f"--split {name}={split}: there is no promoted model '{name}'. Known: {known}.")
            for arm in split.arms:
                if isinstance(arm.selector, int) or arm.selector == "previous":
                    self._check_arm(self.models[name], split, arm.selector)

    def _check_arm(self, served: Served, split: Split, selector: Selector) -> None:
        version = self._version(served.name, selector)
        there = ", ".join(map(str, served.there)) or "none"
        if version is None:
            raise UsageError(f"--split {served.name}={split}: no version was current before. There are: {there}.")
        if version not in served.there:
            raise UsageError(f"--split {served.name}={split}: there is no version {version}. There are: {there}.")
        if version not in served.versions:
            raise UsageError(f"--split {served.name}={split}: {' '.join(served.pending)}")

    def _watch(self) -> None:
        while not self._stop.wait(self._settings.poll_s):
            self.refresh()

    def _served(self, name: str) -> Served:
        """What there is to be served of a model now; on trouble, what was served before goes on."""
        before = self.models.get(name, Served(name))
        try:
            there = tuple(self._promoted.versions(name))
            current = self._promoted.current(name)
            return self._resolved(name, current, there, before)
        except Exception as error:  # a damaged folder must not end the thread that looks at all of them
            return Served(
                name, before.current, before.there, before.versions, before.shares, (f"{name}: {described(error)}",)
            )

    def _resolved(self, name: str, current: int, there: tuple[int, ...], before: Served) -> Served:
        shares, pending, versions = [], [], {}
        history = self._promoted.history(name)
        way = [*(history.earlier() if history else ()), current]
        for arm in self._settings.splits.get(name, EVERYTHING).arms:
            wanted = self._version(name, arm.selector)
            found = None if wanted is None else self._load(name, wanted)
            if isinstance(found, Loaded):
                answers: Loaded | None = found
            else:
                kept = before.answering(arm.selector)
                stays = kept and kept.version in there and kept.version in (*way, wanted)
                answers = self._newest(name, [kept.version] if kept and stays else way) or kept
                pending.append(_pending(name, arm.selector, wanted, found, _instead(answers, wanted, way)))
            if answers:
                versions[answers.version] = answers
            shares.append(Share(arm.selector, arm.percent, answers.version if answers else None))
        return Served(name, current, there, versions, tuple(shares), tuple(pending))

    def _version(self, name: str, selector: Selector) -> int | None:
        """The version that a selector stands for now."""
        if isinstance(selector, int):
            return selector
        if selector == "current":
            return self._promoted.current(name)
        history, there = self._promoted.history(name), self._promoted.versions(name)
        return next((one for one in reversed(history.earlier() if history else []) if one in there), None)

    def _newest(self, name: str, way: Sequence[int]) -> Loaded | None:
        """The last of these versions that can be loaded."""
        loaded = (self._load(name, version) for version in reversed(way))
        return next((one for one in loaded if isinstance(one, Loaded)), None)

    def _load(self, name: str, version: int) -> Loaded | str:
        """A version, or why it cannot be loaded; a folder that has not changed is not read again."""
        folder = self._promoted.root / name / str(version)
        stamp = _stamp(folder)
        tried = self._tried.get((name, version))
        if tried and tried[0] == stamp:
            return tried[1]
        found = self._loaded(name, version, folder)
        if isinstance(found, str) and tried and isinstance(tried[1], Loaded) and _stamp(folder) != stamp:
            return tried[1]  # it is being replaced at this moment
        self._tried[name, version] = (stamp, found)
        return found

    def _loaded(self, name: str, version: int, folder: Path) -> Loaded | str:
        if not folder.is_dir():
            return f"there is no version {version}"
        if not (folder / ONNX).is_file():
            how = command("export", f"{name}/{version}", results=self._settings.results)
            return f"version {version} is not exported: {how}"
        try:
            model = onnx_model.load(folder / ONNX, self._threads)
            side = model.card.input.side or _SIDE
            model.verdicts(ImageArrays([np.zeros((side, side, 3), np.uint8)]))
        except Exception as error:  # ONNX Runtime raises kinds of its own for a damaged file
            text = str(error) if isinstance(error, AnomalyBenchError) else described(error)
            return f"version {version} cannot be loaded ({' '.join(text.split())[:300]})"
        window = Window(self._settings.window)
        for seen in self._refill(name, version, self._settings.window):
            window.add(seen)
        return Loaded(name, version, model, window)


def _stamp(folder: Path) -> Stamp:
    """Changes when the exported file or the card is replaced."""
    found = []
    for name in (CARD, ONNX):
        try:
            status = (folder / name).stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _pending(name: str, selector: Selector, wanted: int | None, reason: str | Loaded | None, instead: str) -> str:
    why = "no version was current before" if wanted is None else str(reason)
    role = f"({selector}) " if isinstance(selector, str) else ""
    return f"{name} {role}: {why}; {instead}.".replace(" :", ":")


def _instead(answers: Loaded | None, wanted: int | None, way: Sequence[int]) -> str:
    if answers is None:
        return "nothing answers"
    if answers.version == wanted:
        return "it answers as it was loaded before"
    left = "" if answers.version in way else ", though a rollback has left it, since no other can"
    return f"version {answers.version} answers instead{left}"
