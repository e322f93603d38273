"""How reports reach the disk: written aside and renamed, so that a reader never sees half of one."""

import os
import tempfile
from pathlib import Path

import pandas as pd

from anomalybench.core.errors import StoreError
from anomalybench.core.leftovers import sweep

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ASIDE = ".anomalybench-aside."


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV that does no harm in a spreadsheet.

    A text that a spreadsheet would take for a formula (it begins with =, +, -, @, a tab or a line break) gets a single
    quote in front; numbers stay numbers.
    """
    texts = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].map(_harmless) for name in texts}).to_csv(index=False)


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return (f"'{cell}" if cell.startswith(_FORMULA) else cell).replace("\r", " ")  # it would end the row for pandas


def write_text(file: Path, text: str, option: str = "--results DIR") -> None:
    """Write a UTF-8 file, its folder included, at once or not at all.

    Args:
        file: Where to.
        text: What.
        option: How to name another place, for the error.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent, f"{_ASIDE}*")
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=_ASIDE)
        aside = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            aside.chmod(0o644)
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error.strerror}). Name another: {option}.") from None
