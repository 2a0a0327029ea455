"""A configured provider of every kind."""

from collections.abc import Mapping
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.support.factories import SECRET

COMMON: Mapping[str, Any] = {
    "base_url": "https://api.acme.example",
    "auth": {"scheme": "bearer", "secret": "key"},
    "signature": {"scheme": "standard-webhooks", "secrets": [SECRET]},
}
DECLARED: Mapping[str, Any] = {
    **COMMON,
    "kind": "declared",
    "operations": {
        "render": {
            "path": "/v1/{template}/{size}/{kind}",
            "required": ["title", "style", "template"],
            "defaults": {"style": "plain", "size": "small", "kind": ["none"], "note": None},
        },
        "still": {"path": "/v1/stills", "body": "form", "required": ["note"], "defaults": {"note": ""}},
        "sum": {
            "path": "/v1/sums",
            "defaults": {"b": 1, "c": None},
            "computed": {"sum": {"text": "{a}{b}{c}", "hash": "md5"}, "header:X-To": "{a}"},
        },
        "list": {"path": "/v1/lists/{id}", "body_field": "items"},
    },
    "callback": {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}},
}
PROVIDERS: Mapping[str, Provider] = {
    "sandbox": build_provider("sandbox", {**COMMON, "kind": "sandbox"}),
    "acme": build_provider("acme", DECLARED),
    "cecula": build_provider("cecula", {**COMMON, "kind": "cecula"}),
    "legacy": build_provider("legacy", {**COMMON, "kind": "cecula-legacy"}),
    "sync": build_provider("sync", {**COMMON, "kind": "cecula-sync"}),
}
