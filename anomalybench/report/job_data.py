"""Jobs for the page: raw scores, from which the page computes metrics anew, maps, boxes, and the result card."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomalybench.bench.store import Store
from anomalybench.core.errors import AnomalyBenchError
from anomalybench.core.job import EXTERNAL
from anomalybench.core.record import Record, Result
from anomalybench.evaluate import heat, map_codes
from anomalybench.report import card, image_files, leaderboard, pictures
from anomalybench.report.pictures import Limits, Source


@dataclass
class JobPage:
    """One job as the page shows it.

    Attributes:
        row: Its row in the table of jobs.
        result: What it left.
        scores: Its raw scores; None where there are none to be read.
        sources: Its test images, by index label of `scores`.
    """

    row: dict[Any, Any]
    result: Result
    scores: pd.DataFrame | None = None
    sources: dict[int, Source] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        """Its record."""
        return self.result.record

    @property
    def category(self) -> tuple[str, str]:
        """Dataset and category, as the tables call them."""
        return self.row["dataset"], self.row["category"]

    @property
    def test(self) -> pd.DataFrame:
        """The scores of the test images."""
        assert self.scores is not None
        return self.scores[self.scores["split"] == "test"]

    @property
    def threshold(self) -> float:
        """The threshold; one that calls nothing anomalous where the record has none."""
        return float("inf") if self.result.measurement is None else self.result.measurement.threshold


def read(
    rows: Iterable[dict[Any, Any]], results: Mapping[str, Result], store: Store, data: Path | None = None
) -> list[JobPage]:
    """Jobs with their scores, in the order of the rows of the table of jobs; `data` as in `image_files.place`."""
    pages = [JobPage(row, results[row["job"]]) for row in rows]
    for page in pages:
        if page.record.status == "ok":
            page.scores = _scores(page.record, store)
        if page.scores is not None:
            where = image_files.place(page.record, data)
            page.sources = {
                int(str(index)): Source(
                    where, row["path"], row["mask"], int(row["label"]), row["defect"], page.record.bits
                )
                for index, row in page.test.iterrows()
            }
    return pages


def shown(pages: Sequence[JobPage], limits: Limits) -> dict[Source, bool | None]:
    """Every test image: True with a large view, False as a small picture, None by name only.

    Within a category the methods take turns, each with what tells most of it; floors come last.
    """
    groups = defaultdict(list)
    for page in pages:
        if page.scores is not None:
            groups[page.category].append(page)
    found: dict[Source, bool | None] = {}
    for group in groups.values():
        sides = [[p for p in group if leaderboard.is_floor(p.row["method"]) == floor] for floor in (False, True)]
        orders = [[_order(page) for page in side] for side in sides]
        chosen = dict.fromkeys([source for side in orders for source in pictures.in_turn(side)])
        for place, source in enumerate(chosen):
            found[source] = True if place < limits.large else False if place < limits.thumbs else None
    return found


def described(page: JobPage, images: dict[Source, int], shown: dict[Source, bool | None],
              drawn: Sequence[dict[str, Any]], store: Store) -> dict[str, Any]:  # fmt: skip
    """A job in JSON values.

    Args:
        page: The job.
        images: The place of every test image in the page's list.
        shown: From `shown`.
        drawn: The page's list of images.
        store: Where maps lie.
    """
    record, row, measured = page.record, page.row, page.result.measurement
    names = ("method", "supervision", "dataset", "category", "protocol", "seed", "fold", "status")
    limits = card.limits(page.result)
    sections = [
        [title, [[name, card.cell(value), limits.get(name, "")] for name, value in values.items()]]
        for title, values in card.sections(page.result).items()
    ]
    found = {name: row[name] for name in names} | {
        "id": page.result.id, "kind": kind(row["method"]), "version": record.job.version, "error": record.error,
        "traceback": record.traceback, "threshold": None if measured is None else measured.threshold,
        "rule": None if measured is None else measured.rule, "metrics": dict(page.result.metrics),
        "notes": page.result.notes, "card": sections, "command": card.command(page.result),
        "use": "\n".join(card.use(page.result, store.results)),
    }  # fmt: skip
    if page.scores is None:
        return found
    test, known = page.test, page.scores[page.scores["split"] == "calibration"]
    found["test"] = {
        "image": [images[page.sources[i]] for i in test.index],
        "label": test["label"].tolist(),
        "score": test["score"].tolist(),
    }
    found["calibration"] = {"label": known["label"].tolist(), "score": known["score"].tolist()}
    large = {i: images[s] for i, s in page.sources.items() if shown[s] and "large" in drawn[images[s]]}
    return found | _maps(page, large, drawn, store)


def kind(method: str) -> str:
    """What a method is to a reader: `ours`, `floor` or `external`."""
    return "external" if method.startswith(EXTERNAL) else "floor" if leaderboard.is_floor(method) else "ours"


def _scores(record: Record, store: Store) -> pd.DataFrame | None:
    try:
        return store.scores(record)
    except AnomalyBenchError:
        return None


def _order(page: JobPage) -> list[Source]:
    return [page.sources[i] for i in pictures.most_telling(page.test, page.threshold)]


def _read_maps(page: JobPage, store: Store) -> NDArray[np.float32] | None:
    """One map for every score; None where there are no such maps."""
    try:
        coded = store.maps(page.record)
    except (AnomalyBenchError, MemoryError):
        return None
    return None if coded is None else map_codes.decode(coded)


def _maps(page: JobPage, large: dict[int, int], drawn: Sequence[dict[str, Any]], store: Store) -> dict[str, Any]:
    assert page.scores is not None
    maps = _read_maps(page, store) if large else None
    if maps is None:
        return {"maps": {}, "boxes": {}, "colours": None}
    limits = heat.display_range(maps, (page.scores["split"] == "calibration").to_numpy())
    called = page.scores["score"] > page.threshold
    return {
        "colours": limits,
        "maps": {place: pictures.small_map(maps[i], limits) for i, place in large.items()},
        "boxes": {place: pictures.boxes(maps[i], drawn[place]["size"]) for i, place in large.items() if called[i]},
    }
