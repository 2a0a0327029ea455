"""A short run of the fuzzer, and a check that it detects wrong documents."""

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import pytest

from receiver.devtools.scratch import scratch_database
from tests.api_fuzz.drive import ApiFuzzer
from tests.api_fuzz.service import run_service
from tests.support.http import Json
from tests.support.processes import ADMIN_KEY, Web

EXAMPLES = 6


@pytest.fixture(scope="module")
def shared_web(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with (
        scratch_database(server, template=template) as dsn,
        run_service(tmp_path_factory.mktemp("web"), dsn) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def document(shared_web: Web) -> Json:
    return shared_web.call("GET", "/openapi.json", headers={"authorization": f"Bearer {ADMIN_KEY}"}).json


@pytest.mark.slow
def test_service_conforms_to_its_document(shared_web: Web, document: Json) -> None:
    result = ApiFuzzer(shared_web, document, EXAMPLES, seed=1, brief=True).fuzz()

    assert result.is_good, result.format()
    assert all(item.succeeded for item in result.operations.values()), result.format()


class WrongDescription(NamedTuple):
    """A wrong description of a parameter, or of the response, and the check that detects it."""

    path: str
    parameter: str | None
    description: Json
    check: str


WRONG_DESCRIPTIONS = [
    WrongDescription("/healthz", None, {"204": {"description": "nothing"}}, "status_code_conformance"),
    WrongDescription(
        "/v1/stats", None, {"200": {"description": "", "content": {"text/csv": {}}}}, "content_type_conformance"
    ),
    WrongDescription("/v1/callbacks", "limit", {"type": "integer", "minimum": 1}, "positive_data_acceptance"),
    WrongDescription("/v1/callbacks", "provider", {"enum": ["sandbox"]}, "negative_data_rejection"),
]


@pytest.mark.parametrize("wrong", WRONG_DESCRIPTIONS, ids=lambda wrong: wrong.check)
def test_wrong_document_is_detected(shared_web: Web, document: Json, wrong: WrongDescription) -> None:
    operation = deepcopy(document["paths"][wrong.path]["get"])
    operation["parameters"] = [
        parameter for parameter in operation.get("parameters", ()) if parameter["name"] == wrong.parameter
    ]
    if wrong.parameter:
        operation["parameters"][0]["schema"] = wrong.description
    else:
        operation["responses"] = wrong.description
    result = ApiFuzzer(shared_web, {**document, "paths": {wrong.path: {"get": operation}}}, EXAMPLES, seed=1).fuzz()

    assert any(wrong.check in failure for item in result.operations.values() for failure in item.failures), (
        result.format()
    )
