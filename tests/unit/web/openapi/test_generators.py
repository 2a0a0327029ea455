"""The document has no form of which a common generator of clients makes code that does not compile or work.

The tests in `tests/codegen` run the generators; each check here is of one form that one of them failed on.
"""

import re
from collections.abc import Iterator
from typing import Any

from receiver.web.problems import ProblemType
from tests.support.http import Json
from tests.support.openapi import CONFIGURATIONS, DOCUMENT, NOTIFY, build_json_document


def iterate_schemas(value: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield every object in a document with its path."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            if key not in {"example", "examples"}:
                yield from iterate_schemas(inner, f"{path}/{key}")
    for index, inner in enumerate(value if isinstance(value, list) else ()):
        yield from iterate_schemas(inner, f"{path}/{index}")


def get_types(schema: Json) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def test_no_alternatives_of_a_single_schema(document: Json) -> None:
    for path, schema in iterate_schemas(document):
        for keyword in ("oneOf", "anyOf", "allOf"):
            if isinstance(schema.get(keyword), list):
                assert len(schema[keyword]) > 1, path


def test_no_alternatives_beside_properties(document: Json) -> None:
    for path, schema in iterate_schemas(document):
        assert not ("properties" in schema and {"oneOf", "anyOf", "allOf"} & schema.keys()), path


def test_null_is_the_only_type_beside_objects_and_arrays(document: Json) -> None:
    for path, schema in iterate_schemas(document["components"]["schemas"]):
        types = get_types(schema)
        if {"object", "array"} & {*types} and not path.endswith("/not"):
            assert len({*types} - {"null"}) == 1, path


def test_no_property_is_only_null(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            assert value.get("type") != "null", (name, field)


def test_no_schema_of_any_json_refers_to_itself() -> None:
    schema = DOCUMENT["components"]["schemas"]["JsonValue"]
    assert not {"type", "items", "properties", "additionalProperties"} & schema.keys()


def test_enumerations_are_components_without_null(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name in ("JobStatus", "RequestStatus", "EventSource", "Effect", "Scope"):
        assert schemas[name]["type"] == "string"
        assert None not in schemas[name]["enum"]
    reference = {"$ref": "#/components/schemas/JobStatus"}
    assert schemas["Job"]["properties"]["status"].items() >= reference.items()
    assert schemas["Event"]["properties"]["status"]["anyOf"] == [reference, {"type": "null"}]
    [status] = (item for item in document["paths"]["/v1/jobs"]["get"]["parameters"] if item["name"] == "status")
    assert status["schema"] == reference
    for path, schema in iterate_schemas(document):
        if isinstance(schema.get("enum"), list):
            assert None not in schema["enum"], path


def test_no_strict_type_has_the_name_of_its_own_field(document: Json) -> None:
    """openapi-python-client names a variable after the type, which has then two types."""
    for name, schema in document["components"]["schemas"].items():
        fields = schema.get("properties", {})
        variable = re.sub("(?<!^)(?=[A-Z])", "_", name.replace(".", "")).lower()
        assert get_types(fields.get(variable, {})) in ([], ["string"]), name


def test_bodies_have_no_defaults(document: Json) -> None:
    """openapi-typescript requires a field with a default."""
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            assert "default" not in value, (name, field)


def test_problem_types_have_names() -> None:
    schema = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]
    names = dict(zip(schema["x-enum-varnames"], schema["enum"], strict=True))
    assert names == {problem_type.name: problem_type.uri for problem_type in ProblemType}


def test_webhooks_share_no_tag_with_operations(document: Json) -> None:
    """openapi-generator makes one module for each tag, and takes webhooks for operations."""
    tags = {
        kind: {tag for methods in document[kind].values() for item in methods.values() for tag in item["tags"]}
        for kind in ("paths", "webhooks")
    }
    assert not tags["paths"] & tags["webhooks"]
    assert {tag["name"] for tag in document["tags"]} == tags["paths"] | tags["webhooks"]


def test_document_without_webhooks_has_nothing_of_them() -> None:
    document = build_json_document(CONFIGURATIONS["all"], NOTIFY, has_webhooks=False)
    assert "webhooks" not in document
    assert not {"Notification", "JobsNotification"} & document["components"]["schemas"].keys()
    assert "webhooks" not in {tag["name"] for tag in document["tags"]}
