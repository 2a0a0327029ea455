"""The OpenAPI document and the reference page: valid, complete, with valid examples, and without secrets."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema_rs import Draft202012Validator, meta
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.providers.webhook import EVENT_TYPE, WebhookSender
from receiver.web.openapi.docs import build_docs_blueprint
from receiver.web.openapi.document import build_document
from receiver.web.problems import MEDIA_TYPE, ProblemType
from receiver.web.v1 import api
from tests.support.factories import SECRET, settings, webhook_sender
from tests.support.http import Json
from tests.support.kinds import PROVIDERS

TOKEN = "an-unguessable-end-of-the-url"
AUTHENTICATED = {
    "kind": "declared",
    "base_url": "https://api.globex.example",
    "auth": {"scheme": "bearer", "secret": "sk_live_4242"},
    "signature": {
        "scheme": "standard-webhooks",
        "secrets": [SECRET],
        "token": TOKEN,
        "allow_from": ["203.0.113.0/24"],
        "trust": "confirm",
    },
    "operations": {"render": {"path": "/v1/renders"}},
    "callback": {
        "methods": ["GET", "POST"],
        "body": "form",
        "reference": "id",
        "status": "state",
        "statuses": {"DONE": "succeeded"},
        "ack": {"status": 204},
    },
    "poll": {"path": "/v1/renders/{reference}"},
}
CONFIGURATIONS: Mapping[str, Mapping[str, Provider]] = {
    "none": {},
    "one": {"sandbox": PROVIDERS["sandbox"]},
    "all": {**PROVIDERS, "globex": build_provider("globex", AUTHENTICATED)},
}
UNDESCRIBED = {
    ProblemType.INTERNAL_ERROR,
    ProblemType.METHOD_NOT_ALLOWED,
    ProblemType.URI_TOO_LONG,
    ProblemType.EXPECTATION_FAILED,
    ProblemType.HEADERS_TOO_LARGE,
    ProblemType.UNSUPPORTED_TRANSFER_CODING,
}
"""Failures of the service, and the responses to what is no HTTP request of a common client."""


WEBHOOK_SENDER = webhook_sender("shop.example", "*.shop.example", "93.184.216.34", "10.0.0.1")


def build_json_document(providers: Mapping[str, Provider], webhook_sender: WebhookSender | None = None) -> Json:
    document = build_document(settings("", Path(), providers, tells=webhook_sender), api.operations)
    parsed: Json = json.loads(json.dumps(document))
    return parsed


@pytest.fixture(params=CONFIGURATIONS)
def document(request: pytest.FixtureRequest) -> Json:
    return build_json_document(CONFIGURATIONS[request.param], WEBHOOK_SENDER if request.param == "all" else None)


DOCUMENT = build_json_document(CONFIGURATIONS["all"], WEBHOOK_SENDER)


def iterate_operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def find_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from find_references(inner)


def find_media(value: Any, media_type: str) -> Iterator[Json]:
    """Yield the media type objects of a media type, anywhere in a document."""
    if isinstance(value, dict):
        if media_type in value:
            yield value[media_type]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from find_media(inner, media_type)


def resolve(document: Json, reference: str) -> Any:
    value: Any = document
    for name in reference.removeprefix("#/").split("/"):
        value = value[name]
    return value


def is_valid(document: Json, schema: Json, value: Any) -> bool:
    complete = {**schema, "components": document["components"]}
    return Draft202012Validator(complete, validate_formats=True).is_valid(value)


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


def test_every_example_is_valid(document: Json) -> None:
    example_count = 0
    for name, operation in iterate_operations(document):
        media = list(operation.get("requestBody", {"content": {}})["content"].values())
        for response in operation["responses"].values():
            resolved = resolve(document, response["$ref"]) if "$ref" in response else response
            media += resolved.get("content", {}).values()
            media += [resolve(document, header["$ref"]) for header in resolved.get("headers", {}).values()]
        for item in [*media, *operation.get("parameters", ())]:
            values = [example["value"] for example in item.get("examples", {}).values()]
            for value in [*values, *([item["example"]] if "example" in item else [])]:
                assert is_valid(document, item["schema"], value), (name, value, item["schema"])
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


def test_every_parameter_and_field_has_a_description(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        if not name.startswith("Payload."):
            for field, value in schema.get("properties", {}).items():
                assert value.get("description") or "$ref" in value or "anyOf" in value or "enum" in value, (name, field)
    for name, operation in iterate_operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], (name, parameter)


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
        (name, operation) for name, provider in CONFIGURATIONS["all"].items() for operation in provider.operations()
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
        {"priority": 1},
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


def test_metadata_filter_has_free_keys() -> None:
    (parameter,) = (
        item for item in DOCUMENT["paths"]["/v1/requests"]["get"]["parameters"] if item["name"] == "metadata"
    )
    assert (parameter["style"], parameter["explode"]) == ("form", True)
    for name, is_accepted in {
        "metadata.order": True,
        "metadata.": False,
        "order": False,
        f"metadata.{'x' * 101}": False,
    }.items():
        assert is_valid(DOCUMENT, parameter["schema"], {name: "7"}) is is_accepted


def test_problem_types_are_enumerated(document: Json) -> None:
    schema = document["components"]["schemas"]["Problem"]
    assert schema["properties"]["type"]["enum"] == [problem_type.uri for problem_type in ProblemType]
    examples = [media["example"] for media in find_media(document, MEDIA_TYPE)]
    types = {problem_type.uri: problem_type for problem_type in ProblemType}
    for example in examples:
        problem_type = types[example["type"]]
        assert (example["title"], example["status"]) == (problem_type.title, problem_type.status)
    described = json.dumps([document["paths"], document["webhooks"], document["components"]["responses"]])
    for problem_type in set(ProblemType) - UNDESCRIBED:
        assert f"`{problem_type.slug}`: " in described, problem_type


def test_callbacks_of_each_provider_are_described() -> None:
    webhook = DOCUMENT["webhooks"]["callback of globex"]
    assert webhook.keys() == {"get", "post"}
    operation = webhook["post"]
    assert set(operation["responses"]) == {"204", "400", "401", "404", "405", "408", "413", "415", "503"}
    assert list(operation["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    assert "requestBody" not in webhook["get"]
    for text in ("/callbacks/globex/{token}", "standard-webhooks", "203.0.113.0/24", "triggers a poll"):
        assert text in operation["description"]
    assert build_json_document({})["webhooks"]["callback"]["post"]["responses"]["200"]


def test_webhook_notification_is_described() -> None:
    operation = DOCUMENT["webhooks"][EVENT_TYPE]["post"]
    assert [item["name"] for item in operation["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    [media] = operation["requestBody"]["content"].values()
    assert is_valid(DOCUMENT, media["schema"], media["example"])
    assert media["example"]["type"] == EVENT_TYPE
    assert {"payload"} | media["example"]["data"].keys() == (
        DOCUMENT["components"]["schemas"]["Request"]["properties"].keys() | {"jobs_total"}
    )


def test_notify_url_pattern_follows_configuration() -> None:
    [submission] = (
        item for name, item in DOCUMENT["components"]["schemas"].items() if name == "Submission.sandbox.send"
    )
    schema = submission["properties"]["notify_url"]
    allowed: Sequence[Any] = (
        None,
        "https://shop.example/notifications?a=1",
        "https://eu.shop.example:8443",
        "https://93.184.216.34/",
    )
    forbidden: Sequence[Any] = (
        "http://shop.example/",
        "https://shop.example.evil/",
        "https://shop_example/",
        "https://10.0.0.1/",
        1,
    )
    for url in allowed:
        assert is_valid(DOCUMENT, schema, url), url
    for url in forbidden:
        assert not is_valid(DOCUMENT, schema, url), url
    unconfigured = build_json_document(CONFIGURATIONS["one"])
    schema = unconfigured["components"]["schemas"]["Submission.sandbox.send"]["properties"]["notify_url"]
    assert is_valid(unconfigured, schema, None)
    assert not is_valid(unconfigured, schema, "https://shop.example/")
    assert EVENT_TYPE not in unconfigured["webhooks"]


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "sk_live_4242"])
def test_document_contains_no_secrets(secret: str) -> None:
    assert secret not in json.dumps(DOCUMENT)


class PageParser(HTMLParser):
    """Collects the parts of a page that the tests check."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.links += [attributes["href"] or ""] if tag == "a" else []
        self.loads += [value or "" for name, value in attrs if name in {"src", "srcset", "style", "action", "poster"}]
        self.loads += [attributes["href"] or ""] if "href" in attributes and tag != "a" else []
        assert not any(name.startswith("on") for name in attributes)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> PageParser:
    app = Flask("receiver.web.app", static_folder=None)
    app.register_blueprint(build_docs_blueprint(settings("", Path(), CONFIGURATIONS["all"], tells=WEBHOOK_SENDER)))
    response = app.test_client().get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    parser = PageParser()
    parser.feed(response.text)
    return parser


def test_page_shows_every_operation(page: PageParser) -> None:
    text = " ".join("".join(page.text).split())
    for name, operation in iterate_operations(DOCUMENT):
        method, _, path = name.partition(" ")
        assert operation["operationId"] in page.ids
        assert f"{method.upper()} {path}" in text
        assert f"Call {operation['operationId']} with curl" in text
        for status in operation["responses"]:
            assert f"{status} " in text
    for name in (*DOCUMENT["webhooks"], *DOCUMENT["components"]["schemas"]):
        assert name in text
    assert text.count("Requires a key with the scope") == len(api.operations)


def test_page_loads_nothing_and_needs_no_script(page: PageParser) -> None:
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    style = "".join(page.text)
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_of_page_has_a_target(page: PageParser) -> None:
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "/openapi.json" or link.removeprefix("#") in page.ids


def test_page_has_landmarks_and_skip_link(page: PageParser) -> None:
    assert {"main", "nav", "header", "h1", "caption", "title"} <= set(page.tags)
    assert page.links[0] == "#content"


def test_configuration_is_escaped_on_page() -> None:
    odd = build_provider(
        "odd", {**AUTHENTICATED, "operations": {"render": {"path": "/v1", "required": ["<script>alert(1)"]}}}
    )
    app = Flask("receiver.web.app", static_folder=None)
    app.register_blueprint(build_docs_blueprint(settings("", Path(), {"odd": odd})))
    assert "<script>" not in app.test_client().get("/docs").text
