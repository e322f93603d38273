"""Which model a user means: a folder, a promoted model, a job, or the best of a run.

What is typed is looked for in that order: an existing folder with a model, or an exported file, before a promoted model
of the same name, before jobs by the beginning of their id.
"""

import difflib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anomalybench.bench import best
from anomalybench.bench.store import Store, reading, selection
from anomalybench.core import places
from anomalybench.core.errors import StoreError, UsageError, shortened
from anomalybench.core.job import EXTERNAL
from anomalybench.core.model_card import CARD, ModelCard
from anomalybench.core.record import MEASURE_VERSION, Measurement, Record
from anomalybench.deploy import bundle, cards
from anomalybench.deploy.bundle import Bundle
from anomalybench.deploy.exported import same_fit
from anomalybench.deploy.loading import load_model
from anomalybench.deploy.promoted import Promoted

BEST = "best:"
EXPORTS = "exports"
"""Folder in a results folder for what was exported from its jobs."""
_ABOVE = 4
"""So many folders above a job's is the results folder."""
_LISTED = 8
_AGAIN = "Run its command again with --force --keep-models all"


@dataclass(frozen=True)
class Found:
    """A model that was looked up.

    Attributes:
        folder: Its folder, or an exported file.
        results: The results folder.
        record: Record of the job whose folder it is; None for any other model.
        measurement: The measurement whose threshold is meant, where that is another than the card's.
    """

    folder: Path
    results: Path
    record: Record | None = None
    measurement: Measurement | None = None

    def card(self) -> ModelCard:
        """Its card, with the threshold that is meant; StoreError if it is damaged."""
        if self.folder.is_file():
            return load_model(self.folder).card
        return self._decided(bundle.read_card(self.folder))

    def read(self) -> Bundle:
        """Card and weights, with the threshold that is meant.

        Raises:
            StoreError: They are damaged.
            UsageError: It is an exported file, whose weights are of another kind.
        """
        if self.folder.is_file():
            raise UsageError(f"{self.folder}: an exported file; name the folder of the model that it was made from.")
        card, state = bundle.read(self.folder)
        return Bundle(self._decided(card), state)

    def _decided(self, card: ModelCard) -> ModelCard:
        if self.record is None or self.measurement is None:
            return card
        return cards.with_measurement(card, self.measurement, Store(self.results).scores(self.record))


def find(text: str, results: Path) -> Path:
    """Folder of the model that a user means, which decides by the threshold on its own card.

    Args:
        text: See `look_up`.
        results: The results folder.

    Raises:
        UsageError: See `look_up`; or another threshold rule than that of the card is meant.
    """
    found = look_up(text, results)
    if found.measurement is not None:
        raise UsageError(
            f"{shortened(text)}: the job's model decides by another threshold rule than "
            f"{found.measurement.name}. Make a model that has this one: anomalybench models promote '{text}' --as NAME."
        )
    return found.folder


def look_up(text: str, results: Path, *, kept: bool = True) -> Found:
    """The model that a user means.

    Args:
        text: Folder of a model; `NAME` or `NAME/3` of a promoted one; a job by how its id begins, followed by `@RULE`
            for another threshold rule that it was measured with; `best:RUN` or `best:RUN/CATEGORY`.
        results: The results folder.
        kept: Of jobs, only one whose model was kept; otherwise any one that has a fit.

    Raises:
        UsageError: There is no such model, several are meant, or the job has none; the text says what will work.
        StoreError: `current.json` of a promoted model is damaged.
    """
    place = Path(text)
    if text and _is_model(place):
        return Found(place, results)
    if (promoted := _promoted(text, results)) is not None:
        return Found(promoted, results)
    found = _job(text, Store(results))
    return _kept(found) if kept else found


def _job(text: str, store: Store) -> Found:
    """The job that a user means, whether its model was kept or not."""
    if text.startswith(BEST):
        chosen = best.of_run(text.removeprefix(BEST), store)
        rule = "" if chosen.measurement is None else chosen.measurement.name
        return _of_job(chosen.record, rule, store)
    start, at, rule = text.partition("@")
    records = [record for record in store.records() if start and record.id.startswith(start)]
    if not records:
        raise _nothing(text, store)
    if len(records) > 1:
        raise _several(start, records)
    if at and not rule:
        raise UsageError(f"{shortened(text)}: after @ comes a threshold rule, as in {start}@default.")
    return _of_job(records[0], rule, store)


def exported_folder(found: Found) -> Path:
    """Where the exported files of a model lie: in its folder; those of a job in `exports/`.

    Raises:
        StoreError: They are of an earlier fit of the job.
    """
    folder = job_exports(found.folder)
    if folder == found.folder or not (folder / CARD).is_file():
        return folder
    if not same_fit(bundle.read_card(folder), bundle.read_card(found.folder)):
        again = places.command("export", folder.name, results=found.results)
        raise StoreError(f"{folder}: was exported from an earlier fit of this job. Export it again: {again}")
    return folder


def job_exports(folder: Path) -> Path:
    """Folder for what is exported from a model: its own; another for a job's, which a new fit or measuring replaces."""
    own = reading.record(folder)
    return folder if own is None else folder.resolve().parents[_ABOVE] / EXPORTS / own.id


def _is_model(place: Path) -> bool:
    """Whether it is the folder of a model, or an exported file."""
    try:
        return (place / CARD).is_file() or (place.suffix == ".onnx" and place.is_file())
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return False


def _promoted(text: str, results: Path) -> Path | None:
    """Folder of a promoted model, if there is one of this name."""
    name, slash, number = text.partition("/")
    promoted = Promoted(results)
    if name not in promoted.names():
        return None
    if not slash:
        return promoted.folder(name)
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UsageError(f"{shortened(text)}: after {name}/ comes the number of a version, as in {name}/1.")
    return promoted.folder(name, int(number))


def _of_job(record: Record, rule: str, store: Store) -> Found:
    """A job, with a threshold rule by the name of its measurement; empty for that of the card."""
    if record.status == "failed":
        raise UsageError(f"{_named(record)} has no model: it failed: {record.error}. Run its command again.")
    if record.status == "skipped":
        raise UsageError(f"{_named(record)} has no model: it was skipped: {record.error}.")
    if record.job.method.name.startswith(EXTERNAL):
        raise UsageError(f"{_named(record)} has no model: it holds the scores of another tool.")
    folder = store.folder(record.job, record.fingerprint)
    known = [one for one in record.measurements if one.version == MEASURE_VERSION]
    if not rule:
        return Found(folder, store.results, record)
    wanted = [one for one in known if one.name == rule]
    if not wanted:
        raise UsageError(
            f"{_named(record)} was not measured with {shortened(rule)}, but with "
            f"{', '.join(one.name for one in known) or 'older formulas'}. Run its command again with this --threshold: "
            "nothing is fitted again."
        )
    same = wanted[0] == record.measurements[0]
    return Found(folder, store.results, record, None if same else wanted[0])


def _kept(found: Found) -> Found:
    """A job whose model was kept; UsageError that says why it was not."""
    record = found.record
    if record is None or CARD in record.files:
        return found
    name = _named(record)
    for note in record.notes:
        if note.startswith("the model is not kept"):
            raise UsageError(f"{name} has no model: {note}.")
    raise UsageError(
        f"{name} has no model: it was not kept (--keep-models none or best, or a run of an older version). {_AGAIN}."
    )


def _several(start: str, records: Sequence[Record]) -> UsageError:
    listed = [f"{record.id}  {record.job}  {record.status}" for record in records[:_LISTED]]
    more = [f"... and {len(records) - _LISTED} more"] if len(records) > _LISTED else []
    return UsageError("\n  ".join([f"{len(records)} jobs begin with {shortened(start)}; write more of the id:",
                                   *listed, *more]))  # fmt: skip


def _nothing(text: str, store: Store) -> UsageError:
    """The error for what is no model, with the nearest names."""
    promoted = Promoted(store.results).names()
    runs = [f"{BEST}{name}" for name in selection.names(store)]
    ids = [record.id for record in store.records()]
    near = difflib.get_close_matches(text, [*promoted, *runs, *ids], n=3, cutoff=0.5)
    said = [f"there is no model {shortened(text)} in {store.results}."]
    with suppress(OSError, ValueError):
        if text and Path(text).is_dir():
            said = [f"{shortened(text)} is a folder without {CARD}, so no model."]
    if near:
        said.append(f"Did you mean {' or '.join(near)}?")
    elif promoted:
        said.append(f"Promoted: {', '.join(promoted[:_LISTED])}.")
    said.append("Name a promoted model, a job by how its id begins (see `anomalybench leaderboard`), "
                "best:RUN for the best of a run, or a model's folder; other results: --results DIR.")  # fmt: skip
    return UsageError(" ".join(said))


def _named(record: Record) -> str:
    return f"{record.job} ({record.id})"
