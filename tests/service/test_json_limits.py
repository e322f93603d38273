"""Images as JSON become many times as much memory: they have limits of their own, and hold up nobody for long."""

import json
import threading
import time

import pytest
from made_served import tensor

from anomalybench.service import v2

JSON = {"content-type": "application/json"}
BUDGET = 512_000_000


def infer(service, body):
    return service.post("/v2/models/pill/infer", content=body, headers=JSON)


def test_json_has_a_smaller_limit_than_files(start):
    service = start()
    response = infer(service, b" " * 16_000_001)
    assert (response.status_code, "more than 16 MB" in response.json()["error"]) == (413, True)
    assert "/models/NAME/predict" in response.json()["error"]
    assert infer(service, tensor(60)).status_code == 200
    small = infer(start(max_body_mb=0.001), tensor(60))
    assert (small.status_code, "more than 0.001 MB" in small.json()["error"]) == (413, True)


def test_the_greatest_json_that_is_allowed_is_read(service):
    body = tensor(60).encode()
    assert infer(service, body + b" " * (16_000_000 - len(body))).status_code == 200


def test_json_takes_its_true_share_of_the_memory(service):
    body = tensor(60)
    service.engine.budget.take(BUDGET - 20 * len(body))
    response = infer(service, body)
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert service.predict(60).status_code == 200  # a file of that size still fits
    with service.engine.budget.reserved() as reserved:
        reserved.take(20 * len(body))  # what was refused has given all of it back


def test_json_that_takes_too_long_to_read_is_given_up(start, monkeypatch):
    read, busy = v2.read_request, threading.Event()

    def slowly(body):
        busy.wait(5)
        return read(body)

    monkeypatch.setattr(v2, "read_request", slowly)
    service, begun = start(timeout_s=0.3), time.monotonic()
    response = infer(service, tensor(60))
    assert (response.status_code, "no answer within 0.3 s" in response.json()["error"]) == (504, True)
    assert time.monotonic() - begun < 4
    busy.set()
    assert service.predict(60).status_code == 200
    assert service.engine.queue == 0


def test_what_is_too_large_names_the_option_that_there_is(start, cli):
    error = start(max_body_mb=0.00001).predict(60).json()["error"]
    option = error.partition("(")[2].partition(")")[0]
    assert option == "--max-body-mb"
    assert option in cli("serve", "--help").text


def test_a_long_note_is_not_called_an_image(service):
    response = service.post("/feedback", json={"decision": "x", "verdict": "ok", "note": "n" * 20_000})
    assert (response.status_code, "shorter note" in response.json()["error"]) == (413, True)


@pytest.mark.parametrize("data", [[[]] * 100_000, [{}] * 100_000, [[1]] * 100_000, ["a"] * 100_000])
def test_other_values_than_numbers_are_refused(service, data):
    body = {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 16, 20, 3], "data": data}]}
    assert infer(service, json.dumps(body)).status_code == 422
