"""Which results a run's tables and page were made of: what was run can be asked for by its name.

`leaderboards/NAME.json` lists them beside `leaderboards/NAME.csv`.
"""

import json
from collections.abc import Sequence

from filelock import FileLock

from anomalybench.bench.store.store import Store, safe_name
from anomalybench.core.errors import StoreError
from anomalybench.core.files import write_text
from anomalybench.core.record import Result, results_of

_MOST = 10_000_000


class Selection:
    """Results by the name of a run.

    Args:
        store: Where the results lie.
        name: The run's name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.file = store.results / "leaderboards" / f"{safe_name(name)}.json"

    def ids(self) -> set[str]:
        """Ids of the results; empty where there is no run of that name."""
        try:
            if self.file.stat().st_size > _MOST:
                return set()
            return {str(one) for one in json.loads(self.file.read_text(encoding="utf-8"))["results"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return set()

    def read(self) -> list[Result]:
        """The results that are still there."""
        listed = self.ids()
        return [result for record in self.store.records() for result in results_of(record) if result.id in listed]

    def added(self, results: Sequence[Result]) -> list[Result]:
        """These results, and the earlier ones that they do not replace.

        Earlier ones on images that have changed since stay in the store, and are none of the run's any more.
        """
        images = {_category(result): result.record.fingerprint for result in results}
        new = {result.id for result in results}
        kept = [
            result for result in self.read()
            if result.id not in new and images.get(_category(result), "") in ("", result.record.fingerprint)
        ]  # fmt: skip
        return [*results, *kept]

    def write(self, results: Sequence[Result], *, add: bool = False) -> None:
        """Keep which results they are.

        Args:
            results: The results.
            add: To those that another run has written under the name meanwhile: see `added`.

        Raises:
            StoreError: The folder cannot be written.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.file.with_name(f".{self.file.name}.lock")):
                ids = sorted(result.id for result in (self.added(results) if add else results))
                write_text(self.file, json.dumps({"schema_version": 1, "results": ids}, indent=1) + "\n")
        except OSError as error:
            raise StoreError(f"{self.file}: cannot be written ({error.strerror or error}).") from None


def names(store: Store) -> list[str]:
    """Files of the runs that can be asked for, by name."""
    return sorted(file.stem for file in (store.results / "leaderboards").glob("*.json"))


def _category(result: Result) -> tuple[str, str]:
    job = result.record.job
    return json.dumps(job.dataset.identity), job.category
