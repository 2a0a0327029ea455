"""The examples of the OpenAPI document: complete and valid."""

import json

from jsonschema_rs import Draft202012Validator

from tests.support.http import Json
from tests.support.openapi import build_validator, iterate_operations, resolve


def test_every_example_is_valid(document: Json) -> None:
    example_count = 0
    validators: dict[str, Draft202012Validator] = {}
    for name, operation in iterate_operations(document):
        media = list(operation.get("requestBody", {"content": {}})["content"].values())
        for response in operation["responses"].values():
            resolved = resolve(document, response["$ref"]) if "$ref" in response else response
            media += resolved.get("content", {}).values()
            media += [resolve(document, header["$ref"]) for header in resolved.get("headers", {}).values()]
        for item in [*media, *operation.get("parameters", ())]:
            values = [example["value"] for example in item.get("examples", {}).values()]
            for value in [*values, *([item["example"]] if "example" in item else [])]:
                key = json.dumps(item["schema"])
                if key not in validators:
                    validators[key] = build_validator(document, item["schema"])
                assert validators[key].is_valid(value), (name, value, item["schema"])
                example_count += 1
    assert example_count > 250


def test_every_body_and_response_has_an_example(document: Json) -> None:
    for name, operation in iterate_operations(document):
        if "x-scope" not in operation:
            continue
        for media in operation.get("requestBody", {"content": {}})["content"].values():
            assert media["examples"], name
        for response in operation["responses"].values():
            resolved = resolve(document, response["$ref"]) if "$ref" in response else response
            assert all("example" in media for media in resolved["content"].values()), name
