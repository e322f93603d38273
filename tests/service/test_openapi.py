"""The description of the service is complete, and whatever follows it, or breaks it, ends in no error of the service."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from made_served import promote
from schemathesis.checks import CHECKS

from anomalybench.service.app import create_app
from anomalybench.service.engine import Engine
from anomalybench.service.settings import Settings

CHECKED = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method",
)  # fmt: skip


def app():
    """The application for schemathesis, with one model."""
    import tempfile
    from pathlib import Path

    results = Path(tempfile.mkdtemp()) / "results"
    promote(results)
    engine = Engine(Settings(results=results))
    engine.start()
    return create_app(engine)


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    results = tmp_path_factory.mktemp("openapi") / "results"
    promote(results)
    engine = Engine(Settings(results=results))
    engine.start()
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(engine))
    engine.stop()


schema = schemathesis.pytest.from_fixture("described")


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_ends_in_an_error_of_the_service(case):
    if "name" in case.path_parameters and case.operation.path != "/feedback" and hash(str(case.body)) % 2:
        case.path_parameters["name"] = "pill"
    checks = [check for check in CHECKS.get_all() if check.__name__ in CHECKED]
    case.call_and_validate(checks=checks)


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
