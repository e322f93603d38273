"""The command that computes every number again from stored scores and maps; nothing is fitted."""

from pathlib import Path
from typing import TYPE_CHECKING

from anomalybench.cli import console
from anomalybench.cli.options import RESULTS, DataOption, ResultsOption, WantedArgument
from anomalybench.cli.tables import chosen, existing, named

if TYPE_CHECKING:
    from anomalybench.bench.store import Store
    from anomalybench.core.record import Record


def measure(wanted: WantedArgument = None, data: DataOption = None, results: ResultsOption = RESULTS) -> None:
    """Compute all metrics, intervals and thresholds again from stored scores and maps, and write the leaderboards.

    Nothing is fitted. Results of version 0.1.0 are taken over. Images are needed only where masks are compared with
    maps: where they are gone or have changed, a result stays as it was measured, and is named.
    """
    from anomalybench.core import places
    from anomalybench.core.errors import StoreError
    from anomalybench.report import outputs

    store, folder = existing(results), places.data(data)
    taken = [] if wanted else _take_over(store)
    records = [record for record in store.records() if record.status == "ok"]
    ids = named(store, wanted, folder, records) if wanted else {record.id for record in records}
    wanted_records = {name.partition("@")[0] for name in ids} - {record.id for record in taken}
    measured = [*taken, *_measured([one for one in records if one.id in wanted_records], store, data)]
    if not measured:
        raise StoreError(f"nothing in {results} could be measured; the reasons are above.")
    name = "_".join(Path(one).stem if one.endswith((".yaml", ".yml")) else one for one in wanted or ["all"])
    found = chosen(store, wanted or [], folder, finished=False)
    tables = outputs.tables_of(found, store)
    console.print_leaderboard(tables.leaderboard, tables.by_category)
    console.remark(f"measured again: {len(measured)} results, none of them fitted.")
    console.print_files(outputs.write(name, tables, found, store))


def _measured(records: "list[Record]", store: "Store", data: Path | None) -> "list[Record]":
    from anomalybench.bench.remeasure import Images, remeasure
    from anomalybench.core.errors import AnomalyBenchError

    images, done = Images(data), []
    with console.status() as say:
        for record in records:
            say(f"{record.job}")
            try:
                done.append(remeasure(record, images.root(record), store, {}, again=True))
            except AnomalyBenchError as error:
                console.warn(f"{record.job}: stays as it was measured ({error})")
    return done


def _take_over(store: "Store") -> "list[Record]":
    from anomalybench.bench.takeover import take_over
    from anomalybench.core.errors import AnomalyBenchError

    taken = []
    with console.status() as say:
        for old in store.unreadable():
            if old.schema != 1:
                continue
            say(str(old.folder))
            try:
                if record := take_over(old.folder, store):
                    taken.append(record)
            except AnomalyBenchError as error:
                console.warn(f"{old.folder}: not taken over ({error})")
    if taken:
        console.remark(f"{len(taken)} results of version 0.1.0 were taken over; their old folders stay.")
    return [record for record in taken if record.status == "ok"]
