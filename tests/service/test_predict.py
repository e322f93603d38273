"""Verdicts over HTTP: what is sent comes back judged, and is in the log."""

import base64
import hashlib
import io
import json
import sqlite3

import numpy as np
import pytest
from made_served import SIDE, THRESHOLD, encoded, pixels, png, promote
from PIL import Image


def rows(service):
    with sqlite3.connect(service.engine.log.file) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM decisions ORDER BY time, rowid")]


def test_an_image_is_judged(service):
    response = service.predict(60)
    assert response.status_code == 200, response.text
    (answer,) = response.json()
    decision = answer.pop("decision")
    assert answer == {
        "file": "60.png", "model": "pill", "version": 1, "score": 60.0, "threshold": THRESHOLD, "verdict": "normal",
        "boxes": [], "map": None, "logged": True,
    }  # fmt: skip
    (row,) = rows(service)
    assert row["id"] == decision
    assert (row["model"], row["version"], row["part"], row["file"]) == ("pill", 1, None, "60.png")
    assert row["sha256"] == hashlib.sha256(png(60)).hexdigest()
    assert (row["score"], row["threshold"], row["verdict"]) == (60.0, THRESHOLD, "normal")
    assert json.loads(row["statistics"])["brightness"] == pytest.approx(60, abs=0.01)
    assert row["ms"] > 0


def test_several_images_are_judged_in_their_order(service):
    answers = service.predict(30, 200, 60, 140).json()
    assert [one["file"] for one in answers] == ["30.png", "200.png", "60.png", "140.png"]
    assert [one["verdict"] for one in answers] == ["normal", "anomalous", "normal", "anomalous"]
    assert len({one["decision"] for one in answers}) == 4


def test_boxes_are_in_the_images_own_pixels(service):
    image = pixels(20, 80, 40)
    image[:20, 40:] = 255  # the upper right quarter
    image[20:, :40] = 150
    body = {"image": ("half.png", encoded(Image.fromarray(image), "PNG"))}
    (answer,) = service.post("/models/pill/predict", files=body).json()
    assert answer["verdict"] == "anomalous"
    (box,) = answer["boxes"]
    assert (box["top"], box["right"]) == (0, 80)
    assert (box["bottom"], box["left"]) == (pytest.approx(20, abs=4), pytest.approx(40, abs=6))


def test_the_map_comes_as_a_grey_picture_over_the_display_range(service):
    (answer,) = service.predict(130, query="?map=png").json()
    picture = Image.open(io.BytesIO(base64.b64decode(answer["map"])))
    assert (picture.mode, picture.size) == ("L", (SIDE, SIDE))
    assert (np.asarray(picture) == 130).all()


def test_a_model_without_maps_gives_none(start, results):
    promote(results, "plain", maps=None)
    (answer,) = start().predict(130, name="plain", query="?map=png").json()
    assert answer["map"] is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"])
def test_every_format_that_is_allowed_is_read(service, kind):
    body = {"image": ("x", encoded(Image.fromarray(pixels(90)), kind))}
    (answer,) = service.post("/models/pill/predict", files=body).json()
    assert answer["score"] == pytest.approx(90, abs=1.5)


@pytest.mark.parametrize("bits", [10, 16])
def test_16_bit_images_are_scaled_as_the_card_says(start, results, bits):
    promote(results, "deep", bits=bits)
    grey = Image.fromarray(np.full((8, 8), 512, np.uint16))
    (answer,) = start().post("/models/deep/predict", files={"image": ("x.png", encoded(grey, "PNG"))}).json()
    assert answer["score"] == round(512 * 255 / (2**bits - 1))


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\x.png", "a b.png", "\u202egnp.png", "x" * 1000, "😀.png"]
)
def test_a_file_name_is_data_and_nothing_else(service, name, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    files = {"image": (name, png(50))}
    (answer,) = service.post("/models/pill/predict", files=files).json()
    assert answer["file"] == name
    assert rows(service)[-1]["file"] == name
    new = {path.name for path in set(tmp_path.rglob("*")) - set(before)}
    assert all(one.startswith("decisions.sqlite") for one in new)


def test_a_refused_image_refuses_the_request_and_nothing_is_logged(service):
    files = [("image", ("good.png", png(50))), ("image", ("bad.png", png(50)[:60]))]
    response = service.post("/models/pill/predict", files=files)
    assert response.status_code == 422
    assert "bad.png" in response.json()["error"]
    assert rows(service) == []


def test_the_model_is_described(service, results):
    (shown,) = service.get("/models").json()
    assert shown == {
        "name": "pill", "current": 1, "serving": [1], "pending": [],
        "split": [{"selector": "current", "percent": 100.0, "version": 1}],
    }  # fmt: skip
    details = service.get("/models/pill").json()
    assert details["versions"] == [1]
    assert details["card"]["decision"]["threshold"] == THRESHOLD


@pytest.mark.parametrize("path", ["/models/bolt", "/models/bolt/comparison", "/models/bolt/drift", "/v2/models/bolt"])
def test_an_unknown_model_is_not_found(service, path):
    response = service.get(path)
    assert response.status_code == 404
    assert "'bolt'" in response.json()["error"]
    assert "pill" in response.json()["error"]


def test_an_unknown_address_and_method_say_where_the_addresses_are(service):
    assert (service.get("/nothing").status_code, service.get("/models/pill/predict").status_code) == (404, 405)
    assert "/docs" in service.get("/nothing").json()["error"]


def test_health_and_metrics(service):
    service.predict(60, 200)
    assert service.get("/health/live").json() == {"status": "live"}
    ready = service.get("/health/ready").json()
    assert ready == {
        "status": "ready", "models": {"pill": [1]}, "pending": [], "log_writable": True, "log_error": None, "queue": 0,
        "queue_limit": 128,
    }  # fmt: skip
    text = service.get("/metrics").text
    for line in (
        'anomalybench_decisions_total{model="pill",verdict="normal",version="1"} 1.0',
        'anomalybench_decisions_total{model="pill",verdict="anomalous",version="1"} 1.0',
        'anomalybench_requests_total{method="POST",route="/models/{name}/predict",status="200"} 1.0',
        'anomalybench_request_seconds_count{route="/models/{name}/predict"} 1.0',
        "anomalybench_queue 0.0",
        "anomalybench_log_writable 1.0",
        "anomalybench_log_failures_total 0.0",
        'anomalybench_drift_level{model="pill",version="1"}',
    ):
        assert line in text


def test_drift_is_seen_in_the_last_images(start):
    service = start(window=30)
    for level in range(40, 80, 2):
        assert service.predict(level).status_code == 200
    (calm,) = service.get("/models/pill/drift").json()
    assert (calm["images"], calm["level"]) == (20, "none")
    for _ in range(4):
        assert service.predict(*range(85, 100)).status_code == 200
    (moved,) = service.get("/models/pill/drift").json()
    assert (moved["images"], moved["level"]) == (30, "strong")
    assert any("brighter" in sentence for sentence in moved["sentences"])
    assert 'drift_level{model="pill",version="1"} 2.0' in service.get("/metrics").text


def test_the_window_outlives_a_restart(start):
    first = start()
    first.predict(40, 50, 60)
    first.engine.stop()
    (after,) = start().get("/models/pill/drift").json()
    assert after["images"] == 3
