import socket
from dataclasses import replace

import pytest

from anomalybench.bench.executors.tasks import MachineError, work_apart
from anomalybench.bench.item_table import Source
from anomalybench.bench.request import Request
from anomalybench.bench.session import Session
from anomalybench.bench.settings import Settings
from anomalybench.bench.store import Store
from anomalybench.core.job import Choice


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.check_writable()
    return store


@pytest.fixture
def task(store):
    """A job in no time, planned here."""
    small = {"synthetic.n_normal": 8, "synthetic.n_anomalous": 8}
    wanted = {"methods": "random", "dataset": "synthetic", "categories": "weave", "floors": False}
    return Session(Request.of({**wanted, "params": small, "results": store.results})).plan().tasks[0]


def test_a_job_that_fits_this_machine_is_run(task, store):
    assert work_apart(task, Source(), store, Settings()).record.status == "ok"
    assert work_apart(task, Source(), store, Settings()).reused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda task: replace(task, job=task.job.model_copy(update={"version": 99})),
         ["method 'random' has version 1 here", "planned with version 99", "restart their workers"]),
        (lambda task: replace(task, job=task.job.model_copy(update={"method": Choice(name="nowhere")})), ["nowhere"]),
        (lambda task: replace(task, package="0.0.7"), ["pip install 'anomalybench-vision==0.0.7'"]),
        (lambda task: replace(task, fingerprint="0"), ["is not what the run was planned with"]),
    ],
    ids=["method", "plugin", "package", "data"],
)  # fmt: skip
def test_a_job_is_refused_where_code_or_data_are_others(task, store, change, words):
    with pytest.raises(MachineError) as refused:
        work_apart(change(task), Source(), store, Settings())
    for word in [socket.gethostname(), *words]:
        assert word in str(refused.value)
    assert not store.records(), "nothing was run"
