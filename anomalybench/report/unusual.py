"""The most unusual test images: what a run can tell where no image is known to be defective."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from anomalybench.bench.store import Store
from anomalybench.core.record import Result
from anomalybench.report.leaderboard import is_floor


class Unusual(NamedTuple):
    """The most unusual images of one category.

    Attributes:
        category: Dataset and category.
        method: The method that scored them.
        n_tested: How many test images it scored.
        n_images: How many images the category has.
        images: Columns path, score and flagged (above the threshold), most unusual first.
    """

    category: str
    method: str
    n_tested: int
    n_images: int
    images: pd.DataFrame


def unusual(results: Sequence[Result], store: Store, most: int = 5) -> list[Unusual]:
    """The highest-scoring test images of each category without defective test images.

    There is no telling there which method is best: the first one counts that is no floor, or else the last floor.

    Args:
        results: What a run left, in the order in which methods were named.
        store: Where the scores lie.
        most: Images per category.

    Raises:
        StoreError: Scores are damaged.
    """
    by_category: dict[str, list[Result]] = {}
    for result in results:
        if result.measurement is not None and not result.record.counts.test_anomalous:
            job = result.record.job
            by_category.setdefault(f"{job.dataset.name}/{job.category}", []).append(result)
    found = []
    for category, there in by_category.items():
        names = [result.record.job.method.name for result in there]
        method = next((name for name in names if not is_floor(name)), names[-1])
        scored = pd.concat([_tested(one, store) for one in there if one.record.job.method.name == method])
        images = scored.sort_values("excess", ascending=False, kind="stable").drop_duplicates("path")
        rows = images.head(most)[["path", "score", "flagged"]].reset_index(drop=True)
        found.append(Unusual(category, method, len(images), there[0].record.counts.images, rows))
    return found


def _tested(result: Result, store: Store) -> pd.DataFrame:
    """Test images with their scores; those of different fits are compared by how far they exceed the threshold."""
    scores = store.scores(result.record)
    tested = scores[scores["split"] == "test"]
    excess = tested["score"] - (result.measurement.threshold if result.measurement else 0.0)
    return tested.assign(excess=excess, flagged=excess > 0)
