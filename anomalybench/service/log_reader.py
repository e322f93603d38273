"""What the log of decisions says; it is read while another thread, or another process, writes it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from anomalybench.service.window import Seen

_BUSY_S = 5.0


class Count(NamedTuple):
    """How many decisions of a version are alike.

    Attributes:
        version: The version.
        verdict: `normal` or `anomalous`.
        operator: What the operator found in the end, `ok` or `defect`; None without feedback.
        decisions: How many.
    """

    version: int
    verdict: str
    operator: str | None
    decisions: int


def counts(file: Path, model: str, since: str | None = None) -> list[Count]:
    """Decisions of a model by version, verdict and the latest feedback; none where there is no log.

    Args:
        file: The log.
        model: Name of the model.
        since: Only decisions from this time on, as the log writes it.

    Raises:
        sqlite3.Error: The log cannot be read.
    """
    question = """
        SELECT version, decisions.verdict, latest.verdict, count(*) FROM decisions
        LEFT JOIN (
            SELECT decision, verdict FROM feedback
            WHERE number IN (SELECT max(number) FROM feedback GROUP BY decision)
        ) AS latest ON latest.decision = decisions.id
        WHERE model = ? AND decisions.time >= ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
    if not file.is_file():
        return []
    with _open(file) as connection:
        return [Count(*row) for row in connection.execute(question, (model, since or ""))]


def last(file: Path, model: str, version: int, most: int) -> list[Seen]:
    """The last images of a version, the latest last; none where the log cannot be read."""
    question = "SELECT score, statistics FROM decisions WHERE model = ? AND version = ? ORDER BY time DESC LIMIT ?"
    try:
        if not file.is_file():
            return []
        with _open(file) as connection:
            rows = connection.execute(question, (model, version, most)).fetchall()
        return [Seen(float(score), json.loads(statistics)) for score, statistics in reversed(rows)]
    except (sqlite3.Error, OSError, ValueError):
        return []


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    address = f"file:{quote(str(file.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as connection:
        yield connection
