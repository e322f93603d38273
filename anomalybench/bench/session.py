"""The one front door of command line and Python: from a request to finished jobs and their results."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace

from anomalybench.bench import executors, kept_models, suite
from anomalybench.bench.executors import Finished, Plan
from anomalybench.bench.executors.tasks import Progress
from anomalybench.bench.item_table import ItemTables, Source, build_dataset
from anomalybench.bench.request import Request
from anomalybench.bench.settings import shard
from anomalybench.bench.store import Store
from anomalybench.bench.store.selection import Selection
from anomalybench.core import places, registry
from anomalybench.core.dataset import grouping, left_out_summary
from anomalybench.core.job import EXTERNAL, Choice, Job
from anomalybench.core.record import Record, Result, results_of, rule_name


class Session:
    """What one command does.

    Attributes:
        request: What is asked for.
        store: Where results lie.
        tables: Items of the categories.
        suite: The jobs.

    Args:
        request: What is asked for.
        external: Instead of methods, a tool whose scores are read from a file.

    Raises:
        UsageError: A name, parameter or file that does not exist or does not fit.
        DataError: Data are missing or broken.
    """

    def __init__(self, request: Request, external: Choice | None = None) -> None:
        self.request = request
        self.store = Store(request.results)
        self.tables = ItemTables(Source(places.data(request.data), request.skip_unreadable))
        self.suite = suite.load(request, self.tables, external)
        self.settings = request.settings()

    def plan(self) -> Plan:
        """Find out what there is to do, and everything that would go wrong; nothing is written.

        Raises:
            UsageError: There is no such device, or a method refuses its parameters.
            DataError: Images are missing or broken.
            WeightsError: Weights that a method needs are missing.
        """
        jobs = shard(self.suite.jobs, self.request.shard)
        found = executors.plan(jobs, self.suite.options, self.store, self.tables, force=self.request.force)
        if found.n_fits:
            self.settings.check_device()
            for method in suite.built_methods(self.suite):
                method.check()
        return found

    def broken_plugins(self) -> list[str]:
        """Packages of plugins that cannot be imported."""
        return [trouble for kind in registry.KINDS for trouble in registry.broken(kind)]

    def remarks(self) -> list[str]:
        """What a user should know of the images before anything runs."""
        said = [f"--data is read as {self.suite.understood}"] if self.suite.understood else []
        if n := self.store.of_version_0_1_0(self.suite.jobs):
            said.append(
                f"{n} results of these methods and images are of version 0.1.0 and will be run again, unless you take "
                f"them over first: anomalybench measure --results {self.store.results}"
            )
        for job in {(job.dataset.model_dump_json(), job.category): job for job in self.suite.jobs}.values():
            table, plugin = self.tables.get(job.dataset, job.category), build_dataset(job.dataset)
            where = f"{job.dataset.name}/{job.category}"
            found = [grouping(table.items), left_out_summary(plugin.left_out(table.root, job.category))]
            if self._on_other_images(job, table.fingerprint):
                found.append("the images are not those of the last run; its results are kept, in rows of their own")
            if table.skipped:
                found.append(
                    f"skipped as unreadable: {len(table.skipped)} files ({', '.join(list(table.skipped)[:3])})"
                )
            said += [f"{where}: {text}" for text in found if text]
        return said

    def _on_other_images(self, job: Job, fingerprint: str) -> bool:
        """Whether the job has results, but none on these images."""
        newest = self.store.newest(job)
        return newest is not None and newest.fingerprint != fingerprint

    def run(self, plan: Plan, progress: Progress = lambda *_: None) -> Generator[Finished, None, None]:
        """Run what is not done; what is done comes first. See `executors.run`."""
        self.store.check_writable()
        rule = rule_name(self.suite.options.threshold)
        with closing(executors.run(plan, self.store, self.settings, progress)) as items:
            for item in items:
                yield replace(item, rule=rule)

    def results(self, finished: Iterable[Finished]) -> list[Result]:
        """Results of all jobs after a run or a shard of one, with those of other tools on the same images.

        What was run on images of the user's own is added to what was run on them under the same name before.
        """
        from_run = {item.job.id: item.record for item in finished}
        records = []
        for job in self.suite.jobs:
            table = self.tables.known(job.dataset, job.category)  # a shard has no need of the other jobs' images
            stored = self.store.newest(job) if table is None else self.store.get(job, table.fingerprint)
            record = from_run.get(job.id) or stored
            records += [record] if record is not None else []
        found = self.asked(records)
        if self.suite.own:
            found = Selection(self.store, self.suite.name).added(found)
        ids = {result.id for result in found}
        others = self.store.on_same_images(found, f"{EXTERNAL}*")
        return [*found, *(result for result in others if result.id not in ids)]

    def keep_best(self, results: Iterable[Result]) -> int:
        """Where only the best method's models are to be kept, remove the others; returns how many were removed.

        Raises:
            StoreError: A folder cannot be written.
        """
        if self.request.keep_models != "best":
            return 0
        mine = {job.id for job in self.suite.jobs}
        return kept_models.keep_best([result for result in results if result.record.job.id in mine], self.store)

    def asked(self, records: Iterable[Record]) -> list[Result]:
        """Of each record the measurement that was asked for."""
        rule = rule_name(self.suite.options.threshold)
        results = [result for record in records for result in results_of(record)]
        return [r for r in results if r.measurement is None or r.measurement.name == rule]

    def stored(self) -> list[Record]:
        """The latest record of each job that has one; the images need not be there."""
        return [record for job in self.suite.jobs if (record := self.store.newest(job)) is not None]
