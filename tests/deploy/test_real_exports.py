"""Real methods on real images: what is exported decides as the record says, in both engines."""

import pytest

import anomalybench
from anomalybench.bench import proof
from anomalybench.bench.store import Store
from anomalybench.deploy import exporting
from anomalybench.deploy.fitted import fitted


@pytest.mark.slow
@pytest.mark.parametrize("method", ["padim", "pixel_knn"])
def test_no_decision_differs(method, data, tmp_path):
    results = tmp_path / "results"
    anomalybench.run(
        methods=method, data=str(data / "mvtec_mini"), categories="hazelnut", results=str(results), floors=False,
        params={f"{method}.size": 64}, progress=False, name="export",
    )  # fmt: skip
    (record,) = Store(results).records()
    place = proof.place(record.id, results)
    model = fitted(place.folder)
    evidence = proof.evidence(record, place.store, model)
    for target in ("onnx", "openvino"):
        if target == "openvino":
            pytest.importorskip("openvino")
        parity = exporting.export(model, place.exports, target, evidence).parity
        assert parity.job.images == record.n_scores
        assert parity.job.decisions == 0
        assert parity.job.scores < 1e-4
        for kind, found in parity.derived.items():
            assert found.decisions == 0, kind
            assert found.scores < 1e-4, kind
            assert found.maps < 1e-3, kind
