"""The terminal: text that does no harm there, and tables that fit its width and never break a number."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anomalybench.core.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WITHOUT_TERMINAL = 140
_GAP = 2
"""What a column costs beside its cells, and the table beside its columns."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading; it may have several lines.
        number: Whether its cells are numbers: they are never broken.
        leaves: Where the terminal is narrow, the columns with the highest number leave first; 0 always stays.
        least: How narrow a column of text may become; longer texts go on in the next line.
    """

    title: str
    number: bool = False
    leaves: int = 0
    least: int = 12


def console(*, stderr: bool = False) -> "Console":
    """A console as wide as the terminal; where there is none, as `COLUMNS` says, or wide enough for the tables."""
    from rich.console import Console

    found = Console(stderr=stderr, emoji=False)
    if found.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return found
    return Console(stderr=stderr, width=_WITHOUT_TERMINAL, emoji=False)


def plain(text: object) -> str:
    """Any text, so that rich never reads it as markup and the terminal never as a command; lines stay lines."""
    from rich.markup import escape

    return escape("\n".join(map(printable, str(text).split("\n"))))


def table(columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]], width: int = 0, **options: Any) -> "Table":
    """A table in the house's style that is no wider than the terminal.

    Columns without content are left out, and, where the terminal is narrow, those that may leave; texts are folded.

    Args:
        columns: In order.
        rows: A cell for each column: text that is shown as it is, or text with a style.
        width: How wide it may be; by default as the terminal.
        options: Those of rich's Table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    width = width or console().width
    shown = fitting(columns, rows, width)
    found = _widths([columns[i] for i in shown], [[row[i] for row in rows] for i in shown], width)
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left", title_justify="left", **options)
    for i, wide in zip(shown, found, strict=True):
        number = columns[i].number
        made.add_column(_text(columns[i].title), width=wide, no_wrap=number, overflow="fold")
    for row in rows:
        cells = zip([row[i] for i in shown], found, strict=True)
        made.add_row(*(_text(folded(cell, wide) if isinstance(cell, str) else cell) for cell, wide in cells))
    return made


def folded(text: str, width: int) -> str:
    """A text whose words have breaks where they are wider: after `/`, `_` or `-`, or else in the midst of a word."""
    return re.sub(r"\S+", lambda word: "\n".join(_pieces(word[0], width)), text)


def _pieces(word: str, width: int) -> list[str]:
    """A word in lines of that width."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for part in re.findall(r"[^/_-]+[/_-]*|[/_-]+", word):
        if cell_len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines += chop_cells(part, width)
    return [line for line in lines if line]


def fitting(columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]], width: int) -> list[int]:
    """Which columns have content and fit that width."""
    shown = [i for i in range(len(columns)) if not rows or any(len(row[i]) for row in rows)]
    while least_width([columns[i] for i in shown], [[row[i] for i in shown] for row in rows]) > width:
        leaving = max(shown, key=lambda i: columns[i].leaves)
        if not columns[leaving].leaves:
            break
        shown.remove(leaving)
    return shown


def least_width(columns: Sequence[Column], rows: Sequence[Sequence["str | Text"]]) -> int:
    """How narrow a table can be when all texts are folded and no number is broken."""
    return sum(_least(column, [row[i] for row in rows]) + _GAP for i, column in enumerate(columns)) + _GAP


def _widths(columns: Sequence[Column], cells: Sequence[Sequence["str | Text"]], width: int) -> list[int]:
    """The width of every column: what its cells take; where that is too much, the widest texts give way first."""
    least = [_least(column, ones) for column, ones in zip(columns, cells, strict=True)]
    found = [_natural([column.title, *ones]) for column, ones in zip(columns, cells, strict=True)]
    for _ in range(sum(found) + _GAP * (len(found) + 1) - width):
        roomy = [i for i in range(len(found)) if found[i] > least[i]]
        if not roomy:
            break
        found[max(roomy, key=lambda i: found[i])] -= 1
    return found


def _least(column: Column, cells: Sequence["str | Text"]) -> int:
    natural = _natural([column.title, *cells])
    return natural if column.number else min(natural, max(column.least, _natural(column.title.split())))


def _natural(texts: Sequence["str | Text"]) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for text in texts for line in _text(text).plain.split("\n")), default=1)


def _text(text: "str | Text") -> "Text":
    from rich.text import Text

    return text if isinstance(text, Text) else Text("\n".join(map(printable, text.split("\n"))))
