"""Tables as CSV files that do no harm in a spreadsheet."""

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


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
