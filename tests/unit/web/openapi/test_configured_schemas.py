"""The schemas that follow from the configuration have the same names whatever is configured."""

from collections.abc import Sequence
from typing import Any

import pytest

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.support.http import Json
from tests.support.kinds import PROVIDERS
from tests.support.openapi import AUTHENTICATED, CONFIGURATIONS, DOCUMENT, build_json_document, is_valid

SUBMISSION = "#/components/schemas/Submission"
TRACKING = "#/components/schemas/Tracking"


def find_body(document: Json, path: str) -> Json:
    """Return the schema of the JSON body of a POST."""
    schema: Json = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def build_provider_with(*operations: str) -> Provider:
    tables = {name: {"path": f"/v1/{name}"} for name in operations}
    return build_provider("globex", AUTHENTICATED | {"operations": tables})


def test_single_variant_takes_the_place_of_the_schema() -> None:
    document = build_json_document(CONFIGURATIONS["one"])
    assert find_body(document, "/v1/requests") == {"$ref": f"{SUBMISSION}.sandbox.send"}
    assert find_body(document, "/v1/jobs") == {"$ref": f"{TRACKING}.sandbox"}
    schemas = document["components"]["schemas"]
    assert schemas["Batch"]["properties"]["requests"]["items"] == {"$ref": f"{SUBMISSION}.sandbox.send"}
    assert not {"Submission", "Tracking"} & schemas.keys()


def test_names_do_not_depend_on_the_number_of_operations() -> None:
    one, two = (
        build_json_document({"globex": build_provider_with(*names)})["components"]["schemas"]
        for names in (["render"], ["render", "still"])
    )
    assert two.keys() - one.keys() == {"Submission", "Submission.globex.still", "Payload.globex.still"}
    assert one.keys() <= two.keys()
    assert one["Submission.globex.render"] == two["Submission.globex.render"]
    assert len(two["Submission"]["oneOf"]) == 2


def test_without_providers_any_submission_is_described() -> None:
    document = build_json_document({})
    assert find_body(document, "/v1/requests") == {"$ref": SUBMISSION}
    submission = {"provider": "acme", "operation": "render", "payload": {"deep": [{"x": None}]}}
    assert is_valid(document, {"$ref": SUBMISSION}, submission)


@pytest.mark.parametrize("name", ["account", "notify_url"])
def test_unavailable_text_is_null_but_has_the_type_of_text(name: str) -> None:
    document = build_json_document({"sandbox": PROVIDERS["sandbox"]})
    schema = document["components"]["schemas"]["Submission.sandbox.send"]["properties"][name]
    assert schema["type"] == ["string", "null"]
    assert is_valid(document, schema, None)
    for text in ("", "a", "https://shop.example/"):
        assert not is_valid(document, schema, text)


def test_required_value_of_a_payload_is_any_json_but_null() -> None:
    schema = DOCUMENT["components"]["schemas"]["Payload.acme.render"]["properties"]["title"]
    valid_values: Sequence[Any] = ("text", 7, 7.5, True, [None], {"deep": [{"x": None}]})
    invalid_values: Sequence[Any] = (None, "", "nul\0", 2**63, [["nul\0"]], {"nul\0": 1})
    for value in valid_values:
        assert is_valid(DOCUMENT, schema, value), value
    for value in invalid_values:
        assert not is_valid(DOCUMENT, schema, value), value
