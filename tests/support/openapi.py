"""OpenAPI documents of several configurations, and their parts."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.web.openapi.document import build_document
from receiver.web.v1 import api
from tests.support.factories import SECRET, notify_provider, settings
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
NOTIFY = notify_provider("shop.example", "*.shop.example", "93.184.216.34", "10.0.0.1")


def build_json_document(
    providers: Mapping[str, Provider],
    notify: Provider | None = None,
    *,
    is_public: bool = False,
    has_webhooks: bool = True,
) -> Json:
    """Build the document of these providers, as it is after a round trip through JSON."""
    configured = settings("", Path(), providers, notify=notify)
    document = build_document(configured, api.operations, is_public=is_public, has_webhooks=has_webhooks)
    parsed: Json = json.loads(json.dumps(document))
    return parsed


DOCUMENT = build_json_document(CONFIGURATIONS["all"], NOTIFY)


def iterate_operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Yield the method and path of each operation, and the operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def resolve(document: Json, reference: str) -> Any:
    """Return the part of a document that a reference names."""
    value: Any = document
    for name in reference.removeprefix("#/").split("/"):
        value = value[name]
    return value


def is_valid(document: Json, schema: Json, value: Any) -> bool:
    """Return whether a value is valid by a schema of a document."""
    return build_validator(document, schema).is_valid(value)


def build_validator(document: Json, schema: Json) -> Draft202012Validator:
    """Build a validator for a schema of a document."""
    complete = {**schema, "components": document["components"]}
    return Draft202012Validator(complete, validate_formats=True)
