"""A log that cannot be written stops nobody: it says so, and goes on once it can."""

import sqlite3
import time

import pytest

from anomalybench.service.log import DecisionLog, FeedbackRow, Row, now


def row(number):
    return Row(f"{number:032x}", now(), "pill", 1, None, "x.png", "f" * 64, 1.0, 2.0, "normal", 3.0, "{}")


@pytest.fixture
def log(tmp_path):
    made = DecisionLog(tmp_path / "a" / "log.sqlite")
    made.start()
    yield made
    made.close()


def count(file):
    with sqlite3.connect(file) as connection:
        return connection.execute("SELECT count(*) FROM decisions").fetchone()[0]


def test_what_is_kept_can_be_read_at_once(log):
    for number in range(50):
        assert log.decisions([row(3 * number + i) for i in range(3)]).result() == "kept"
        assert count(log.file) == 3 * number + 3


def test_decisions_of_a_request_are_kept_together_or_not_at_all(log):
    assert log.decisions([row(1), row(2)]).result() == "kept"
    assert log.decisions([row(3), row(2)]).result() == "failed"  # an id that is there already
    assert count(log.file) == 2
    assert log.decisions([row(3)]).result() == "kept"
    assert log.trouble is None


def test_what_waits_at_the_end_is_written(tmp_path):
    log = DecisionLog(tmp_path / "log.sqlite")
    log.start()
    waiting = [log.decisions([row(number)]) for number in range(500)]
    log.close()
    assert {one.result() for one in waiting} == {"kept"}
    assert count(log.file) == 500


def test_feedback_on_a_decision_of_the_same_batch_is_kept(log):
    decision = log.decisions([row(1)])
    feedback = log.feedback(FeedbackRow(row(1).id, now(), "ok", None))
    assert (decision.result(), feedback.result()) == ("kept", "kept")
    assert log.feedback(FeedbackRow("f", now(), "ok", None)).result() == "unknown decision"


@pytest.mark.parametrize("kind", ["a folder", "below a file", "no database", "newer"])
def test_a_place_that_cannot_be_written_is_named(start, tmp_path, kind):
    file = tmp_path / "place" / "log.sqlite"
    file.parent.mkdir()
    if kind == "a folder":
        file.mkdir()
    elif kind == "below a file":
        file = tmp_path / "results" / "models" / "pill" / "1" / "model.json" / "log.sqlite"
    elif kind == "no database":
        file.write_bytes(b"notes of mine, not a database" * 100)
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 99")
    service = start(log=file)
    answer = service.predict(60).json()[0]
    assert (answer["verdict"], answer["logged"]) == ("normal", False)
    ready = service.get("/health/ready")
    assert (ready.status_code, ready.json()["status"], ready.json()["log_writable"]) == (200, "degraded", False)
    assert str(file) in ready.json()["log_error"]
    text = service.get("/metrics").text
    assert "anomalybench_log_writable 0.0" in text
    assert "anomalybench_log_failures_total 1.0" in text
    refused = service.post("/feedback", json={"decision": answer["decision"], "verdict": "ok"})
    assert (refused.status_code, "could not be kept" in refused.json()["error"]) == (503, True)
    if kind == "no database":
        assert file.read_bytes() == b"notes of mine, not a database" * 100


def test_a_full_disk_and_its_end(start, tmp_path):
    service = start()
    pages = {"most": 0}

    def limit(connection):
        if pages["most"]:
            connection.execute(f"PRAGMA max_page_count = {pages['most']}")

    log = service.engine.log
    log.close()
    service.engine.log = full = DecisionLog(log.file, configure=limit)
    pages["most"] = 60
    full.start()
    logged = [one["logged"] for _ in range(60) for one in service.predict(*range(12)).json()]
    assert logged[0] is True
    assert logged[-1] is False
    kept = count(log.file)
    assert kept == sum(logged)  # what was said to be logged is, and nothing else
    ready = service.get("/health/ready").json()
    assert (ready["status"], "full" in ready["log_error"]) == ("degraded", True)
    pages["most"] = 0
    time.sleep(1.1)
    assert service.get("/health/ready").json()["status"] == "ready"
    assert service.predict(60).json()[0]["logged"] is True
    assert count(log.file) == kept + 1


def test_a_log_that_another_process_holds_is_tried_again(start):
    service = start()
    with sqlite3.connect(service.engine.log.file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert service.predict(60).json()[0]["logged"] is False
        other.execute("ROLLBACK")
    assert service.predict(60).json()[0]["logged"] is True


def test_a_log_that_was_moved_away_is_begun_anew(log):
    assert log.decisions([row(1)]).result() == "kept"
    moved = log.file.with_name("moved.sqlite")
    log.file.rename(moved)
    assert log.decisions([row(2)]).result() == "kept"
    assert count(log.file) == 1
