"""Fingerprints of a provider's credentials."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.support.factories import SECRET, provider

SIGNATURE = {"scheme": "standard-webhooks", "secrets": [SECRET]}
DECLARED = {
    "kind": "declared",
    "base_url": "https://api.acme.example",
    "signature": SIGNATURE,
    "operations": {"render": {"path": "/v1/renders"}},
    "response": {"reference": "id"},
    "callback": {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}},
}
SCHEMES: list[dict[str, Any]] = [
    {"scheme": "bearer", "secret": "{}"},
    {"scheme": "header", "name": "X-Api-Key", "secret": "{}"},
    {"scheme": "basic", "secret": "user:{}"},
    {"scheme": "query", "name": "key", "secret": "{}"},
    {"scheme": "body", "name": "key", "secret": "{}"},
]


def build_kind(kind: str, secret: str) -> Provider:
    auth = {"scheme": "bearer", "secret": secret}
    return build_provider("acme", {"kind": kind, "base_url": "https://a.example", "auth": auth, "signature": SIGNATURE})


def build_declared(**tables: Any) -> Provider:
    return build_provider("acme", {**DECLARED, **tables})


@pytest.mark.parametrize("kind", ["sandbox", "cecula", "cecula-legacy", "cecula-sync"])
def test_fingerprint_differs_by_key_for_every_kind(kind: str) -> None:
    assert build_kind(kind, "one").fingerprint == build_kind(kind, "one").fingerprint
    assert build_kind(kind, "one").fingerprint != build_kind(kind, "two").fingerprint


@pytest.mark.parametrize("auth", SCHEMES, ids=lambda auth: str(auth["scheme"]))
def test_fingerprint_differs_by_secret_for_every_auth_scheme(auth: dict[str, Any]) -> None:
    auths = [{**auth, "secret": auth["secret"].format(secret)} for secret in ("1", "1", "2")]
    first, same, other = (build_declared(auth=auth).fingerprint for auth in auths)
    assert first == same != other


def test_fingerprint_differs_by_common_header() -> None:
    assert (
        build_declared(headers={"X-Tenant": "1"}).fingerprint != build_declared(headers={"X-Tenant": "2"}).fingerprint
    )


def test_fingerprint_ignores_other_fields() -> None:
    original = provider()
    changed = replace(original, name="other", base_path="/v2", origin="https://elsewhere.example")
    assert changed.fingerprint == original.fingerprint


def test_fingerprint_without_credentials_is_empty() -> None:
    assert build_declared().fingerprint == ""


def test_fingerprint_is_not_a_plain_hash() -> None:
    fingerprint = build_kind("sandbox", "1234").fingerprint
    assert len(fingerprint) == 16
    assert fingerprint != sha256(b"1234").hexdigest()[:16]
    assert "1234" not in fingerprint
