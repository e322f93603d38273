"""Promoted models: numbered versions under a name, one of which is current; a service loads that one.

`models/NAME/1/`, `2/`, ... are whole model folders that depend on nothing else in the results folder. A version is
written aside, brought to the disk and renamed, so that a reader finds all of it or nothing; then `current.json` follows
in the same way. A number is never used again: what a log calls `pill/3` stays that model. Versions that are older than
the last few are removed, but neither the current one nor the one that a rollback would return to.

A rollback is undone by nothing but another promotion or a rollback that names a version: after 1, 2, 3, two rollbacks
in a row end at 1, not at 3, since 3 was left because it was bad.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock

from anomalybench.core.errors import StoreError, UsageError, shortened, unknown
from anomalybench.core.files import ASIDE, sweep, sync, write_text
from anomalybench.core.model_card import CARD
from anomalybench.deploy.bundle import Bundle, write
from anomalybench.deploy.version_history import History, Step, read_history

MODELS = "models"
"""Folder of the promoted models in a results folder."""
CURRENT = "current.json"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}"
_NUMBER = r"[1-9][0-9]{0,8}"


@dataclass(frozen=True)
class PromotedVersion:
    """A version that was just promoted.

    Attributes:
        name: Name of the model.
        version: Its number.
        folder: Where it lies.
        removed: Versions that were removed, since newer ones are kept instead.
    """

    name: str
    version: int
    folder: Path
    removed: tuple[int, ...] = ()


class Promoted:
    """The promoted models of a results folder.

    Args:
        results: The results folder.
    """

    def __init__(self, results: Path) -> None:
        self.root = results / MODELS

    def names(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        places = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(place.name for place in places if re.fullmatch(_NAME, place.name) and _versions(place))

    def versions(self, name: str) -> list[int]:
        """Numbers of a model's versions, ascending.

        Raises:
            UsageError: There is no such model.
        """
        if found := _versions(self._place(name)):
            return found
        if not self.names():
            raise UsageError(
                f"there is no promoted model '{name}': {self.root} holds none. "
                f"Promote one: anomalybench models promote JOB --as {name}."
            )
        raise unknown("promoted model", name, self.names())

    def current(self, name: str) -> int:
        """Number of a model's current version.

        Raises:
            UsageError: There is no such model.
            StoreError: `current.json` is missing, damaged or newer, or the version that it names is gone.
        """
        there = self.versions(name)
        history = self.history(name)
        if history is None:
            raise StoreError(f"{self._place(name) / CURRENT}: is missing. {_choose(name, there)}")
        if history.current not in there:
            raise StoreError(
                f"{self._place(name)}: version {history.current} is the current one, but its folder is gone. "
                f"{_choose(name, there)}"
            )
        return history.current

    def folder(self, name: str, version: int | None = None) -> Path:
        """Folder of a version, by default of the current one.

        Raises:
            UsageError: There is no such model or version.
            StoreError: See `current`.
        """
        number = self.current(name) if version is None else version
        self._check_version(name, number)
        return self._place(name) / str(number)

    def history(self, name: str) -> History | None:
        """Which version is and was current; None where nothing was promoted yet.

        Raises:
            StoreError: `current.json` is damaged, or a newer version wrote it.
        """
        file = self._place(name) / CURRENT
        try:
            return read_history(file)
        except StoreError as error:
            raise StoreError(f"{error} {_choose(name, _versions(file.parent))}") from None

    def promote(self, bundle: Bundle, name: str, keep: int = 5) -> PromotedVersion:
        """Make a model the current version under a name.

        Args:
            bundle: The model.
            name: 1 to 60 letters, digits, `.`, `_` or `-`; it begins with a letter, a digit or `_`.
            keep: How many versions stay; besides, the current one and the one that a rollback would return to.

        Raises:
            UsageError: The name or `keep` is not allowed.
            StoreError: It cannot be written, or `current.json` is damaged.
        """
        place = self._place(name)
        if keep < 1:
            raise UsageError(f"keep {keep}: at least 1 version is kept.")
        self.history(name)  # fail before the weights are written
        with _written(place):
            place.mkdir(parents=True, exist_ok=True)
            sweep(place, f"{ASIDE}*")
            aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=place))
            try:
                write(aside, bundle)
                aside.chmod(0o755)
                sync(aside)
                return self._put(aside, name, keep)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def rollback(self, name: str, to: int | None = None) -> int:
        """Make an earlier version current again; returns its number. Its files stay as they are.

        Args:
            name: Name of the model.
            to: Number of the version; by default the one that was current before. It also mends a damaged
                `current.json`, whose history then begins anew.

        Raises:
            UsageError: There is no such model or version, or none to go back to.
            StoreError: `current.json` is damaged and no version is named, or it cannot be written.
        """
        self.versions(name)
        with _written(self._place(name)), FileLock(self._place(name) / ".lock"):
            if to is not None:
                self._check_version(name, to)
                try:
                    history = self.history(name)
                except StoreError:
                    history = None
            else:
                self.current(name)
                history = self.history(name)
                to = self._next_back(name, history)
            self._write(name, history, to, "rollback")
        return to

    def check_name(self, name: str) -> None:
        """UsageError if no model can have this name."""
        if not re.fullmatch(_NAME, name):
            raise UsageError(
                f"{shortened(name)} cannot be a model's name: take 1 to 60 letters (a to z), digits, '.', '_' or '-', "
                "and begin with a letter, a digit or '_'."
            )

    def _place(self, name: str) -> Path:
        self.check_name(name)
        return self.root / name

    def _check_version(self, name: str, version: int) -> None:
        if version not in (there := self.versions(name)):
            raise UsageError(f"{name} has no version {version}. There {_listed(there)}.")

    def _put(self, aside: Path, name: str, keep: int) -> PromotedVersion:
        """Give a written version its number and make it current."""
        place = self._place(name)
        with FileLock(place / ".lock"):
            history = self.history(name)
            used = [step.version for step in history.history] if history else []
            number = 1 + max([*used, *_numbers(place)], default=0)
            target = place / str(number)
            aside.rename(target)
            sync(place)
            try:
                written = self._write(name, history, number, "promote")
            except StoreError:
                target.rename(aside)  # what failed leaves no version
                raise
            return PromotedVersion(name, number, target, self._remove_old(place, written, keep))

    def _write(self, name: str, history: History | None, version: int, by: Literal["promote", "rollback"]) -> History:
        step = Step(version=version, date=datetime.now(UTC).isoformat(timespec="milliseconds"), by=by)
        written = History(current=version, history=(*(history.history if history else ()), step))
        write_text(self._place(name) / CURRENT, written.model_dump_json(indent=1) + "\n")
        return written

    def _next_back(self, name: str, history: History | None) -> int:
        there = self.versions(name)
        back = [version for version in (history.earlier() if history else ()) if version in there]
        if not back:
            raise UsageError(
                f"{name}: no version was current before {history.current if history else 'it'}. There "
                f"{_listed(there)}; name one: anomalybench models rollback {name} --to N."
            )
        return back[-1]

    def _remove_old(self, place: Path, history: History, keep: int) -> tuple[int, ...]:
        there = _versions(place)
        back = [version for version in history.earlier() if version in there]
        stay = {*there[-keep:], history.current, *back[-1:]}
        removed = tuple(version for version in there if version not in stay)
        with suppress(OSError):  # the promotion has happened; the next one tries again
            for version in removed:
                aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=place))
                (place / str(version)).rename(aside / "old")  # never seen half removed
                shutil.rmtree(aside, ignore_errors=True)
        return removed


@contextmanager
def _written(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{place}: cannot be written ({error.strerror or error}). Name another folder: --results DIR."
        ) from None


def _numbers(place: Path) -> list[int]:
    return [int(one.name) for one in place.iterdir() if re.fullmatch(_NUMBER, one.name)] if place.is_dir() else []


def _versions(place: Path) -> list[int]:
    return sorted(number for number in _numbers(place) if (place / str(number) / CARD).is_file())


def _listed(versions: Sequence[int]) -> str:
    return f"{'is' if len(versions) == 1 else 'are'} {', '.join(map(str, versions)) or 'none'}"


def _choose(name: str, versions: Sequence[int]) -> str:
    """How to go on where nothing says which version is current."""
    return (
        f"There {_listed(versions)}. Say which one is to be current: anomalybench models rollback {name} "
        f"--to {versions[-1] if versions else 'N'}."
    )
