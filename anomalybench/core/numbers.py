"""Numbers on their way into files: JSON has no NaN."""

import math
from collections.abc import Mapping


def none_if_nan(value: float) -> float | None:
    """The value, or None in place of NaN: what is undefined is empty in records and tables."""
    return None if math.isnan(value) else value


def without_nan(values: Mapping[str, float]) -> dict[str, int | float | None]:
    """The same values by name, None in place of NaN."""
    return {name: none_if_nan(value) for name, value in values.items()}
