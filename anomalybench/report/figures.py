"""Figures of one result, drawn from its record, scores, maps and the images they belong to; the model is not needed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from anomalybench.bench.store import Store, safe_name
from anomalybench.core.errors import AnomalyBenchError, DataError, StoreError
from anomalybench.core.record import Number, Result
from anomalybench.evaluate import heat, map_codes
from anomalybench.evaluate.pixel import resize_map
from anomalybench.report import image_files
from anomalybench.report.image_files import Place
from anomalybench.vision.images import read_mask, read_rgb

GALLERIES = ("true_positives", "true_negatives", "false_positives", "false_negatives")
UNUSUAL = "most_unusual"
"""The gallery where no test image is defective: the highest scores."""
_NORMAL, _ANOMALOUS, _BOX, _CONTOUR = "#0072b2", "#d55e00", "#ffffff", "#00e5ff"
_ODD = (AnomalyBenchError, OSError, EOFError, ValueError, TypeError, KeyError, ArithmeticError, MemoryError,
        AssertionError)  # fmt: skip
"""What records and arrays from elsewhere may end in."""


@dataclass(frozen=True)
class _Job:
    """One finished job, read from the store."""

    result: Result
    scores: pd.DataFrame
    maps: NDArray[np.float32] | None
    where: Place = image_files.NOWHERE

    @property
    def title(self) -> str:
        return f"{self.result.record.job} [{self.result.id[:8]}]"

    @property
    def threshold(self) -> float:
        assert self.result.measurement is not None
        return self.result.measurement.threshold

    def metric(self, name: str) -> float:
        value: Number = self.result.metrics.get(name)
        return float("nan") if value is None else float(value)

    def part(self, name: str) -> pd.DataFrame:
        return self.scores[self.scores["split"] == name]

    def display_range(self) -> tuple[float, float]:
        assert self.maps is not None
        return heat.display_range(self.maps, (self.scores["split"] == "calibration").to_numpy())


@dataclass(frozen=True)
class Drawn:
    """What came of several jobs.

    Attributes:
        files: The PNG files written.
        lost: Why a job has no figures, by its name.
    """

    files: list[Path]
    lost: dict[str, str]


def draw_all(results: Iterable[Result], store: Store, data: Path | None = None) -> Drawn:
    """Draw all figures of finished jobs; one that cannot be drawn costs no other.

    Args:
        results: Results with status `ok`.
        store: Where their scores and maps lie.
        data: The data folder, as the reader names it; see `image_files.place`.
    """
    found = Drawn([], {})
    for result in results:
        try:
            found.files.extend(draw(result, store, data=data))
        except _ODD as error:
            found.lost[f"{result.record.job} ({result.id[:8]})"] = str(error) or type(error).__name__
    return found


def draw(result: Result, store: Store, most: int = 8, data: Path | None = None) -> list[Path]:
    """Draw all figures of one finished job.

    Args:
        result: A result with status `ok`.
        store: Where its scores and maps lie; figures go to `figures/` beside `runs/`, in the same folders.
        most: Images per gallery.
        data: The data folder, as the reader names it; see `image_files.place`.

    Returns:
        The PNG files written.

    Raises:
        DataError: The images are not where they were when the job ran, or may not be read from there.
        StoreError: The folder cannot be written.
    """
    record = result.record
    scores, coded = store.scores(record), store.maps(record)
    maps = None if coded is None else map_codes.decode(coded)
    job = _Job(result, scores, maps, image_files.place(record, data))
    runs = store.folder(record.job, record.fingerprint).relative_to(store.runs)
    folder = store.results / "figures" / runs.parent / safe_name(result.id)
    plain: dict[str, Callable[[_Job], Figure]] = {"histogram": _histogram, "confusion": _confusion}
    if job.part("test")["label"].nunique() == 2:
        plain["roc"] = _roc
    figures = {name: make(job) for name, make in plain.items()}
    if job.maps is not None:
        for kind in GALLERIES if job.part("test")["label"].any() else (UNUSUAL,):
            chosen = _most_telling(job, kind)[:most]
            if len(chosen):
                figures[safe_name(kind)] = _gallery(job, kind, chosen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{name}.png" for name in figures]
        for file, figure in zip(files, figures.values(), strict=True):
            figure.savefig(file, dpi=110)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}).") from None
    return files


def _most_telling(job: _Job, kind: str) -> pd.DataFrame:
    """Test images of one cell of the confusion matrix, the farthest from the threshold first; or the most unusual."""
    test = job.part("test")
    if kind == UNUSUAL:
        return test.sort_values(["score", "path"], ascending=[False, True])
    called, label = test["score"] > job.threshold, test["label"] == 1
    right = kind.startswith("true")
    chosen = test[(called == kind.endswith("positives")) & ((called == label) == right)]
    far = (chosen["score"] - job.threshold).abs()
    return chosen.assign(far=far).sort_values(["far", "path"], ascending=[False, True])


def _gallery(job: _Job, kind: str, chosen: pd.DataFrame) -> Figure:
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(max(6.0, 3.0 * columns), 3.35 * rows + 0.85), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    limits = job.display_range()
    for axis in axes.flat:
        axis.axis("off")
    for axis, (index, row) in zip(axes.flat, chosen.iterrows(), strict=False):
        _panel(axis, job, int(str(index)), row, limits)
    figure.suptitle(
        f"{kind.replace('_', ' ').capitalize()} of {_short(job.title, 70)}\nthreshold {job.threshold:.3g}; colours "
        f"from {limits[0]:.3g} to {limits[1]:.3g} ({heat.RANGE}); "
        f"{_beyond(job, chosen, limits)} pixels beyond\nline: true defect, frame: found box",
        fontsize=9,
    )
    return figure


def _beyond(job: _Job, chosen: pd.DataFrame, limits: tuple[float, float]) -> int:
    assert job.maps is not None
    return sum(heat.beyond(job.maps[int(str(index))], limits) for index in chosen.index)


def _panel(axis: Axes, job: _Job, index: int, row: "pd.Series[Any]", limits: tuple[float, float]) -> None:
    assert job.maps is not None
    file = image_files.locate(job.where, row["path"])
    if not file.exists():
        raise DataError(f"{file}: the image is no longer there. Put the data back, or run the job again.")
    image = read_rgb(file, job.result.record.bits)
    full = resize_map(job.maps[index], (image.shape[1], image.shape[0]))
    axis.imshow(heat.overlay(image, full, limits))
    if (
        isinstance(row["mask"], str)
        and (mask := read_mask(image_files.locate(job.where, row["mask"]))).any()
        and not mask.all()
    ):
        axis.contour(mask, levels=[0.5], colors=_CONTOUR, linewidths=1.2)
    if row["score"] > job.threshold:
        for box in heat.predicted_boxes(full):
            size = (box.right - box.left, box.bottom - box.top)
            axis.add_patch(Rectangle((box.left - 0.5, box.top - 0.5), *size, fill=False, edgecolor=_BOX, linewidth=1.4))
    axis.set_title(
        f"{_short(Path(row['path']).name, 24)}\n{_short(row['defect'], 16)}, score {row['score']:.3g}", fontsize=8
    )


def _histogram(job: _Job) -> Figure:
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    calibration = job.part("calibration")
    shown, what = (calibration, "calibration") if len(calibration) else (job.part("test"), "test")
    edges = np.histogram_bin_edges(shown["score"], bins=20).tolist()
    for label, name, colour in ((0, "normal", _NORMAL), (1, "anomalous", _ANOMALOUS)):
        values = shown.loc[shown["label"] == label, "score"]
        axis.hist(values, edges, alpha=0.6, color=colour, label=f"{name} ({len(values)})")
    axis.axvline(job.threshold, color="black", linestyle="--", label=f"threshold {job.threshold:.3g}")
    axis.set(xlabel="image score", ylabel=f"{what} images", title=_short(job.title, 70))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


def _roc(job: _Job) -> Figure:
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axis = figure.subplots()
    test = job.part("test")
    cuts = np.r_[np.inf, np.unique(test["score"])[::-1], -np.inf]
    positive, negative = (np.sort(test.loc[test["label"] == label, "score"]) for label in (1, 0))
    tpr, fpr = (1 - np.searchsorted(s, cuts, "left") / len(s) for s in (positive, negative))
    axis.plot(fpr, tpr, color=_NORMAL, label=f"ROC AUC {job.metric('auroc'):.3f}")
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")
    point = np.array([[job.metric("fpr")], [job.metric("recall")]], float)
    axis.plot(*point, "o", color=_ANOMALOUS, label=f"threshold {job.threshold:.3g}")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title=_short(job.title, 44), aspect="equal")
    axis.legend(loc="lower right")
    return figure


def _confusion(job: _Job) -> Figure:
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axis = figure.subplots()
    cells = np.array([[job.metric(name) for name in row] for row in (("tn", "fp"), ("fn", "tp"))], float)
    shares = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(cells):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axis.text(j, i, f"{count:.0f}\n{shares[i, j]:.0%}", ha="center", va="center", color=colour)
    names = ["normal", "anomalous"]
    axis.set_xticks([0, 1], names)
    axis.set_yticks([0, 1], names, rotation=90, va="center")
    axis.set(xlabel="called", ylabel="is", title=_short(job.title, 40))
    return figure


def _short(text: str, length: int) -> str:
    """Text without matplotlib's formula signs, cut to a length."""
    plain = text.replace("$", r"\$")
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"
