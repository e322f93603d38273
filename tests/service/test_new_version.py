"""A newly promoted version takes over while requests run; what cannot be served never takes a working one's place."""

import shlex
import threading
import time

import pytest
from made_served import card, promote, write_onnx

from anomalybench.core.errors import StoreError
from anomalybench.deploy.model import ONNX
from anomalybench.deploy.promoted import Promoted
from anomalybench.service.traffic import read_splits


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return found


def version(service):
    return service.predict(60).json()[0]["version"]


def test_a_new_version_takes_over_and_no_request_is_dropped(start, results):
    service, statuses, versions, stop = start(), [], [], threading.Event()

    def ask():
        while not stop.is_set():
            response = service.predict(60)
            statuses.append(response.status_code)
            versions.append((response.json()[0]["version"], response.json()[0]["score"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (2, 3, 4):
        promote(results, offset=float(number))
        wait_for(lambda wanted=number: any(one == wanted for one, _ in list(versions)))
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert {one for one, _ in versions} == {1, 2, 3, 4}
    assert {score for one, score in versions if one > 1} == {62.0, 63.0, 64.0}
    assert all(score == 60 + one for one, score in versions if one > 1)  # never one version's name on another's score
    assert service.get("/models/pill").json()["serving"] == [4]


def test_a_version_that_is_not_exported_waits_and_says_so(start, results):
    service = start()
    promote(results, exported=False)
    ready = wait_for(lambda: (r := service.get("/health/ready").json())["pending"] and r)
    assert (ready["status"], ready["models"]) == ("degraded", {"pill": [1]})
    how = shlex.join(["anomalybench", "export", "pill/2", "--results", str(results)])
    assert f"version 2 is not exported: {how};" in ready["pending"][0]
    assert "version 1 answers instead" in ready["pending"][0]
    assert version(service) == 1
    write_onnx(results / "models" / "pill" / "2" / ONNX, card())
    wait_for(lambda: version(service) == 2)
    assert service.get("/health/ready").json()["status"] == "ready"


@pytest.mark.parametrize("contents", [b"", b"not an ONNX file", b"\x08\x07"])
def test_a_damaged_version_takes_no_place(start, results, contents):
    service = start()
    promote(results, exported=False)
    (results / "models" / "pill" / "2" / ONNX).write_bytes(contents)
    wait_for(lambda: "version 2 cannot be loaded" in str(service.get("/health/ready").json()["pending"]))
    assert version(service) == 1


def test_a_damaged_current_json_changes_nothing(start, results):
    service = start()
    file = results / "models" / "pill" / "current.json"
    whole = file.read_text()
    for contents in ("", "{", '{"current": 7}', "[" * 10_000):
        file.write_text(contents)
        wait_for(lambda: service.get("/health/ready").json()["pending"])
        assert version(service) == 1
    file.write_text(whole)
    wait_for(lambda: service.get("/health/ready").json()["status"] == "ready")


def test_models_that_vanish_are_still_served(start, results):
    service = start()
    (results / "models").rename(results / "gone")
    wait_for(lambda: service.get("/health/ready").json()["pending"])
    assert version(service) == 1
    (results / "gone").rename(results / "models")
    wait_for(lambda: service.get("/health/ready").json()["status"] == "ready")


def test_a_rollback_and_a_new_name_are_taken_over(start, results):
    promote(results)
    service = start()
    assert version(service) == 2
    Promoted(results).rollback("pill")
    wait_for(lambda: version(service) == 1)
    promote(results, "bolt")
    wait_for(lambda: service.predict(60, name="bolt").status_code == 200)


def test_a_version_that_is_exported_again_is_loaded_again(start, results):
    service = start()
    write_onnx(results / "models" / "pill" / "1" / ONNX, card(), offset=5.0)
    wait_for(lambda: service.predict(60).json()[0]["score"] == 65.0)


def test_a_split_follows_promotions(start, results):
    promote(results)
    service = start(splits=read_splits(["pill=current:50,previous:50"]))
    assert service.get("/models/pill").json()["serving"] == [1, 2]
    promote(results)
    wait_for(lambda: service.get("/models/pill").json()["serving"] == [2, 3])
    found = {service.predict(60, part=str(i)).json()[0]["version"] for i in range(30)}
    assert found == {2, 3}


def test_the_same_image_without_a_part_gets_the_same_version(start, results):
    promote(results)
    service = start(splits=read_splits(["pill=1:50,2:50"]))
    found = {level: {service.predict(level).json()[0]["version"] for _ in range(3)} for level in range(30)}
    assert all(len(versions) == 1 for versions in found.values())
    assert set.union(*found.values()) == {1, 2}


def pending(service):
    return " ".join(service.get("/health/ready").json()["pending"])


def export(results, number):
    write_onnx(results / "models" / "pill" / str(number) / ONNX, card())


def test_a_promotion_brings_back_no_version_that_a_rollback_has_left(start, results):
    promote(results)
    Promoted(results).rollback("pill")
    service = start()
    assert version(service) == 1
    promote(results, exported=False)
    wait_for(lambda: "version 3 is not exported" in pending(service))
    assert version(service) == 1
    assert "version 1 answers instead" in pending(service)
    assert version(start()) == 1  # and the same after a restart
    write_onnx(results / "models" / "pill" / "1" / ONNX, card(), offset=5.0)
    wait_for(lambda: service.predict(60).json()[0]["score"] == 65.0)  # what answers instead is loaded again, too
    export(results, 3)
    wait_for(lambda: version(service) == 3)


def test_a_rollback_and_a_promotion_between_two_looks(start, results):
    promote(results)
    service = start(poll_s=600)
    assert version(service) == 2
    Promoted(results).rollback("pill")
    promote(results, exported=False)
    service.engine.serving.refresh()
    assert version(service) == 1


def test_a_rollback_to_a_version_that_is_not_exported_goes_on_to_the_one_before(start, results):
    promote(results, exported=False)
    promote(results)
    service = start()
    assert version(service) == 3
    assert Promoted(results).rollback("pill") == 2
    wait_for(lambda: version(service) == 1)
    assert "version 2 is not exported" in pending(service)
    export(results, 2)
    wait_for(lambda: version(service) == 2)


def test_what_a_rollback_has_left_goes_on_only_where_nothing_else_can(start, results):
    (results / "models" / "pill" / "1" / ONNX).unlink()
    promote(results)
    service = start()
    Promoted(results).rollback("pill")
    wait_for(lambda: "version 1 is not exported" in pending(service))
    assert version(service) == 2
    assert "version 2 answers instead, though a rollback has left it" in pending(service)
    with pytest.raises(StoreError, match=r"no model can be served\. .*version 1 is not exported"):
        start()
    export(results, 1)
    wait_for(lambda: version(service) == 1)


def test_a_version_that_is_damaged_while_it_is_served_goes_on(start, results):
    promote(results)
    service = start()
    (results / "models" / "pill" / "2" / ONNX).write_bytes(b"not an ONNX file")
    wait_for(lambda: "version 2 cannot be loaded" in pending(service))
    assert "it answers as it was loaded before" in pending(service)
    assert version(service) == 2


def test_a_share_whose_version_is_damaged_keeps_the_version_in_memory(start, results):
    promote(results)
    service = start(splits=read_splits(["pill=current:50,previous:50"]))
    (results / "models" / "pill" / "1" / ONNX).write_bytes(b"")
    wait_for(lambda: "(previous): version 1 cannot be loaded" in pending(service))
    assert service.get("/models/pill").json()["serving"] == [1, 2]
