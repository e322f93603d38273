"""How the versions of a model compare by what operators said of their decisions.

Shares have Wilson's interval, the difference of two versions Newcombe's (1998, method 10), which is made from both.
Versions that share the traffic by a split get parts at random, so that their difference is due to the versions.
Versions that came one after the other saw different parts; and where operators look at alarms only, nobody counts the
misses. The remarks say so.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anomalybench.evaluate.uncertainty import Interval, wilson
from anomalybench.service.log_reader import Count
from anomalybench.service.schemas import Comparison, Difference, ShareShown, VersionCompared

What = Literal["agreement", "false_alarms", "misses"]
_WORDS: dict[What, tuple[str, str, str]] = {
    "agreement": ("the operator agrees with", "more often", "less often"),
    "false_alarms": ("of good parts, alarms are raised by", "more often", "less often"),
    "misses": ("defects are missed by", "more often", "less often"),
}
_LEAST = 5
"""With less feedback on a side, nothing is concluded."""
_UNEVEN = 2.0


@dataclass(frozen=True)
class _Tally:
    """Decisions of a version: by verdict, and by verdict and operator."""

    version: int
    normal: int
    anomalous: int
    normal_ok: int
    normal_defect: int
    anomalous_ok: int
    anomalous_defect: int


def compare(model: str, counted: Sequence[Count], since: str | None = None) -> Comparison:
    """What can be said of a model's versions.

    Args:
        model: Its name.
        counted: What the log has of it.
        since: From when on decisions were counted.
    """
    tallies = [_tally(version, counted) for version in sorted({one.version for one in counted})]
    versions = [_compared(one) for one in tallies]
    pairs = itertools.combinations([one for one in reversed(versions) if one.feedback], 2)
    differences = [difference(what, one, other) for one, other in pairs for what in _WORDS]
    return Comparison(model=model, since=since, versions=versions, differences=differences, remarks=_remarks(versions))


def difference(what: What, one: VersionCompared, other: VersionCompared) -> Difference:
    """Difference between two versions by one share.

    Args:
        what: Which share.
        one: A version.
        other: The version that is subtracted.
    """
    a, b = (getattr(version, what) for version in (one, other))
    value, limits = _newcombe(a, b)
    return Difference(
        what=what, version=one.version, other=other.version, difference=value, low=limits.low, high=limits.high,
        conclusion=_conclusion(what, one, other, value, limits),
    )  # fmt: skip


def _newcombe(a: ShareShown, b: ShareShown) -> tuple[float, Interval]:
    if a.share is None or b.share is None:
        return 0.0, Interval(-1.0, 1.0)
    value = a.share - b.share
    low = value - math.hypot(a.share - a.low, b.high - b.share)
    high = value + math.hypot(a.high - a.share, b.share - b.low)
    return value, Interval(low, high)


def _conclusion(what: What, one: VersionCompared, other: VersionCompared, value: float, limits: Interval) -> str:
    action, more, less = _WORDS[what]
    a, b = (getattr(version, what) for version in (one, other))
    kind = {"agreement": "decisions with feedback", "false_alarms": "parts called ok", "misses": "defects"}[what]
    if min(a.of, b.of) < _LEAST:
        return (
            f"Too few {kind} to conclude anything: {a.of} of version {one.version}, {b.of} of version {other.version}; "
            f"each needs at least {_LEAST}."
        )
    numbers = (
        f"{a.share:.1%} of {a.of} {kind} for version {one.version}, {b.share:.1%} of {b.of} for version "
        f"{other.version}; difference {value * 100:+.1f} points, 95 % interval {limits.low * 100:+.1f} to "
        f"{limits.high * 100:+.1f}"
    )
    if limits.low <= 0 <= limits.high:
        return f"No difference is shown: {numbers}."
    way = more if value > 0 else less
    sentence = f"{action} version {one.version} {way} than version {other.version}"
    if what != "agreement":
        sentence = f"{action} version {one.version} {way} than by version {other.version}"
    return f"{sentence[0].upper()}{sentence[1:]}: {numbers}."


def _tally(version: int, counted: Sequence[Count]) -> _Tally:
    def n(verdict: str, *operators: str | None) -> int:
        return sum(
            one.decisions
            for one in counted
            if one.version == version and one.verdict == verdict and (not operators or one.operator in operators)
        )

    return _Tally(
        version, n("normal"), n("anomalous"), n("normal", "ok"), n("normal", "defect"), n("anomalous", "ok"),
        n("anomalous", "defect"),
    )  # fmt: skip


def _compared(t: _Tally) -> VersionCompared:
    ok, defect = t.normal_ok + t.anomalous_ok, t.normal_defect + t.anomalous_defect
    alarms, others = t.anomalous_ok + t.anomalous_defect, t.normal_ok + t.normal_defect
    return VersionCompared(
        version=t.version,
        decisions=t.normal + t.anomalous,
        anomalous=t.anomalous,
        feedback=ok + defect,
        agreement=_share(t.normal_ok + t.anomalous_defect, ok + defect),
        false_alarms=_share(t.anomalous_ok, ok),
        misses=_share(t.normal_defect, defect),
        judged_alarms=_share(alarms, t.anomalous),
        judged_normal=_share(others, t.normal),
    )


def _share(count: int, of: int) -> ShareShown:
    share = count / of if of else None
    limits = wilson(share or 0.0, of)
    return ShareShown(count=count, of=of, share=share, low=limits.low, high=limits.high)


def _remarks(versions: Sequence[VersionCompared]) -> list[str]:
    if not any(one.feedback for one in versions):
        return ["No decision has feedback yet: POST /feedback."]
    remarks = []
    for one in versions:
        alarms, others = one.judged_alarms.share or 0.0, one.judged_normal.share or 0.0
        if one.feedback and one.anomalous and one.anomalous < one.decisions and alarms > _UNEVEN * others:
            remarks.append(
                f"Version {one.version}: operators judged {alarms:.0%} of the alarms and {others:.0%} of the images "
                "called normal. So its false alarms look more frequent than they are, and its misses rarer: have a "
                "random sample of the normal ones judged, too."
            )
    if len(versions) > 1:
        remarks.append(
            "Versions are comparable where a split gave them parts at the same time; restrict the time with ?since."
        )
    return remarks
