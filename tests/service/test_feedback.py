"""Feedback is on the disk before it is confirmed, and versions are compared by it."""

import sqlite3

import pytest
from made_served import promote

from anomalybench.service.comparison import compare
from anomalybench.service.log_reader import Count
from anomalybench.service.traffic import read_splits


def send(service, decision, verdict="ok", **more):
    return service.post("/feedback", json={"decision": decision, "verdict": verdict, **more})


def decided(service, level, **options):
    return service.predict(level, **options).json()[0]["decision"]


def test_feedback_is_in_the_file_when_it_is_confirmed(service):
    decision = decided(service, 60)
    response = send(service, decision, "defect", note="scratch, 2 mm")
    assert response.status_code == 200
    with sqlite3.connect(service.engine.log.file) as connection:
        found = connection.execute("SELECT decision, time, verdict, note FROM feedback").fetchall()
    assert found == [(decision, response.json()["time"], "defect", "scratch, 2 mm")]


def test_the_latest_feedback_counts_and_all_are_kept(service):
    decision = decided(service, 60)
    for verdict in ("defect", "ok", "defect", "ok"):
        assert send(service, decision, verdict).status_code == 200
    (one,) = service.get("/models/pill/comparison").json()["versions"]
    assert (one["feedback"], one["agreement"]["count"], one["misses"]["of"]) == (1, 1, 0)
    with sqlite3.connect(service.engine.log.file) as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (4,)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"decision": "f" * 32, "verdict": "ok"}, 404, "decision"),
        ({"decision": "x", "verdict": "good"}, 422, "verdict"),
        ({"verdict": "ok"}, 422, "decision"),
        ({"decision": "", "verdict": "ok"}, 422, "decision"),
        ({"decision": "x" * 100, "verdict": "ok"}, 422, "decision"),
        ({"decision": "x", "verdict": "ok", "note": "x" * 3000}, 422, "note"),
        ({"decision": "x", "verdict": "ok", "remark": "x"}, 422, "remark"),
        ({"decision": "x", "verdict": "ok", "note": "x" * 30_000}, 413, "MB"),
        ([], 422, "the body"),
    ],
)
def test_other_feedback_is_refused(service, body, status, word):
    response = service.post("/feedback", json=body)
    assert (response.status_code, word in response.json()["error"]) == (status, True), response.text


def test_versions_are_compared_by_feedback(start, results):
    promote(results, offset=50)  # calls more images anomalous
    service = start(splits=read_splits(["pill=current:50,previous:50"]))
    for i in range(60):
        answer = service.predict(70, part=f"good {i}").json()[0]
        assert send(service, answer["decision"], "ok").status_code == 200
    found = service.get("/models/pill/comparison").json()
    one, two = found["versions"]
    assert (one["version"], one["false_alarms"]["share"]) == (1, 0.0)
    assert (two["version"], two["false_alarms"]["share"]) == (2, 1.0)
    assert one["decisions"] + two["decisions"] == 60
    alarms = next(d for d in found["differences"] if d["what"] == "false_alarms")
    assert alarms["low"] > 0.5
    assert "version 2 more often than by version 1" in alarms["conclusion"]
    misses = next(d for d in found["differences"] if d["what"] == "misses")
    assert "Too few" in misses["conclusion"]


def test_only_decisions_since_a_time_are_counted(service):
    send(service, decided(service, 60))
    for since, versions in (("2020-01-01", 1), ("2999-01-01T00:00:00+02:00", 0)):
        found = service.get("/models/pill/comparison", params={"since": since}).json()
        assert len(found["versions"]) == versions
    assert service.get("/models/pill/comparison?since=yesterday").status_code == 422


def test_intervals_are_those_of_the_literature():
    """Wilson's by Newcombe 1998 (Statistics in Medicine 17, 857: 81 of 263); the difference by his second paper
    (17, 873: 56 of 70 against 48 of 80, method 10)."""
    counted = [Count(1, "normal", "ok", 182), Count(1, "anomalous", "ok", 81)]
    (one,) = compare("pill", counted).versions
    assert (one.false_alarms.low, one.false_alarms.high) == (
        pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5),
    )  # fmt: skip
    counted = [
        Count(2, "anomalous", "defect", 56), Count(2, "normal", "defect", 14),
        Count(1, "anomalous", "defect", 48), Count(1, "normal", "defect", 32),
    ]  # fmt: skip
    agreement = next(d for d in compare("pill", counted).differences if d.what == "agreement")
    assert (agreement.difference, agreement.low, agreement.high) == (
        pytest.approx(0.2), pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5),
    )  # fmt: skip


def test_nothing_is_concluded_where_chance_explains_it():
    counted = [Count(2, "normal", "ok", 19), Count(2, "anomalous", "ok", 1), Count(1, "normal", "ok", 20)]
    found = compare("pill", counted)
    assert all(d.conclusion.startswith(("No difference is shown", "Too few")) for d in found.differences)


def test_where_only_alarms_were_judged_it_says_so():
    counted = [Count(1, "normal", None, 500), Count(1, "anomalous", "ok", 9), Count(1, "anomalous", "defect", 11)]
    (remark,) = compare("pill", counted).remarks
    assert "100% of the alarms and 0% of the images called normal" in remark


def test_without_feedback_it_says_so(service):
    service.predict(60)
    found = service.get("/models/pill/comparison").json()
    assert found["remarks"] == ["No decision has feedback yet: POST /feedback."]
    assert found["versions"][0]["agreement"] == {"count": 0, "of": 0, "share": None, "low": 0.0, "high": 1.0}
