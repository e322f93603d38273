import os
import re
import subprocess
import sys

import pydantic
import pytest

from anomalybench.core.job import Choice, Job
from anomalybench.core.record import Record

CAM = Choice(
    name="cam", params={"epochs": 10, "rate": 0.1, "head": "gap", "limit": None}, chosen=("epochs", "head", "rate")
)
BASE = {
    "method": CAM,
    "version": 1,
    "dataset": Choice(name="folder", params={"normal": "gut, schön"}, chosen=("normal",)),
    "category": "bottle",
    "protocol": Choice(name="pooled", params={"train": 0.6, "calibration": 0.2}),
}


def cam(*chosen, **params):
    return Choice(name="cam", params={**CAM.params, **params}, chosen=tuple(sorted({*CAM.chosen, *chosen})))


CHANGES = [
    {"method": CAM.model_copy(update={"name": "fcdd"})},
    {"method": cam(epochs=11)},
    {"method": cam(head=None)},
    {"method": cam("limit")},
    {"method": cam("more", more=None)},
    {"version": 2},
    {"dataset": Choice(name="folder")},
    {"dataset": BASE["dataset"].model_copy(update={"name": "elpv"})},
    {"category": "Bottle"},
    {"protocol": Choice(name="pooled", params={"train": 0.5, "calibration": 0.2}, chosen=("train",))},
    {"fold": "0"},
    {"seed": 1},
]


def job(**changes):
    return Job(**{**BASE, **changes})


def test_id_is_16_hexadecimal_digits():
    assert re.fullmatch(r"[0-9a-f]{16}", job().id)


def test_the_order_of_the_parameters_plays_no_part():
    turned = CAM.model_copy(update={"params": dict(reversed(CAM.params.items()))})
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


def test_parameters_at_their_defaults_and_new_ones_move_no_id():
    assert job(method=cam(limit=3)).id == job(method=cam(more=7)).id == job().id


def test_a_new_field_of_jobs_moves_no_id_until_it_is_chosen():
    class Larger(Job):
        training: int = 0

    assert Larger(**BASE).id == job().id
    assert Larger(**BASE, training=3).id != job().id


def test_the_images_of_a_job_are_the_same_for_all_methods():
    assert job(method=Choice(name="fcdd"), version=3).images == job().images
    for change in ({"seed": 1}, {"fold": "1"}, {"category": "nut"}, {"dataset": Choice(name="folder")}):
        assert job(**change).images != job().images


def test_a_job_survives_its_record():
    record = Record(job=job(method=cam(rate=0.1 + 0.2)), status="ok")
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
