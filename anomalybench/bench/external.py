"""Scores that another tool made: measured on our splits, with our thresholds and metrics, as `external:NAME`.

Only calibration and test scores are used. Whether the tool was trained on nothing but the train part (`data split`
writes it down) is for its user to say; nothing here can check that.
"""

import math
import os
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench import measure, runner
from anomalybench.bench.environment import environment
from anomalybench.bench.item_table import ItemTable, build_dataset
from anomalybench.bench.measure import Scored
from anomalybench.bench.session import Session
from anomalybench.bench.store import Outcome
from anomalybench.core.dataset import NORMAL, Item
from anomalybench.core.errors import DataError, UsageError, unknown
from anomalybench.core.job import EXTERNAL, Choice, Job
from anomalybench.core.method import Prediction, Supervision
from anomalybench.core.protocol import Split
from anomalybench.core.record import Record
from anomalybench.evaluate import map_codes
from anomalybench.evaluate.pixel import resize_map
from anomalybench.vision.decoding import opened

_ENDINGS = (".npy", ".tiff", ".tif")
_COMMON = 256
_NAMED = 5
_PARTS = ("seed", "fold")
Part = tuple[str | None, str | None]
"""Seed and fold that scores were made for."""
_SEARCHED = 10_000


def choice(name: str) -> Choice:
    """What stands for a tool in place of a method; UsageError for a name that tables could not show."""
    if not re.fullmatch(r"[\w.+-][\w .+-]{0,59}", name):
        raise UsageError(f"--name {name!r}: use 1 to 60 letters, digits, spaces and the signs . _ + -")
    return Choice(name=EXTERNAL + name)


def outcomes(session: Session, file: Path, maps: Path | None, learns_from: str | None) -> list[Outcome]:
    """Measure a file of scores on every job; whatever is wrong with it is said before there is any outcome.

    Args:
        session: Its jobs' method is the external tool.
        file: CSV or Parquet file with the columns path and score.
        maps: Folder of maps, each in the place of its image, with the ending .npy, .tiff or .tif.
        learns_from: What the tool was trained on, if that is known.

    Raises:
        UsageError: No such kind of supervision.
        DataError: The file, a path, a score or a map is missing, unknown or broken.
    """
    kinds = get_args(Supervision)
    if learns_from is not None and learns_from not in kinds:
        raise unknown("kind of supervision", learns_from, kinds)
    scores, found = read_scores(file), []
    placed: dict[tuple[str, Part], dict[str, float]] = {}
    for job in session.suite.jobs:
        table, part = session.tables.get(job.dataset, job.category), _part(job, scores, file)
        key = job.dataset.model_dump_json(), part
        if key not in placed:
            placed[key] = relative(scores[part], file, job.dataset, table.root)
        found.append(score(job, table, placed[key], maps, learns_from, session.suite.options.threshold))
    return found


def read_scores(file: Path) -> dict[Part, pd.Series]:
    """Scores by path, as written in a CSV or Parquet file with the columns path and score.

    A tool that was trained anew for every seed or fold has a score for each: the columns seed and fold, both optional,
    say for which one a row holds, as in what `data split` writes.

    Returns:
        For each seed and fold in the file the scores by path; None stands for a column that is not there.

    Raises:
        DataError: The file cannot be read, lacks a column or a path, names a path twice, or a score is no finite
            number.
    """
    table = _read_table(file)
    for column in ("path", "score"):
        if column not in table:
            found = ", ".join(map(str, table.columns))
            raise DataError(f"{file}: the column '{column}' is missing; found {found}.")
    if table.empty:
        raise DataError(f"{file}: the table has no rows.")
    paths = table["path"].fillna("").astype(str)
    if blank := int((paths.str.strip() == "").sum()):
        raise DataError(f"{file}: {blank} of {len(table)} rows have no path.")
    scores = np.array([_number(score) for score in table["score"]], np.float64)
    bad = paths[~np.isfinite(scores)]
    if len(bad):
        raise DataError(f"{file}: {len(bad)} scores are missing or no finite numbers: {_named(bad)}.")
    absent = pd.Series([None] * len(table), table.index, object)
    parts = [table[name].map(_plain) if name in table else absent for name in _PARTS]
    if len(twice := paths[pd.concat([paths, *parts], axis=1).duplicated()]):
        raise DataError(f"{file}: {len(twice)} paths are listed twice: {_named(twice)}.")
    rows: dict[Part, dict[str, float]] = {}
    for path, value, seed, fold in zip(paths, scores, *parts, strict=True):
        rows.setdefault((seed, fold), {})[path] = float(value)
    return {part: pd.Series(found) for part, found in rows.items()}


def _read_table(file: Path) -> pd.DataFrame:
    if file.is_dir():
        raise DataError(f"{file}: cannot be read as a CSV or Parquet table (it is a folder).")
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(file)
        text = dict.fromkeys(("path", "score", *_PARTS), str)
        separator = _separator(file)
        table = pd.read_csv(file, sep=separator, dtype=text, keep_default_na=False, index_col=False)
        table = table.rename(columns=lambda name: str(name).strip().removeprefix("\ufeff"))
        if separator != "," and "score" in table:
            table["score"] = table["score"].str.replace(",", ".")
        return table
    except Exception as error:  # pandas and pyarrow raise many kinds for a file that is not what it should be
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file}: cannot be read as a CSV or Parquet table ({said}).") from None


def _separator(file: Path) -> str:
    """What parts the columns, by the first line: spreadsheets of some languages write semicolons and decimal commas."""
    with file.open(encoding="utf-8-sig") as stream:
        header = stream.readline()
    return max(",;\t", key=header.count)


def relative(scores: pd.Series, file: Path, dataset: Choice, root: Path) -> dict[str, float]:
    """The scores by path in the dataset, whether they were written relative to its root or in full.

    Raises:
        DataError: A path is not one of the dataset's, in whatever category, or is written in two ways.
    """
    plugin = build_dataset(dataset)
    known = {item.path for category in plugin.categories(root) for item in plugin.items(root, category)}
    places = {path: _place(path, root, known) for path in scores.index}
    if strange := [path for path, place in places.items() if place is None]:
        raise DataError(
            f"{file}: {len(strange)} of {len(scores)} paths are not in {dataset.name} at {root}: {_named(strange)}. "
            f"Paths are relative to that folder, like {min(known)}.{_nearest(strange[0], known)}"
        )
    found = pd.Series(places)
    if len(twice := found[found.duplicated(keep=False)]):
        raise DataError(f"{file}: {len(twice)} paths are listed twice, spelt differently: {_named(twice.index)}.")
    return {place: float(scores[path]) for path, place in places.items() if place is not None}


def score(
    job: Job,
    table: ItemTable,
    scores: Mapping[str, float],
    maps: Path | None,
    supervision: str | None,
    threshold: Choice | None = None,
) -> Outcome:
    """Measure one job.

    Args:
        job: Its method is the external tool.
        table: The items of its category.
        scores: By path in the dataset.
        maps: Folder of maps, each in the place of its image, with the ending .npy, .tiff or .tif.
        supervision: What the tool learned from, if that is known.
        threshold: Threshold rule; None for the default one.

    Raises:
        DataError: Calibration or test images lack a score or a map.
    """
    split = table.split(job)
    measure.check_test(job, split)
    shown = (*split.calibration, *split.test)
    if missing := [item.path for item in shown if item.path not in scores]:
        raise DataError(
            f"{job.dataset.name}/{job.category}: {len(missing)} of {len(shown)} calibration and test images have no "
            f"score: {_named(missing)}."
        )
    found, notes = (None, []) if maps is None else _maps(maps, shown)
    prediction = Prediction(np.array([scores[item.path] for item in shown]), found)
    listed = measure.score_table(split, prediction)
    coded = None if found is None else map_codes.encode(found)
    kept = None if coded is None else map_codes.decode(coded)
    measured = measure.measure(Scored(job, table.root, listed, kept), threshold)
    record = Record(
        job=job,
        status="ok",
        supervision=cast(Supervision | None, supervision),
        root=str(table.root.resolve()),
        fingerprint=table.fingerprint,
        counts=measure.counts(table, split, _seen(split, supervision)),
        leaks=runner.leaks(split, table.hashes),
        notes=tuple(notes),
        environment=environment("cpu") | {"device": "external"},
        map_size=None if found is None else found.shape[1:],
        measurements=(measured.measurement,),
    )
    return Outcome(record, listed, coded, measured.resamples)


def _part(job: Job, scores: Mapping[Part, pd.Series], file: Path) -> Part:
    """Which of the file's scores are the job's."""
    for part in scores:
        if part[0] in (None, str(job.seed)) and part[1] in (None, job.fold):
            return part
    fold = f", fold {job.fold}" if job.fold else ""
    raise DataError(f"{file}: has no scores for seed {job.seed}{fold}, by its columns seed and fold.")


def _plain(cell: object) -> str:
    """A cell of the columns seed and fold as jobs spell it."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:g}"
    return "" if cell is None else str(cell).strip()


def _seen(split: Split, supervision: str | None) -> list[Item]:
    """The train items that a tool with such supervision may have been shown; none if it is not known."""
    if supervision in ("labels", "masks"):
        return list(split.train)
    return [item for item in split.train if item.label == NORMAL] if supervision == "normals" else []


def _number(text: object) -> float:
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _place(path: str, root: Path, known: Container[str]) -> str | None:
    """The path in the dataset, or None; a path in full may name the root as the user did, or as links resolve it."""
    for base in (root.absolute(), root.resolve()):
        full = os.path.normpath(base / path.replace("\\", "/"))
        place = Path(os.path.relpath(full, base)).as_posix()
        if place in known:
            return place
    return None


def _maps(folder: Path, items: Sequence[Item]) -> tuple[NDArray[np.float32], list[str]]:
    """Maps n x h x w, and what was done to them."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of maps.")
    files = [_map_file(folder, item) for item in items]
    if missing := [item.path for item, file in zip(items, files, strict=True) if file is None]:
        raise DataError(
            f"{folder}: {len(missing)} of {len(items)} calibration and test images have no map: {_named(missing)}. "
            f"The map of a/b.png is a/b.npy, a/b.tiff or a/b.tif."
        )
    maps = [_read_map(file) for file in files if file is not None]
    if len({one.shape for one in maps}) == 1:
        return np.stack(maps), []
    note = f"maps of different sizes were brought to {_COMMON} x {_COMMON}"
    return np.stack([resize_map(one, (_COMMON, _COMMON)) for one in maps]), [note]


def _map_file(folder: Path, item: Item) -> Path | None:
    base = folder / item.path
    return next((file for ending in _ENDINGS if (file := base.with_suffix(ending)).is_file()), None)


def _read_map(file: Path) -> NDArray[np.float32]:
    if file.suffix == ".npy":
        try:
            values = np.load(file, allow_pickle=False)
        except Exception as error:  # numpy raises many kinds for a file that is not what it should be
            raise DataError(f"{file}: cannot be read as a map ({error}).") from None
    else:
        with opened(file, "a map") as image:
            values = np.asarray(image)
    values = np.squeeze(values)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        raise DataError(f"{file}: a map is height x width, this is {values.shape} of {values.dtype}.")
    with np.errstate(over="ignore"):
        single = np.asarray(values, np.float32)
    if not np.isfinite(single).all():
        raise DataError(f"{file}: holds values that are NaN or infinite. Higher must mean more anomalous.")
    return single


def _nearest(path: str, known: Collection[str]) -> str:
    near = get_close_matches(path, known, n=1, cutoff=0.8) if len(known) < _SEARCHED else []
    return f" Did you mean {near[0]}?" if near else ""


def _named(paths: Iterable[str]) -> str:
    listed = list(paths)
    return ", ".join(map(str, listed[:_NAMED])) + (", ..." if len(listed) > _NAMED else "")
