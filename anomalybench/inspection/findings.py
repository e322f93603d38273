"""What `data_check` reports: nouns only, so that whoever prints them need not wait for image code."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal[
    "no_images",
    "no_normal",
    "listed_twice",
    "unreadable",
    "exact_duplicate",
    "near_duplicate",
    "contradiction",
    "empty_mask",
    "mask_disagrees",
    "mask_size",
    "no_mask",
    "blank",
    "mixed_sizes",
    "mixed_modes",
    "too_few",
    "bits",
    "deep_colour",
    "left_out",
]
Severity = Literal["leak", "error", "remark"]
SEVERITIES: tuple[Severity, ...] = ("leak", "error", "remark")
"""Worst first."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: What sort of fault.
        severity: `leak`: images that a protocol could put on both sides of a split although they show the same, or
            whose labels contradict each other. `error`: results would be wrong or a run would fail. `remark`: may well
            be meant so.
        category: Where.
        paths: The files concerned, sorted; all images of one cluster of duplicates together.
        detail: In plain words what is wrong and what to do.
        advice: The end of `detail` that is the same for many findings, if there is one.
    """

    kind: Kind
    severity: Severity
    category: str
    paths: tuple[str, ...]
    detail: str
    advice: str = ""

    @property
    def found(self) -> str:
        """`detail` without the advice."""
        return self.detail.removesuffix(self.advice).rstrip()


@dataclass(frozen=True)
class Count:
    """Number of images of one kind, and how many of these have a mask; `split` is the dataset's own."""

    split: str | None
    label: int
    defect: str
    images: int
    masks: int


@dataclass(frozen=True)
class Report:
    """What was found in one category.

    Attributes:
        dataset: Name of the plugin.
        category: Name of the category.
        n_images: Images looked at, unreadable ones included.
        findings: Leaks first, then errors, then remarks.
        balance: Images per split, label and defect type.
        sizes: Number of images per width x height, as `256x256`; the commonest first.
        modes: Number of images per Pillow mode (`RGB`, `L`, `I;16`, ...); the commonest first.
    """

    dataset: str
    category: str
    n_images: int
    findings: tuple[Finding, ...]
    balance: tuple[Count, ...]
    sizes: Mapping[str, int]
    modes: Mapping[str, int]

    @property
    def leaks(self) -> bool:
        """Whether a split could leak or labels contradict each other."""
        return any(finding.severity == "leak" for finding in self.findings)

    @property
    def errors(self) -> bool:
        """Whether there is anything that would fail a run or invalidate it, leaks apart."""
        return any(finding.severity == "error" for finding in self.findings)


def to_json(reports: Iterable[Report]) -> dict[str, Any]:
    """The reports as plain dicts and lists, by category: the same for the same data."""
    ordered = sorted(reports, key=lambda report: (report.dataset, report.category))
    return {
        "leaks": any(report.leaks for report in ordered),
        "errors": any(report.errors for report in ordered),
        "categories": [
            asdict(report)
            | {"findings": [asdict(finding) | {"paths": list(finding.paths)} for finding in report.findings]}
            | {"balance": [asdict(count) for count in report.balance]}
            for report in ordered
        ],
    }
