"""The description of the service is complete, and what follows it, or breaks it, ends in no error of the service."""

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from made_served import promote
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from anomalybench.service.app import create_app
from anomalybench.service.engine import Engine
from anomalybench.service.settings import Settings

CHECKED = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method",
)  # fmt: skip


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    results = tmp_path_factory.mktemp("openapi") / "results"
    promote(results)
    engine = Engine(Settings(results=results))
    engine.start()
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(engine))
    engine.stop()


@pytest.mark.slow
def test_no_request_ends_in_an_error_of_the_service(described):
    checks = [check for check in CHECKS.get_all() if check.__name__ in CHECKED]
    assert len(checks) == len(CHECKED)
    seen = set()
    for found in described.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @seed(0)
            @given(case=operation.as_strategy(generation_mode=mode), real=booleans())
            def send(case, real):
                if real and "name" in case.path_parameters:
                    case.path_parameters["name"] = "pill"
                response = case.call()
                seen.add((case.operation.label, response.status_code))
                case.validate_response(response, checks=checks)

            with contextlib.suppress(Unsatisfiable):  # a route without parameters cannot be used wrongly
                send()
    assert {("POST /models/{name}/predict", 415), ("POST /v2/models/{name}/infer", 422)} <= seen
    assert {("GET /models/{name}", 200), ("GET /models/{name}", 404), ("POST /feedback", 404)} <= seen


def test_every_route_is_described_with_its_answers(service):
    description = service.get("/openapi.json").json()
    operations = [
        (path, method, one) for path, methods in description["paths"].items() for method, one in methods.items()
    ]
    assert len(operations) >= 18
    for path, method, one in operations:
        assert one["summary"], path
        assert one["description"], path
        (content,) = one["responses"]["200"]["content"].values()
        assert content["schema"], path
        for status in ("401", "422", "429", "503"):
            assert one["responses"][status]["content"], (path, status)
        if method == "post":
            (body,) = one["requestBody"]["content"].values()
            assert "example" in str(body), path
    assert "examples" in str(description["components"]["schemas"]["Answer"])
    for name, model in description["components"]["schemas"].items():
        assert "$defs" not in model, name


def test_the_key_is_described_where_there_is_one(start):
    schemes = start(api_key="0123456789").get("/openapi.json").json()["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"apiKey", "http"}
