"""The operations of the API as its OpenAPI document declares them, and calls of them."""

from pathlib import Path

from receiver.web.openapi.document import build_document
from receiver.web.problems import ProblemType
from receiver.web.v1 import api as api_v1
from tests.support.api_calls import UNKNOWN_ID
from tests.support.factories import provider, settings
from tests.support.http import Json, Response, parse_problem

DOCUMENT = build_document(settings("", Path(), {"sandbox": provider()}), api_v1.operations)
OPERATIONS: dict[str, tuple[str, str, Json]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "x-scope" in operation
}


def build_target(name: str) -> tuple[str, str]:
    """Return the method and a path of an operation, with an unknown id in it."""
    method, path, operation = OPERATIONS[name]
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            value = "sandbox" if parameter["name"] == "name" else UNKNOWN_ID
            path = path.replace(f"{{{parameter['name']}}}", value)
    return method, path


def get_example_body(name: str) -> Json:
    """Return a valid body of an operation."""
    media = OPERATIONS[name][2]["requestBody"]["content"]["application/json"]
    body: Json = next(iter(media["examples"].values()))["value"]
    return body


def assert_invalid(response: Response, *place: str) -> Json:
    """Check that a response is an invalid request and that its errors name the first part of the place."""
    assert response.status == 400, response
    errors: Json = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
    assert place[0] in errors, errors
    return errors
