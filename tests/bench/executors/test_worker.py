from pathlib import Path

import pytest

from anomalybench.bench.executors.tasks import Finished, Task
from anomalybench.bench.executors.worker import ANSWERS, STARTS, TASKS, Answer, Start
from anomalybench.bench.item_table import Source
from anomalybench.bench.settings import Settings
from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Costs, Measurement, MeasureOptions, Record

JOB = Job(
    method=Choice(name="m", params={"size": 3, "rate": 0.1, "rule": None, "name": "größe\n\udcff"}),
    version=2, dataset=Choice(name="d"), category="c", protocol=Choice(name="p"), fold="1", seed=7,
)  # fmt: skip
OPTIONS = MeasureOptions(threshold=Choice(name="fpr", params={"rate": 0.1}), explain=3)
MEASURED = Measurement(version=1, rule="fpr", threshold=1 / 3, metrics={"auroc": 0.1}, intervals={"auroc": (0.1, 1.0)})
RECORD = Record(job=JOB, status="ok", costs=Costs(fit_s=1 / 3), measurements=(MEASURED,), fingerprint="f")


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (
            STARTS,
            Start(
                Source(Path("/data/\udcff"), skip_unreadable=True), Path("results"), Settings(workers=3, timeout=0.1)
            ),
        ),
        (STARTS, Start(Source(), Path("results"), Settings())),
        (TASKS, Task(JOB, OPTIONS, "f")),
        (TASKS, Task(JOB, MeasureOptions(), "f", force=True, earlier=RECORD, package="0.0.7")),
        (ANSWERS, Answer(Finished(JOB, RECORD, reused=True))),
        (ANSWERS, Answer(error="ValueError: a\nb")),
        (ANSWERS, Answer(store_error="full")),
    ],
)
def test_messages_come_through_as_they_are(message, value):
    line = message.line(value)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert message.value(line) == value
