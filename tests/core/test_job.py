import os
import re
import subprocess
import sys

import pydantic
import pytest

from anomalybench.core.job import Choice, Job, Record

CAM = Choice(name="cam", params={"epochs": 10, "rate": 0.1, "head": "gap", "limit": None})
BASE = {
    "method": CAM,
    "version": 1,
    "dataset": Choice(name="folder", params={"normal": "gut, schön"}),
    "category": "bottle",
    "protocol": Choice(name="pooled", params={"train": 0.6, "calibration": 0.2}),
}

CHANGES = [
    {"method": Choice(name="fcdd", params=CAM.params)},
    {"method": Choice(name="cam", params={**CAM.params, "epochs": 11})},
    {"method": Choice(name="cam", params={**CAM.params, "head": None})},
    {"method": Choice(name="cam", params={**CAM.params, "more": None})},
    {"version": 2},
    {"dataset": Choice(name="folder")},
    {"dataset": Choice(name="elpv", params={"normal": "gut, schön"})},
    {"category": "Bottle"},
    {"protocol": Choice(name="pooled", params={"train": 0.5, "calibration": 0.2})},
    {"fold": "0"},
    {"seed": 1},
    {"explain": 4},
    {"threshold": Choice(name="youden")},
    {"threshold": Choice(name="fpr", params={"q": 0.05})},
]


def job(**changes):
    return Job(**{**BASE, **changes})


def test_id_is_16_hexadecimal_digits():
    assert re.fullmatch(r"[0-9a-f]{16}", job().id)


def test_the_order_of_the_parameters_plays_no_part():
    turned = Choice(name="cam", params=dict(reversed(CAM.params.items())))
    assert list(turned.params) != list(CAM.params)
    assert job(method=turned).id == job().id


@pytest.mark.parametrize("change", CHANGES)
def test_every_field_changes_the_id(change):
    assert job(**change).id != job().id


def test_changes_to_all_fields_are_tried():
    assert {name for change in CHANGES for name in change} == set(Job.model_fields)


def test_id_is_the_same_in_another_process():
    code = f"from anomalybench.core.job import Job; print(Job.model_validate_json({job().model_dump_json()!r}).id)"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == job().id


def test_a_job_survives_its_record():
    record = Record(job=job(threshold=Choice(name="fixed", params={"t": 0.1 + 0.2})), status="ok")
    again = Record.model_validate_json(record.model_dump_json())
    assert again == record
    assert again.job.id == record.job.id


def test_a_job_cannot_be_changed_and_takes_no_unknown_field():
    with pytest.raises(pydantic.ValidationError):
        job().seed = 3
    with pytest.raises(pydantic.ValidationError):
        job(sed=3)


def test_text_names_what_matters():
    assert str(job(seed=3)) == "cam folder/bottle pooled seed 3"
    assert str(job(fold="2")) == "cam folder/bottle pooled fold 2 seed 0"
