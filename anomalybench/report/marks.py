"""What a row of the leaderboard means, in the words that terminal and page share."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

TIED = "tied with the best"
NOT_ABOVE = "not above a floor"


def not_above_a_floor(row: Mapping[Any, Any]) -> bool | None:
    """Whether a method is not shown to be better than each floor; None where that is unknown."""
    above = row.get("above_floors")
    return not above if has_value(above) else None


def not_ranked(row: Mapping[Any, Any]) -> str | None:
    """Why a row has no rank, in words, as in `only 1 defective test image: says nothing`; None where it has one."""
    text = row.get("not_ranked")
    return text if isinstance(text, str) and text else None


def of(row: Mapping[Any, Any], most_categories: int, n_tied: int) -> list[str]:
    """Everything to be said of a row.

    Args:
        row: A row of the leaderboard.
        most_categories: The number of categories of the fullest row on the same ground.
        n_tied: How many rows there are tied with the best, itself included.
    """
    n, tied, reason = row["n_categories"], row.get("tied_with_best"), not_ranked(row)
    found = [row["status"]] if row["status"] != "ok" else []
    if 0 < n < most_categories:
        found.append(f"only {n} of {most_categories} categories")
    if reason:
        return found if not n or reason in found else [*found, reason]
    if has_value(tied) and tied:
        found.append(TIED if n_tied > 1 else "best")
    return [*found, NOT_ABOVE] if not_above_a_floor(row) else found


def has_value(value: object) -> bool:
    """Whether a cell of a table holds a value."""
    return value is not None and value is not pd.NA and not (isinstance(value, float) and math.isnan(value))
