"""The OpenAPI document and its page: valid, whole, with examples that hold, and without anything secret."""

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
from receiver.providers.webhook import EVENT, WebhookSender
from receiver.web.docs import build_docs_blueprint
from receiver.web.openapi import build_document
from receiver.web.v1 import api
from tests.factories import SECRET, notifier, settings
from tests.http import Json
from tests.kinds import PROVIDERS

TOKEN = "an-unguessable-end-of-the-url"
GUARDED = {
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
CONFIGURED: Mapping[str, Mapping[str, Provider]] = {
    "none": {},
    "one": {"sandbox": PROVIDERS["sandbox"]},
    "all": {**PROVIDERS, "globex": build_provider("globex", GUARDED)},
}


TELLS = notifier("shop.example", "*.shop.example", "93.184.216.34", "10.0.0.1")


def document_of(providers: Mapping[str, Provider], tells: WebhookSender | None = None) -> Json:
    made = build_document(settings("", Path(), providers, tells=tells), api.operations)
    read: Json = json.loads(json.dumps(made))
    return read


@pytest.fixture(params=CONFIGURED)
def document(request: pytest.FixtureRequest) -> Json:
    return document_of(CONFIGURED[request.param], TELLS if request.param == "all" else None)


WHOLE = document_of(CONFIGURED["all"], TELLS)


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield f"{method} {path}", described


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from references(inner)


def at(document: Json, reference: str) -> Any:
    value: Any = document
    for name in reference.removeprefix("#/").split("/"):
        value = value[name]
    return value


def is_valid(document: Json, schema: Json, value: Any) -> bool:
    whole = {**schema, "components": document["components"]}
    return Draft202012Validator(whole, validate_formats=True).is_valid(value)


def test_the_document_is_valid_openapi(document: Json) -> None:
    OPENAPI_31_VALIDATOR.validate(document)
    for schema in document["components"]["schemas"].values():
        meta.validate(schema)
    for reference in references(document):
        assert at(document, reference) is not None
    used = set(references(document))
    for kind in ("schemas", "responses", "headers"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, name


def test_a_name_stands_for_one_operation_only(document: Json) -> None:
    names = [described["operationId"] for _, described in operations(document)]
    names += [told["operationId"] for methods in document["webhooks"].values() for told in methods.values()]
    assert len(set(names)) == len(names)


def test_every_example_is_what_its_schema_says(document: Json) -> None:
    tried = 0
    for name, described in operations(document):
        media = list(described.get("requestBody", {"content": {}})["content"].values())
        for response in described["responses"].values():
            told = at(document, response["$ref"]) if "$ref" in response else response
            media += told.get("content", {}).values()
            media += [at(document, header["$ref"]) for header in told.get("headers", {}).values()]
        for one in [*media, *described.get("parameters", ())]:
            shown = [example["value"] for example in one.get("examples", {}).values()]
            for value in [*shown, *([one["example"]] if "example" in one else [])]:
                assert is_valid(document, one["schema"], value), (name, value, one["schema"])
                tried += 1
    assert tried > 250


def test_every_body_and_every_answer_of_the_api_has_an_example(document: Json) -> None:
    for name, described in operations(document):
        if "x-scope" not in described:
            continue
        for media in described.get("requestBody", {"content": {}})["content"].values():
            assert media["examples"], name
        for response in described["responses"].values():
            told = at(document, response["$ref"]) if "$ref" in response else response
            assert all("example" in media for media in told["content"].values()), name


def test_every_parameter_and_field_is_described(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        if not name.startswith("Payload."):
            for field, told in schema.get("properties", {}).items():
                assert told.get("description") or "$ref" in told or "anyOf" in told or "enum" in told, (name, field)
    for name, described in operations(document):
        for parameter in described.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], (name, parameter)


def test_each_operation_tells_the_scope_it_needs(document: Json) -> None:
    declared = {
        f"{one.method.lower()} {re.sub('<(?:[a-z]+:)?', '{', one.path).replace('>', '}')}": one
        for one in api.operations
    }
    told = {name: described for name, described in operations(document) if "x-scope" in described}
    assert told.keys() == declared.keys()
    for name, described in told.items():
        scope = declared[name].scope.value
        assert described["x-scope"] == scope
        assert described["security"] == [{"key": [scope]}]
        assert f"`{scope}`" in described["description"]


def test_submissions_are_those_that_are_configured() -> None:
    ways = [at(WHOLE, way["$ref"]) for way in WHOLE["components"]["schemas"]["Submission"]["oneOf"]]
    found = {(*way["properties"]["provider"]["enum"], *way["properties"]["operation"]["enum"]) for way in ways}
    assert found == {(name, one) for name, made in CONFIGURED["all"].items() for one in made.operations()}
    sent = {"provider": "sandbox", "operation": "send", "payload": {"client_reference": "c", "to": ["1"], "text": "t"}}
    schema = {"$ref": "#/components/schemas/Submission"}
    assert is_valid(WHOLE, schema, sent)
    assert is_valid(WHOLE, schema, sent | {"metadata": {"big": 2**63 - 1, "small": -(2**63)}, "deadline": None})
    wrongs: list[Json] = [
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
    for wrong in wrongs:
        assert not is_valid(WHOLE, schema, sent | wrong), wrong


def test_providers_are_named_where_they_are_configured() -> None:
    names = sorted(CONFIGURED["all"])
    (path,) = (one for one in WHOLE["paths"]["/v1/providers/{name}/pause"]["post"]["parameters"] if one["in"] == "path")
    assert path["schema"]["enum"] == names
    assert WHOLE["components"]["schemas"]["NewKey"]["properties"]["providers"]["items"]["enum"] == names
    unnamed = document_of({})
    (path,) = unnamed["paths"]["/v1/providers/{name}/pause"]["post"]["parameters"]
    assert "enum" not in path["schema"]
    assert "oneOf" not in unnamed["components"]["schemas"]["Submission"]


def test_metadata_is_looked_for_by_names_of_ones_own() -> None:
    (wanted,) = (one for one in WHOLE["paths"]["/v1/requests"]["get"]["parameters"] if one["name"] == "metadata")
    assert (wanted["style"], wanted["explode"]) == ("form", True)
    for given, good in {
        "metadata.order": True,
        "metadata.": False,
        "order": False,
        f"metadata.{'x' * 101}": False,
    }.items():
        assert is_valid(WHOLE, wanted["schema"], {given: "7"}) is good


def test_each_provider_is_told_how_it_calls_back() -> None:
    webhook = WHOLE["webhooks"]["callback of globex"]
    assert webhook.keys() == {"get", "post"}
    told = webhook["post"]
    assert set(told["responses"]) == {"204", "400", "401", "404", "405", "413", "415", "503"}
    assert list(told["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    assert "requestBody" not in webhook["get"]
    for word in ("/callbacks/globex/{token}", "standard-webhooks", "203.0.113.0/24", "ask the provider"):
        assert word in told["description"]
    assert document_of({})["webhooks"]["callback"]["post"]["responses"]["200"]


def test_clients_are_told_as_is_described() -> None:
    told = WHOLE["webhooks"][EVENT]["post"]
    assert [one["name"] for one in told["parameters"]] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    [media] = told["requestBody"]["content"].values()
    assert is_valid(WHOLE, media["schema"], media["example"])
    assert media["example"]["type"] == EVENT
    assert {"payload"} | media["example"]["data"].keys() == (
        WHOLE["components"]["schemas"]["Request"]["properties"].keys() | {"jobs_total"}
    )


def test_the_urls_that_may_be_told_are_those_that_are_configured() -> None:
    [way] = (one for name, one in WHOLE["components"]["schemas"].items() if name == "Submission.sandbox.send")
    schema = way["properties"]["notify_url"]
    good: Sequence[Any] = (
        None,
        "https://shop.example/told?a=1",
        "https://eu.shop.example:8443",
        "https://93.184.216.34/",
    )
    bad: Sequence[Any] = (
        "http://shop.example/",
        "https://shop.example.evil/",
        "https://shop_example/",
        "https://10.0.0.1/",
        1,
    )
    for url in good:
        assert is_valid(WHOLE, schema, url), url
    for url in bad:
        assert not is_valid(WHOLE, schema, url), url
    pending = document_of(CONFIGURED["one"])
    schema = pending["components"]["schemas"]["Submission.sandbox.send"]["properties"]["notify_url"]
    assert is_valid(pending, schema, None)
    assert not is_valid(pending, schema, "https://shop.example/")
    assert EVENT not in pending["webhooks"]


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "sk_live_4242"])
def test_nothing_secret_is_told(secret: str) -> None:
    assert secret not in json.dumps(WHOLE)


class Seen(HTMLParser):
    """The parts of a page that matter here."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        self.loads += [value or "" for name, value in attrs if name in {"src", "srcset", "style", "action", "poster"}]
        self.loads += [given["href"] or ""] if "href" in given and tag != "a" else []
        assert not any(name.startswith("on") for name in given)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> Seen:
    app = Flask("receiver.web.app", static_folder=None)
    app.register_blueprint(build_docs_blueprint(settings("", Path(), CONFIGURED["all"], tells=TELLS)))
    response = app.test_client().get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    seen = Seen()
    seen.feed(response.text)
    return seen


def test_the_page_names_every_operation_with_its_scope_errors_and_a_call(page: Seen) -> None:
    text = " ".join("".join(page.text).split())
    for name, described in operations(WHOLE):
        method, _, path = name.partition(" ")
        assert described["operationId"] in page.ids
        assert f"{method.upper()} {path}" in text
        assert f"Call {described['operationId']} with curl" in text
        for status in described["responses"]:
            assert f"{status} " in text
    for name in (*WHOLE["webhooks"], *WHOLE["components"]["schemas"]):
        assert name in text
    assert text.count("Needs a key with the scope") == len(api.operations)


def test_the_page_loads_nothing_and_needs_no_script(page: Seen) -> None:
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    style = "".join(page.text)
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_of_the_page_leads_somewhere(page: Seen) -> None:
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "/openapi.json" or link.removeprefix("#") in page.ids


def test_the_page_can_be_found_ones_way_in(page: Seen) -> None:
    assert {"main", "nav", "header", "h1", "caption", "title"} <= set(page.tags)
    assert page.links[0] == "#content"


def test_what_is_configured_cannot_break_out_of_the_page() -> None:
    odd = build_provider(
        "odd", {**GUARDED, "operations": {"render": {"path": "/v1", "required": ["<script>alert(1)"]}}}
    )
    app = Flask("receiver.web.app", static_folder=None)
    app.register_blueprint(build_docs_blueprint(settings("", Path(), {"odd": odd})))
    assert "<script>" not in app.test_client().get("/docs").text
