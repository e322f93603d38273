"""Every decision and every feedback in one SQLite file, which outlives `kill -9` and a power cut.

One thread writes. It takes all that waits, writes it in one transaction, and only then are the requests answered (group
commit): what was answered is in the log, and nothing is there by half. A commit with `synchronous=FULL` waits for the
disk; it is shared by all requests that have come in the meantime.

A log that cannot be written (a full disk, a read-only folder) never stops the service. It is tried again with every
batch, at most once a second.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

SCHEMA_VERSION = 1
_BATCH = 1000
_RETRY_S = 1.0
_BUSY_S = 2.0
_ROOM = 2**16
_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
  id TEXT PRIMARY KEY, time TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL, part TEXT, file TEXT,
  sha256 TEXT NOT NULL, score REAL NOT NULL, threshold REAL NOT NULL, verdict TEXT NOT NULL, ms REAL NOT NULL,
  statistics TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_of_model ON decisions (model, version, time);
CREATE TABLE IF NOT EXISTS feedback (
  number INTEGER PRIMARY KEY, decision TEXT NOT NULL REFERENCES decisions (id), time TEXT NOT NULL,
  verdict TEXT NOT NULL, note TEXT
);
CREATE INDEX IF NOT EXISTS feedback_of_decision ON feedback (decision, number);
CREATE TABLE IF NOT EXISTS room (bytes BLOB);
"""


class Row(NamedTuple):
    """A decision as it is kept.

    Attributes:
        id: Its id.
        time: When, in UTC.
        model: Name of the model.
        version: Its version.
        part: Id of the part; None where none was given.
        file: Name of the file as it was given.
        sha256: Hash of the file's bytes.
        score: Of the image.
        threshold: Of the model.
        verdict: `normal` or `anomalous`.
        ms: Milliseconds for decoding and computing.
        statistics: Statistics of the image, as JSON.
    """

    id: str
    time: str
    model: str
    version: int
    part: str | None
    file: str | None
    sha256: str
    score: float
    threshold: float
    verdict: str
    ms: float
    statistics: str


class FeedbackRow(NamedTuple):
    """Feedback as it is kept.

    Attributes:
        decision: Id of the decision.
        time: When, in UTC.
        verdict: What the operator found.
        note: In words.
    """

    decision: str
    time: str
    verdict: Literal["ok", "defect"]
    note: str | None


Outcome = Literal["kept", "unknown decision", "failed"]


class _Entry(NamedTuple):
    rows: Sequence[Row]
    feedback: FeedbackRow | None
    done: "Future[Outcome]"


def now() -> str:
    """The time as the log has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class DecisionLog:
    """The log of a service; used from any thread.

    Attributes:
        file: Where it lies.
        trouble: Why it cannot be written; None while it can.
        failures: How many decisions could not be kept.

    Args:
        file: Where it lies; its folder is made.
        configure: Called with each new connection, for tests.
    """

    def __init__(self, file: Path, configure: Callable[[sqlite3.Connection], None] | None = None) -> None:
        self.file, self.failures = file, 0
        self.trouble: str | None = None
        self._configure = configure
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._failed = -_RETRY_S
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def start(self) -> None:
        """Begin to write; the file is opened before this returns, so that `trouble` is known."""
        self._thread.start()
        self.probe().result()

    def probe(self) -> "Future[Outcome]":
        """Find out whether the log can be written, and open it again where it could not."""
        return self._put((), None)

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._thread.is_alive():
            self._entries.put(None)
            self._thread.join()

    def decisions(self, rows: Sequence[Row]) -> "Future[Outcome]":
        """Keep decisions, all or none; `kept` once they are on the disk."""
        return self._put(rows, None)

    def feedback(self, row: FeedbackRow) -> "Future[Outcome]":
        """Keep feedback on a decision that is in the log; `kept` once it is on the disk."""
        return self._put((), row)

    def _put(self, rows: Sequence[Row], feedback: FeedbackRow | None) -> "Future[Outcome]":
        done: Future[Outcome] = Future()
        self._entries.put(_Entry(rows, feedback, done))
        return done

    def _run(self) -> None:
        closing_down = False
        while not closing_down:
            batch: list[_Entry] = []
            entry = self._entries.get()
            while entry is not None:
                batch.append(entry)
                if len(batch) == _BATCH or self._entries.empty():
                    break
                entry = self._entries.get()
            closing_down = entry is None
            if batch:
                self._write(batch)
        self._disconnect()

    def _write(self, batch: Sequence[_Entry]) -> None:
        outcomes: list[Outcome]
        try:
            outcomes = self._commit(batch)
            self.trouble = None
        except Exception as error:  # whatever it is, requests are answered and the thread goes on
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            self.trouble = f"{self.file}: {reason}"
            self.failures += sum(len(entry.rows) for entry in batch)
            outcomes = ["failed"] * len(batch)
            self._disconnect()
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.done.set_running_or_notify_cancel():
                entry.done.set_result(outcome)

    def _commit(self, batch: Sequence[_Entry]) -> list[Outcome]:
        connection = self._connect()
        if self.trouble:  # it is over where as much can be written as any request takes; each is a transaction
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (_ROOM,))
            connection.execute("DELETE FROM room")
        rows = [row for entry in batch for row in entry.rows]
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO decisions VALUES ({', '.join('?' * len(Row._fields))})", rows)
            return [_keep(connection, entry.feedback) for entry in batch]

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self.file) == self._opened:
            return self._connection
        self._disconnect()  # what is written to a file that was moved away would be lost
        if time.monotonic() - self._failed < _RETRY_S:
            raise OSError(0, (self.trouble or "not open").removeprefix(f"{self.file}: "))
        try:
            self._connection = self._open()
        except BaseException:
            self._failed = time.monotonic()
            raise
        self._opened = _identity(self.file)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.file, timeout=_BUSY_S, isolation_level=None)
        try:
            _prepare(connection)
            if self._configure:
                self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ValueError(f"a newer anomalybench wrote this log (layout {version}); name another file: --log FILE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version < SCHEMA_VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _identity(file: Path) -> tuple[int, int] | None:
    """Tells a file from another one under the same name."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _keep(connection: sqlite3.Connection, row: FeedbackRow | None) -> Outcome:
    if row is None:
        return "kept"
    added = connection.execute(
        "INSERT INTO feedback (decision, time, verdict, note) SELECT ?, ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM decisions WHERE id = ?)",
        (*row, row.decision),
    )
    return "kept" if added.rowcount == 1 else "unknown decision"
