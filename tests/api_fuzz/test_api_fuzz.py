"""A short run of the fuzzer, and that its judge can tell good from bad."""

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import pytest

from receiver.devtools.scratch import scratch_database
from tests.api_fuzz.drive import Run
from tests.api_fuzz.service import service
from tests.http import Json
from tests.processes import Web

EXAMPLES = 10


@pytest.fixture(scope="module")
def web(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with scratch_database(server, template=template) as dsn, service(tmp_path_factory.mktemp("web"), dsn) as running:
        yield running


@pytest.fixture(scope="module")
def document(web: Web) -> Json:
    return web.call("GET", "/openapi.json").json


def test_the_service_does_what_its_document_says(web: Web, document: Json) -> None:
    result = Run(web, document, EXAMPLES, seed=1, brief=True).fuzz()

    assert result.is_good, result.told()
    assert all(tally.succeeded for tally in result.tallies.values()), result.told()


class Lie(NamedTuple):
    """A parameter, or else the answer, that is described otherwise than it is; the check is to find it out."""

    path: str
    parameter: str | None
    said: Json
    check: str


LIES = [
    Lie("/healthz", None, {"204": {"description": "nothing"}}, "status_code_conformance"),
    Lie("/v1/stats", None, {"200": {"description": "", "content": {"text/csv": {}}}}, "content_type_conformance"),
    Lie("/v1/callbacks", "limit", {"type": "integer", "minimum": 1}, "positive_data_acceptance"),
    Lie("/v1/callbacks", "provider", {"enum": ["sandbox"]}, "negative_data_rejection"),
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.check)
def test_a_document_that_says_otherwise_is_told(web: Web, document: Json, lie: Lie) -> None:
    described = deepcopy(document["paths"][lie.path]["get"])
    described["parameters"] = [one for one in described.get("parameters", ()) if one["name"] == lie.parameter]
    if lie.parameter:
        described["parameters"][0]["schema"] = lie.said
    else:
        described["responses"] = lie.said
    result = Run(web, {**document, "paths": {lie.path: {"get": described}}}, EXAMPLES, seed=1).fuzz()

    assert any(lie.check in failure for tally in result.tallies.values() for failure in tally.failures), result.told()
