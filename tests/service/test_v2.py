"""The Open Inference Protocol, as a client of KServe or Triton speaks it."""

import json

import pytest
from made_served import SIDE, THRESHOLD, pixels, promote, tensor

JSON = {"content-type": "application/json"}


def infer(service, body, path="/v2/models/pill/infer"):
    return service.post(path, content=body, headers=JSON)


def changed(**fields):
    """A request whose only input is changed."""
    body = json.loads(tensor(60))
    body["inputs"][0] |= fields
    return json.dumps(body)


def test_the_server_describes_itself(service):
    from anomalybench import __version__

    assert service.get("/v2").json() == {"name": "anomalybench", "version": __version__, "extensions": []}
    assert service.get("/v2/health/live").json() == {"live": True}
    assert service.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("path", ["/v2/models/pill", "/v2/models/pill/versions/1"])
def test_a_model_describes_its_tensors(service, path):
    assert service.get(path).json() == {
        "name": "pill", "versions": ["1"], "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "map", "datatype": "FP32", "shape": [-1, SIDE, SIDE]},
        ],
    }  # fmt: skip
    assert service.get(f"{path}/ready").json() == {"name": "pill", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/pill/infer", "/v2/models/pill/versions/1/infer"])
def test_tensors_are_judged_and_logged(service, path):
    answer = infer(service, tensor(60, 200), path).json()
    assert (answer["model_name"], answer["model_version"]) == ("pill", "1")
    score, anomaly_map = answer["outputs"]
    assert score == {"name": "score", "datatype": "FP32", "shape": [2], "data": [60.0, 200.0]}
    assert anomaly_map["shape"] == [2, SIDE, SIDE]
    assert anomaly_map["data"] == [60.0] * SIDE**2 + [200.0] * SIDE**2
    about = answer["parameters"]
    assert (about["threshold"], about["verdicts"], about["logged"]) == (THRESHOLD, "normal,anomalous", True)
    for decision in about["decisions"].split(","):
        assert service.post("/feedback", json={"decision": decision, "verdict": "ok"}).status_code == 200


def test_nested_data_id_and_chosen_outputs(service):
    body = json.loads(changed(data=pixels(60)[None].tolist())) | {"id": "41", "outputs": [{"name": "score"}]}
    answer = infer(service, json.dumps(body)).json()
    assert answer["id"] == "41"
    assert [one["name"] for one in answer["outputs"]] == ["score"]


def test_the_split_is_sticky_for_the_parameter_part(start, results):
    promote(results, offset=1000)
    from anomalybench.service.traffic import read_splits

    service = start(splits=read_splits(["pill=current:50,previous:50"]))
    found = {}
    for i in range(20):
        body = json.loads(tensor(60)) | {"parameters": {"part": f"part {i}"}}
        versions = {infer(service, json.dumps(body)).json()["model_version"] for _ in range(2)}
        assert len(versions) == 1
        found[i] = versions.pop()
        assert service.predict(60, part=f"part {i}").json()[0]["version"] == int(found[i])
    assert set(found.values()) == {"1", "2"}
    assert infer(service, tensor(60), "/v2/models/pill/versions/2/infer").json()["outputs"][0]["data"] == [1060.0]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "JSON"),
        ("[" * 100_000, 400, "JSON"),
        ("{}", 422, "inputs"),
        ('{"inputs": []}', 422, "inputs"),
        (changed(datatype="FP32"), 422, "UINT8"),
        (changed(name="picture"), 422, "image"),
        (changed(shape=[1, 16, 20]), 422, "shape"),
        (changed(shape=[1, 16, 20, 4]), 422, "3"),
        (changed(shape=[1, 0, 20, 3]), 422, "at least 1"),
        (changed(shape=[1, -16, 20, 3]), 422, "shape"),
        (changed(shape=[1, 16, 21, 3]), 422, "do not fill"),
        (changed(shape=[17, 16, 20, 3]), 413, "at most 16"),
        (changed(shape=[1, 10_000_000, 10_000_000, 3]), 413, "megapixels"),
        (changed(shape=[1, 2**70, 20, 3]), 413, "megapixels"),
        (changed(data=[256] * 960), 422, "255"),
        (changed(data=[-1] * 960), 422, "255"),
        (changed(data=[2**80] * 960), 422, "255"),
        (changed(data=[0.5] * 960), 422, "whole numbers"),
        (changed(data=["1"] * 960), 422, "whole numbers"),
        (changed(data=[True] * 960), 422, "whole numbers"),
        (changed(data=[[1, 2], [3]]), 422, "lengths"),
        (changed(data=[]), 422, "whole numbers"),
        (json.dumps(json.loads(tensor(60)) | {"outputs": [{"name": "heat"}]}), 422, "outputs"),
        (json.dumps(json.loads(tensor(60)) | {"parameters": {"part": "x" * 300}}), 422, "part"),
        (json.dumps(json.loads(tensor(60)) | {"parameters": {"part": 7}}), 422, "part"),
    ],
)  # fmt: skip
def test_other_tensors_are_refused(service, body, status, words):
    response = infer(service, body)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert words in response.json()["error"]


@pytest.mark.parametrize("version", ["2", "0", "-1", "1.0", "x", "9" * 30, "¹"])
def test_other_versions_are_not_found(service, version):
    for path in ("", "/ready"):
        assert service.get(f"/v2/models/pill/versions/{version}{path}").status_code == 404
    assert infer(service, tensor(60), f"/v2/models/pill/versions/{version}/infer").status_code == 404


def test_a_version_that_is_not_in_memory_is_not_ready(start, results):
    promote(results)
    response = start().get("/v2/models/pill/versions/1/ready")
    assert (response.status_code, response.json()) == (503, {"name": "pill", "ready": False})


def test_another_content_type_is_refused(service):
    response = service.post("/v2/models/pill/infer", content=tensor(60), headers={"content-type": "text/plain"})
    assert (response.status_code, "application/json" in response.json()["error"]) == (415, True)
