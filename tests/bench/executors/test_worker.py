import math
from pathlib import Path

import pytest

from anomalybench.bench.executors.tasks import Finished, Task
from anomalybench.bench.executors.worker import ANSWERS, STARTS, TASKS, Answer, Start
from anomalybench.bench.settings import Settings
from anomalybench.core.job import Choice, Costs, Job, Record

JOB = Job(
    method=Choice(name="m", params={"size": 3, "rate": 0.1, "rule": None, "name": "größe\n\udcff"}),
    version=2, dataset=Choice(name="d"), category="c", protocol=Choice(name="p"), fold="1", seed=7,
)  # fmt: skip
RECORD = Record(job=JOB, status="ok", costs=Costs(fit_s=1 / 3), intervals={"auroc": (0.1, 1.0)}, fingerprint="f")


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (STARTS, Start(Path("/data/\udcff"), Path("results"), Settings(workers=3, timeout=0.1))),
        (STARTS, Start(None, Path("results"), Settings())),
        (TASKS, Task(JOB, "f")),
        (TASKS, Task(JOB, "f", RECORD, "0.0.7")),
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


def test_a_number_that_is_none_comes_through():
    record = RECORD.model_copy(update={"costs": Costs(fit_s=math.nan)})
    came = ANSWERS.value(ANSWERS.line(Answer(Finished(JOB, record, reused=False)))).finished
    assert math.isnan(came.record.costs.fit_s)
