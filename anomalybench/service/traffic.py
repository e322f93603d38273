"""Which version of a model answers a request: an A/B split that is sticky.

The share is taken from a hash of the model's name and the part's id, or of the image's bytes where no id is given. So
the same part, seen by several cameras or sent twice, always gets the same version, in every process and after a
restart, without anything being kept.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from anomalybench.core.errors import UsageError, shortened

Selector = int | Literal["current", "previous"]
"""A version's number; `current`, or `previous`: the one that a rollback would return to."""
_EXAMPLE = "as in --split pill=current:90,previous:10"


class Arm(NamedTuple):
    """A version and its share of the traffic.

    Attributes:
        selector: Which version.
        percent: Its share.
    """

    selector: Selector
    percent: float

    def __str__(self) -> str:
        return f"{self.selector}:{self.percent:g}"


@dataclass(frozen=True)
class Split:
    """Shares of the traffic of one model; they add up to 100 %."""

    arms: tuple[Arm, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.arms))


EVERYTHING = Split((Arm("current", 100.0),))
"""All traffic goes to the current version."""


def read_splits(texts: Sequence[str]) -> dict[str, Split]:
    """Splits by name of the model, from texts such as `pill=current:90,previous:10`.

    Raises:
        UsageError: A text of another form, shares that do not add up to 100, or a model or version that is named twice.
    """
    splits: dict[str, Split] = {}
    for text in texts:
        name, equals, shares = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--split {shortened(text)}: write NAME=VERSION:PERCENT,VERSION:PERCENT, {_EXAMPLE}.")
        if name.strip() in splits:
            raise UsageError(f"--split {shortened(text)}: {name.strip()} has a split already.")
        splits[name.strip()] = _split(shares, text)
    return splits


def _split(shares: str, text: str) -> Split:
    arms = tuple(_arm(part.strip(), text) for part in shares.split(","))
    selectors = [arm.selector for arm in arms]
    if len(set(selectors)) < len(selectors):
        raise UsageError(f"--split {shortened(text)}: a version is named twice.")
    total = sum(arm.percent for arm in arms)
    if abs(total - 100) > 1e-6:
        raise UsageError(f"--split {shortened(text)}: the shares add up to {total:g}, not to 100, {_EXAMPLE}.")
    return Split(arms)


def _arm(part: str, text: str) -> Arm:
    match = re.fullmatch(r"(current|previous|[1-9][0-9]{0,8})\s*:\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%?", part)
    if not match:
        raise UsageError(
            f"--split {shortened(text)}: {shortened(part)} is not VERSION:PERCENT, {_EXAMPLE}; a version is 'current', "
            "'previous' or a number."
        )
    selector, percent = match.groups()
    version: Selector = "current" if selector == "current" else "previous" if selector == "previous" else int(selector)
    return Arm(version, float(percent))


def position(name: str, key: str) -> float:
    """Where a part or an image lies in the traffic of a model: evenly distributed from 0 to 100, always the same.

    Args:
        name: Of the model: two models split their traffic independently of each other.
        key: Of the part or the image.
    """
    digest = hashlib.sha256(f"{name}\0{key}".encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100


def pick(shares: Sequence[tuple[int, float]], place: float) -> int:
    """The version at a place in the traffic.

    Args:
        shares: Versions and their percentages, in order; at least one.
        place: From 0 to 100.
    """
    reached = 0.0
    for version, percent in shares:
        reached += percent
        if place < reached:
            return version
    return next(version for version, percent in reversed(shares) if percent > 0)
