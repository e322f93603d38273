"""Pinned results: one row per job and metric, with the tolerance within which it may move unnoticed.

`results/reference/SUITE.csv` begins with comments that say where its numbers come from. A row is found again by what
its job is called in the tables, not by the job's id: so a changed default shows up as a moved number.
"""

import io
import itertools
import platform
from pathlib import Path

import pandas as pd

from anomalybench.core import places
from anomalybench.core.errors import StoreError, UsageError
from anomalybench.core.record import Record
from anomalybench.evaluate import catalogue
from anomalybench.report.leaderboard import Tables

KEY = ["method", "dataset", "category", "protocol", "seed", "fold", "metric"]
_MADE_OF = ("anomalybench-vision", "torch", "torchvision", "timm", "numpy", "python", "machine", "git")


def table(tables: Tables) -> pd.DataFrame:
    """One row per finished job and metric: what it is called, value and tolerance."""
    good = tables.by_category[tables.by_category["status"] == "ok"]
    tolerances = {"threshold": catalogue.SCALED} | {
        name: tolerance for name, metric in catalogue.METRICS.items() if (tolerance := metric.tolerance) is not None
    }
    wide = good.melt(KEY[:-1], [*tolerances], "metric", "value").dropna(subset="value")
    wide["value"] = wide["value"].astype(float).round(6)
    wide["tolerance"] = [
        round(tolerances[name].of(value), 6) for name, value in zip(wide["metric"], wide["value"], strict=True)
    ]
    return _keyed(wide)


def read(suite: str) -> pd.DataFrame:
    """The pinned rows of a suite.

    Raises:
        UsageError: There are none.
        StoreError: The file is broken.
    """
    file = places.references() / f"{suite}.csv"
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))
        found = pd.read_csv(io.StringIO(rows), dtype=dict.fromkeys(KEY, str), keep_default_na=False)
        return _keyed(found.astype({"value": float, "tolerance": float}))
    except FileNotFoundError:
        raise UsageError(
            f"suite {suite} has no pinned results ({file} does not exist). "
            f"Pin those at hand: anomalybench reference accept {suite}."
        ) from None
    except (OSError, KeyError, ValueError) as error:  # ValueError: not UTF-8, no table, or text in place of a number
        raise StoreError(f"{file}: cannot be read as a table of pinned results ({error}).") from None


def compare(expected: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Rows that differ, with the column `what`: moved beyond the tolerance, missing, or new."""
    both = expected.merge(found[[*KEY, "value"]], on=KEY, how="outer", suffixes=("", "_now"), indicator=True)
    both["moved_by"] = both["value_now"] - both["value"]
    verdicts = both["_merge"].map({"left_only": "missing", "right_only": "new", "both": ""}).astype(str)
    verdicts[(both["_merge"] == "both") & (both["moved_by"].abs() > both["tolerance"])] = "moved"
    both.insert(0, "what", verdicts)
    differing: pd.DataFrame = both[both["what"] != ""].drop(columns="_merge")
    return differing.sort_values(["what", *KEY], ignore_index=True)


def write(suite: str, rows: pd.DataFrame, records: list[Record], command: str) -> Path:
    """Pin these rows; returns the file.

    Args:
        suite: The suite's name.
        rows: From `table`.
        records: The records they come from, for the provenance.
        command: The command that made them.

    Raises:
        UsageError: The suite's name is that of another file beside the pinned results.
        StoreError: The folder cannot be written, as in an installed package.
    """
    if suite == "published":
        raise UsageError("published.csv holds what others have published. Give the suite another name.")
    about = records[0].environment
    made = {name: about[name] for name in _MADE_OF if name in about}
    head = [f"# Pinned results of the suite {suite}, accepted with: {command}"]
    head += [f"# date: {max(record.environment.get('date', '') for record in records)}"]
    head += [f"# {name}: {value}" for name, value in made.items()] + [f"# system: {platform.system()}"]
    file = places.references() / f"{suite}.csv"
    try:
        file.write_text("\n".join(head) + "\n" + rows.to_csv(index=False), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Pin results in a checkout.") from None
    return file


def _keyed(rows: pd.DataFrame) -> pd.DataFrame:
    keyed = rows.copy()
    keyed[KEY] = keyed[KEY].astype(str)
    return keyed[[*KEY, "value", "tolerance"]].sort_values(KEY, ignore_index=True)
