"""The OpenAPI document: valid, following the configuration, and without secrets."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import meta
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from receiver.web.v1 import api
from tests.support.factories import SECRET
from tests.support.http import Json
from tests.support.openapi import (
    CONFIGURATIONS,
    DOCUMENT,
    NOTIFY,
    TOKEN,
    build_json_document,
    is_valid,
    iterate_operations,
    resolve,
)


def find_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from find_references(inner)


def test_document_is_valid_openapi(document: Json) -> None:
    OPENAPI_31_VALIDATOR.validate(document)
    for schema in document["components"]["schemas"].values():
        meta.validate(schema)
    for reference in find_references(document):
        assert resolve(document, reference) is not None
    referenced = set(find_references(document))
    for kind in ("schemas", "responses", "headers"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in referenced, name


def test_operation_ids_are_unique(document: Json) -> None:
    names = [operation["operationId"] for _, operation in iterate_operations(document)]
    names += [operation["operationId"] for methods in document["webhooks"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_each_operation_names_its_scope(document: Json) -> None:
    declared = {
        f"{item.method.lower()} {re.sub('<(?:[a-z]+:)?', '{', item.path).replace('>', '}')}": item
        for item in api.operations
    }
    described = {name: operation for name, operation in iterate_operations(document) if "x-scope" in operation}
    assert described.keys() == declared.keys()
    for name, operation in described.items():
        scope = declared[name].scope.value
        assert operation["x-scope"] == scope
        assert operation["security"] == [{"key": [scope]}]
        assert f"`{scope}`" in operation["description"]


def test_submissions_follow_configuration() -> None:
    variants = [
        resolve(DOCUMENT, variant["$ref"]) for variant in DOCUMENT["components"]["schemas"]["Submission"]["oneOf"]
    ]
    pairs = {
        (*variant["properties"]["provider"]["enum"], *variant["properties"]["operation"]["enum"])
        for variant in variants
    }
    assert pairs == {
        (name, operation) for name, provider in CONFIGURATIONS["all"].items() for operation in provider.operations
    }
    submission = {
        "provider": "sandbox",
        "operation": "send",
        "payload": {"client_reference": "c", "to": ["1"], "text": "t"},
    }
    schema = {"$ref": "#/components/schemas/Submission"}
    assert is_valid(DOCUMENT, schema, submission)
    assert is_valid(
        DOCUMENT, schema, submission | {"metadata": {"big": 2**63 - 1, "small": -(2**63)}, "deadline": None}
    )
    invalid_changes: list[Json] = [
        {"operation": "render"},
        {"provider": "cecula"},
        {"provider": "nobody"},
        {"payload": {}},
        {"urgency": 1},
        {"priority": 10},
        {"metadata": {"big": 2**63}},
        {"metadata": {"small": -(2**63) - 1}},
        {"metadata": {"deep": [{"nul\0": 1}]}},
        {"metadata": {"deep": [["nul\0"]]}},
    ]
    for change in invalid_changes:
        assert not is_valid(DOCUMENT, schema, submission | change), change


def test_configured_providers_are_enumerated() -> None:
    names = sorted(CONFIGURATIONS["all"])
    (path,) = (
        item for item in DOCUMENT["paths"]["/v1/providers/{name}/pause"]["post"]["parameters"] if item["in"] == "path"
    )
    assert path["schema"]["enum"] == names
    assert DOCUMENT["components"]["schemas"]["NewKey"]["properties"]["providers"]["items"]["enum"] == names
    unconfigured = build_json_document({})
    (path,) = unconfigured["paths"]["/v1/providers/{name}/pause"]["post"]["parameters"]
    assert "enum" not in path["schema"]
    assert "oneOf" not in unconfigured["components"]["schemas"]["Submission"]


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "sk_live_4242"])
def test_document_contains_no_secrets(secret: str) -> None:
    assert secret not in json.dumps(DOCUMENT)


def test_public_document_contains_no_networks_and_hosts() -> None:
    public = json.dumps(build_json_document(CONFIGURATIONS["all"], NOTIFY, is_public=True))
    for text in ("203.0.113.0", json.dumps(re.escape("93.184.216.34"))[1:-1]):
        assert text in json.dumps(DOCUMENT)
        assert text not in public
    assert "certain networks" in public
