"""Tables of promoted models, and of two models that are compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anomalybench.cli import console, terminal
from anomalybench.cli.board import number
from anomalybench.cli.terminal import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anomalybench.core.model_card import ModelCard
    from anomalybench.evaluate.agreement import Agreement
    from anomalybench.report.model_comparison import Decisions, Labelled

_MOST = 20
_REFITTED = " *"
_FIGURES = (6, 7)
"""Cells of a row that hold a number and its interval."""


def listed(name: str, version: int, folder: Path, *, current: bool) -> list[str]:
    """The row of a version; a card that cannot be read is said."""
    from anomalybench.core.errors import StoreError
    from anomalybench.deploy import bundle

    start = [name, str(version), "current" if current else ""]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    end = [_exported(folder), f"{size / 1e6:.1f}"]
    try:
        card = bundle.read_card(folder)
    except StoreError as error:
        console.warn(str(error))
        return [*start, "damaged", "", "", "", "", "", *end]
    job, date = card.job, card.environment.get("date", "")[:10]
    figures = [_figure(card, metric) for metric in ("auroc", "balanced_accuracy")]
    method = job.method.name + (_REFITTED if card.fitted_on == "train+test" else "")
    return [*start, method, f"{job.dataset.name}/{job.category}", f"{card.decision.threshold:.4g}", *figures,
            date, *end]  # fmt: skip


def print_models(rows: Sequence[Sequence[str]]) -> None:
    """The promoted models, from `listed`."""
    columns = [
        Column("name", least=8), Column("version", number=True), Column("", number=True), Column("method", least=10),
        Column("category", least=10, leaves=2), Column("threshold", number=True, leaves=5),
        Column("ROC AUC", number=True), Column("bal. acc.", number=True, leaves=1),
        Column("fitted", number=True, leaves=4), Column("exported", least=8, leaves=3),
        Column("MB", number=True, leaves=6),
    ]  # fmt: skip
    under = [[cell.replace(" ", "\n") if i in _FIGURES else cell for i, cell in enumerate(row)] for row in rows]
    every = terminal.fitting(columns, rows, 10**6)
    beside = terminal.fitting(columns, rows, terminal.console().width) == every
    _show(columns, rows if beside else under)
    console.remark("ROC AUC and balanced accuracy of the test part, with 95 % intervals.")
    if any(row[3].endswith(_REFITTED) for row in rows):
        console.remark(f"{_REFITTED.strip()} Fitted again on all data; the figures are those of the earlier fit.")


def print_labelled(a: "Decisions", b: "Decisions", found: "Labelled") -> None:
    """What labelled images say of two models."""
    from anomalybench.evaluate import catalogue

    columns = [
        Column("metric", least=9), Column(a.name, least=9), Column(b.name, least=9), Column("difference", number=True),
        Column("95 % interval", number=True), Column("p", number=True),
    ]  # fmt: skip
    rows = []
    for metric, pair in found.pairs.items():
        d, turned = pair.whole, pair.a != a.name
        sign, limits = (-1, (-d.interval.high, -d.interval.low)) if turned else (1, tuple(d.interval))
        values = (d.b, d.a) if turned else (d.a, d.b)
        known = d.p == d.p
        interval = f"{limits[0]:+.3f} to {limits[1]:+.3f}" if known else "unknown"
        rows.append([catalogue.METRICS[metric].label, *map(number, values), f"{sign * d.value:+.3f}", interval,
                     f"{d.p:.2g}" if known else ""])  # fmt: skip
    _show(columns, rows)
    for metric, pair in found.pairs.items():
        console.remark(f"- {catalogue.METRICS[metric].label}: {pair.sentence()}")
    if n := sum(found.rights):
        console.remark(
            f"- They decide differently on {n} images: {a.name} is right on {found.rights.a}, {b.name} on "
            f"{found.rights.b} (exact McNemar test, p = {found.rights.p:.2g})."
        )
    else:
        console.remark("- They decide alike on every image.")


def print_agreement(a: "Decisions", b: "Decisions", found: "Agreement") -> None:
    """How two models decide on images without labels."""
    columns = [Column("", least=12), Column(f"{b.name}: normal", least=10), Column(f"{b.name}: anomalous", least=10)]
    rows = [
        [f"{a.name}: normal", str(found.both_normal), str(found.only_b)],
        [f"{a.name}: anomalous", str(found.only_a), str(found.both_anomalous)],
    ]
    _show(columns, rows)


def print_disagreement(
    a: "Decisions", b: "Decisions", paths: Sequence[str], labels: "NDArray[np.int64] | None" = None
) -> None:
    """The images on which two models differ, those that are furthest from their thresholds first."""
    places = [i for i, (one, other) in enumerate(zip(a.anomalous, b.anomalous, strict=True)) if one != other]
    if not places:
        return
    reach = [float(abs(one.scores - one.threshold).max()) or 1.0 for one in (a, b)]
    away = [sum(abs(one.scores[i] - one.threshold) / r for one, r in zip((a, b), reach, strict=True)) for i in places]
    order = [i for _, i in sorted(zip(away, places, strict=True), reverse=True)]
    columns = [Column("image", least=20), Column("label", least=9), Column(a.name, least=10), Column(b.name, least=10)]
    words = ("normal", "anomalous")
    rows = [
        [paths[i], "" if labels is None else words[int(labels[i])], *(_decided(one, i) for one in (a, b))]
        for i in order[:_MOST]
    ]
    _show(columns, rows, title="Images on which they differ")
    if len(order) > _MOST:
        console.remark(f"... and {len(order) - _MOST} more")


def _decided(one: "Decisions", place: int) -> str:
    return f"{'anomalous' if one.anomalous[place] else 'normal'} {one.scores[place]:.4g}"


def _figure(card: "ModelCard", metric: str) -> str:
    value, limits = card.metrics.get(metric), card.intervals.get(metric)
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if limits is None else f" {limits[0]:.3f}-{limits[1]:.3f}")


def _exported(folder: Path) -> str:
    from anomalybench.deploy.model import ONNX, OPENVINO

    kinds = {"onnx": ONNX, "openvino": OPENVINO}
    return ", ".join(kind for kind, file in kinds.items() if (folder / file).exists())


def _show(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    terminal.console().print(terminal.table(columns, rows, title=title))
