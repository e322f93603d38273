"""What the page shows, gathered from records and the store as plain JSON values; NaN becomes null."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomalybench import __version__
from anomalybench.bench.store import Store
from anomalybench.core.record import Result
from anomalybench.evaluate import catalogue, heat
from anomalybench.evaluate.catalogue import RANKING
from anomalybench.report import comparison, defects, job_data, leaderboard, marks, pictures, published
from anomalybench.report.glossary import TERMS
from anomalybench.report.job_data import JobPage
from anomalybench.report.joint import Resamples
from anomalybench.report.leaderboard import Tables
from anomalybench.report.pictures import Limits
from anomalybench.report.published import Published

_COSTS = ("fit_s", "predict_ms_per_image", "latency_p50_ms", "latency_p95_ms", "peak_memory_mb", "params_m")
_GROUND = ["dataset", "protocol"]
_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
"""Marks that turn the direction of writing: in a name, they would turn the numbers around it as well."""


def gather(
    results: Iterable[Result],
    store: Store,
    max_images: int | None = None,
    folder: Path | None = None,
    tables: Tables | None = None,
) -> dict[str, Any]:
    """Everything on the page.

    Args:
        results: What jobs left, also the failed and the skipped ones.
        store: Where their scores, maps and resamples lie.
        max_images: Most images per category with a large view; by default an even share of 80.
        folder: The data folder, as the reader names it; see `image_files.place`.
        tables: The tables of these results, if they have been built.
    """
    known = {result.id: result for result in results}
    resamples = functools.cache(store.resample(known.values()))
    tables = tables or leaderboard.build(known.values(), resamples)
    pages = job_data.read(tables.by_category.to_dict("records"), known, store, folder)
    shown = job_data.shown(pages, Limits.sharing(max_images, len({page.category for page in pages})))
    order = {source: place for place, source in enumerate(shown)}
    pictured = {source: large for source, large in shown.items() if large is not None}
    drawn = dict(zip(pictured, pictures.draw(pictured), strict=True))
    images = [
        {"path": source.path, "label": source.label, "defect": source.defect, **drawn.get(source, {})}
        for source in shown
    ]
    jobs = [job_data.described(page, order, shown, images, store) for page in pages]
    data: dict[str, Any] = {
        "version": __version__,
        "dates": sorted({date[:10] for result in known.values() if (date := result.record.environment.get("date"))}),
        "metrics": _metrics(tables.by_category),
        "ranking": RANKING,
        "rows": _rows(tables, known, resamples),
        "rankings": _rankings(tables.by_category),
        "defects": [asdict(table) for table in defects.tables(tables.by_category)],
        "jobs": jobs,
        "images": images,
        "terms": TERMS,
        "range": heat.RANGE,
        "notices": _notices(pages, images),
    }
    return {name: plain(value) for name, value in data.items()}


def _metrics(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """Metrics that some job has; the one that is ranked by always."""
    shown = [catalogue.METRICS[name] for name in catalogue.names(shown_in="page")]
    there = [one for one in shown if one.name == RANKING or jobs[one.name].notna().any()]
    return [{"name": one.name, "label": one.label, "main": "limits" in one.shown} for one in there]


def _rows(tables: Tables, results: Mapping[str, Result], resamples: Resamples) -> list[dict[str, Any]]:
    """Rows of the leaderboard: means over categories, and each category for itself where there are several."""
    listed = published.read()
    found = []
    for key, jobs in tables.by_category.groupby(_GROUND, sort=True):
        whole = tables.leaderboard.set_index(_GROUND).loc[[key]]
        parts = [("", whole, jobs)]
        if jobs["category"].nunique() > 1:
            groups = jobs.groupby("category", sort=True)
            parts += [(str(name), leaderboard.summary(part, resamples), part) for name, part in groups]
        for category, summary, part in parts:
            for row in summary.to_dict("records"):
                own = part[part["method"] == row["method"]]
                said = published.matching(listed, [results[job].record for job in own["job"]], mean=category == "")
                found.append(
                    dict(zip(_GROUND, key, strict=True)) | {"category": category} | _row(row, own, said, resamples)
                )
    return found


def _row(row: Mapping[Any, Any], jobs: pd.DataFrame, said: Sequence[Published], resamples: Resamples) -> dict[str, Any]:
    good, sure = jobs[jobs["status"] == "ok"], catalogue.names(has_interval=True)
    errors = jobs.loc[jobs["status"] != "ok", ["status", "category", "error"]]
    return {
        "method": row["method"],
        "kind": job_data.kind(row["method"]),
        "supervision": row["supervision"],
        "status": row["status"],
        "n_categories": row["n_categories"],
        "n_jobs": len(jobs),
        "values": {name: row[name] for name in catalogue.names(shown_in="page")},
        "intervals": {name: _interval(good, name, resamples) for name in sure if good[name].notna().any()},
        "costs": {name: leaderboard.mean_of_means(good, name) for name in _COSTS},
        "tied": row["tied_with_best"],
        "below": marks.not_above_a_floor(row),
        "not_ranked": marks.not_ranked(row),
        "published": [{"metric": p.metric, "value": p.value, "source": p.source} for p in said],
        "errors": errors.drop_duplicates().to_dict("records"),
    }


def _interval(jobs: pd.DataFrame, metric: str, resamples: Resamples) -> list[float]:
    """A single job's own interval, else that of the mean."""
    if len(jobs) == 1:
        return [float(jobs[f"{metric}_{end}"].iloc[0]) for end in ("low", "high")]
    return list(comparison.mean_interval(jobs, metric, resamples))


def _rankings(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean ranks by metric, where three methods or more share several categories."""
    found = []
    for key, ground in jobs[jobs["status"] == "ok"].groupby(_GROUND, sort=True):
        for metric in catalogue.names(has_interval=True):
            groups = {str(method): group for method, group in ground[ground[metric].notna()].groupby("method")}
            ranked = comparison.ranking(groups, metric) if len(groups) > 2 else None
            if ranked is not None and ranked.n_categories > 1:
                found.append(
                    dict(zip(_GROUND, key, strict=True))
                    | {"metric": metric, "methods": ranked.methods, "ranks": ranked.ranks}
                    | {"cliques": ranked.cliques, "n_categories": ranked.n_categories}
                )
    return found


def _notices(pages: Sequence[JobPage], images: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know before looking: what is not there, and how to get it."""
    said = []
    good = [page for page in pages if page.record.status == "ok"]
    if not good:
        said.append("No job has finished. The reasons are listed below.")
    elif all(comparison.only_good(pd.DataFrame([page.row])) for page in good):
        said.append(
            "No test image is defective, so nothing can be ranked. Test images shows the most unusual images first: "
            "those with the highest scores."
        )
    blind = [page for page in good if page.scores is None]
    if blind:
        said.append(
            f"{_of(blind, good, 'job have')} no raw scores that can be read: histograms and images are left out "
            f"(first: {blind[0].record.job}). Run them again with --force."
        )
    rankable = [page for page in good if page.result.metrics.get(RANKING) is not None]
    unsure = [page for page in rankable if page.result.measurement is None or not page.result.measurement.intervals]
    if unsure:
        said.append(
            f"{_of(unsure, good, 'job have')} no intervals: nothing is known of how sure the numbers are "
            f"(first: {unsure[0].record.job}). Measure them again: anomalybench measure"
        )
    gone = [image["missing"] for image in images if "missing" in image and "thumb" not in image]
    if gone:
        said.append(f"{_of(gone, images, 'image')} cannot be shown; have the data been moved? First: {gone[0]}")
    bare = [image["missing"] for image in images if "missing" in image and "thumb" in image]
    if bare:
        said.append(f"{_of(bare, images, 'image are')} shown without the outline of their defect: {bare[0]}")
    return said


def _of(some: Sequence[object], all_: Sequence[object], words: str) -> str:
    """As in `2 of 3 jobs have` and `1 of 1 job has`; `words` are a noun and perhaps a verb in the plural."""
    noun, _, verb = words.partition(" ")
    one = len(all_) == 1
    verb = {"have": "has", "are": "is"}.get(verb, verb) if one else verb
    return f"{len(some)} of {len(all_)} {noun if one else f'{noun}s'} {verb}".rstrip()


def plain(value: Any) -> Any:
    """JSON values: NumPy's numbers become Python's, NaN and infinities null, `_TURNS` visible."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, str):
        return value.translate(_TURNS)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
