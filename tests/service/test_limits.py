"""What is too much, too slow or without the key is refused, with a status that says so and nothing read in vain."""

import concurrent.futures
import socket
import threading
import time

import pytest
from made_served import encoded, pixels, png, promote
from PIL import Image

from anomalybench.evaluate.statistics import image_statistics
from anomalybench.service import examining

KEY = "correct horse battery"


@pytest.mark.slow
def test_beyond_the_queue_requests_are_told_to_come_again(start, results):
    promote(results, "slow", work=40)
    service = start(queue=3, workers=1)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda i: service.predict(60 + i, name="slow"), range(24)))
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 429}
    refused = next(response for response in responses if response.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "requests are waiting" in refused.json()["error"]
    assert service.predict(60, name="slow").status_code == 200  # the places are free again
    text = service.get("/metrics").text
    assert f'anomalybench_rejected_total{{reason="queue_full"}} {statuses.count(429)}.0' in text


def test_bodies_are_bounded(start):
    service = start(max_body_mb=0.05)
    noise = Image.effect_noise((300, 300), 90)
    files = {"image": ("x.png", encoded(noise, "PNG"))}
    assert service.post("/models/pill/predict", files=files).status_code == 413

    def unannounced():
        for _ in range(100):
            yield b"x" * 1000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = service.post("/models/pill/predict", content=unannounced(), headers=headers)
    assert (response.status_code, "0.05 MB" in response.json()["error"]) == (413, True)
    assert service.predict(60).status_code == 200


def test_images_in_a_request_are_bounded(start):
    service = start(max_images=3)
    assert len(service.predict(1, 2, 3).json()) == 3
    for count in (4, 50):
        response = service.predict(*range(count))
        assert (response.status_code, "more than 3 images" in response.json()["error"]) == (413, True)


def test_60_megapixels_are_too_many_by_default_and_the_header_tells(start):
    huge = encoded(Image.new("L", (10_000, 6_000)), "PNG")
    begun = time.perf_counter()
    response = start().post("/models/pill/predict", files={"image": ("huge.png", huge)})
    assert time.perf_counter() - begun < 1
    assert response.status_code == 413
    assert "huge.png: larger than 50 megapixels" in response.json()["error"]
    assert "--max-megapixels" in response.json()["error"]
    small = {"image": encoded(Image.new("L", (200, 100)), "PNG")}
    statuses = [start(max_megapixels=n).post("/models/pill/predict", files=small).status_code for n in (0.019, 0.02)]
    assert statuses == [413, 200]


def test_the_limit_of_pixels_is_the_services_own(start, monkeypatch):
    monkeypatch.setenv("ANOMALYBENCH_MAX_MEGAPIXELS", "0.0001")
    assert start().predict(60).status_code == 200


@pytest.mark.parametrize("kind", ["image/png", "application/json", "text/plain", ""])
def test_another_content_type_is_refused(service, kind):
    headers = {"content-type": kind} if kind else {}
    response = service.post("/models/pill/predict", content=png(60), headers=headers)
    assert (response.status_code, "multipart/form-data" in response.json()["error"]) == (415, True)


def test_a_form_without_an_image_or_with_other_fields_is_refused(service):
    for files, word in (
        ({"picture": png(60)}, "'picture'"),
        ({"part": (None, "41")}, "no image"),
        ({"image": ("x.png", png(60)), "part": (None, "x" * 300)}, "256"),
        ({"image": ("x" * 2000, png(60))}, "file name"),
    ):
        response = service.post("/models/pill/predict", files=files)
        assert (response.status_code, word in response.json()["error"]) == (422, True), response.text


@pytest.mark.slow
def test_what_takes_too_long_is_given_up(start, results):
    promote(results, "slow", work=30)
    service = start(timeout_s=0.02)
    response = service.predict(60, name="slow")
    assert response.status_code == 504
    assert "0.02 s" in response.json()["error"]
    assert start(timeout_s=20).predict(60, name="slow").status_code == 200


def test_a_request_that_does_not_arrive_is_given_up(launch):
    process = launch("--timeout", "1")
    host, port = process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        head = "POST /models/pill/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b".encode())
        assert b"408" in connection.recv(1000)
    with process.client() as client:
        assert client.get("/health/ready").json()["queue"] == 0


def test_memory_for_uploads_is_bounded(start):
    service = start()
    service.engine.budget.take(512_000_000 - 100)
    response = service.predict(60)
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    with pytest.raises(Exception, match="too many uploads"), service.engine.budget.reserved() as reserved:
        reserved.take(101)
    with service.engine.budget.reserved() as reserved:
        reserved.take(100)


def test_without_the_key_only_health_is_answered(start):
    service = start(api_key=KEY)
    for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}, {"Authorization": f"Basic {KEY}"},
                    {"Authorization": "Bearer"}, {"X-API-Key": f"{KEY}x"}):  # fmt: skip
        for path in ("/models", "/models/pill", "/metrics", "/v2", "/nothing"):
            response = service.get(path, headers=headers)
            assert (response.status_code, "key" in response.json()["error"]) == (401, True)
        assert service.predict(60, headers=headers).status_code == 401
    for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"):
        assert service.get(path).status_code == 200


@pytest.mark.parametrize("headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}])
def test_with_the_key_all_is_answered(start, headers):
    service = start(api_key=KEY)
    assert service.predict(60, headers=headers).status_code == 200
    assert service.get("/models", headers=headers).status_code == 200


def test_a_large_image_does_not_stop_others(start):
    service = start()
    large = {"image": ("x.png", encoded(Image.new("RGB", (3500, 3500), (9, 9, 9)), "PNG"))}
    done = threading.Event()

    def send():
        assert service.post("/models/pill/predict", files=large).status_code == 200
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    answered = 0
    while not done.is_set():
        assert service.predict(60).status_code == 200
        answered += 1
    thread.join()
    assert answered >= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 5)])
def test_odd_sizes_are_judged(service, size):
    files = {"image": ("x.png", encoded(Image.fromarray(pixels(200, *size)), "PNG"))}
    (answer,) = service.post("/models/pill/predict", files=files).json()
    assert answer["score"] == pytest.approx(200, rel=1e-4)


def test_statistics_are_computed_within_the_number_of_workers(start, monkeypatch):
    at_work, most, lock = [], [], threading.Lock()

    def watched(image):
        with lock:
            at_work.append(image)
            most.append(len(at_work))
        time.sleep(0.05)
        with lock:
            at_work.pop()
        return image_statistics(image)

    monkeypatch.setattr(examining, "image_statistics", watched)
    assert start(workers=1).predict(*range(8)).status_code == 200
    assert (len(most), max(most)) == (8, 1)
