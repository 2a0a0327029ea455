"""Fingerprints of a provider's credentials, and the redaction of the secrets among them."""

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


@pytest.mark.parametrize(
    ("scheme", "secrets"),
    [
        ("bearer", ["user:pass"]),
        ("header", ["user:pass"]),
        ("basic", ["user:pass", "pass", "dXNlcjpwYXNz"]),
        ("query", ["user:pass"]),
        ("body", ["user:pass"]),
    ],
)
def test_secrets_are_those_of_auth_and_of_headers(scheme: str, secrets: list[str]) -> None:
    auth = {"scheme": scheme, "secret": "user:pass", "name": "X-Key"}
    headers = {"Accept": "application/json", "X-Api-Key": "a-key"}
    assert build_declared(auth=auth, headers=headers).secrets == ["a-key", *secrets]


@pytest.mark.parametrize("spelling", ["a+secret/of=ours", "a%2Bsecret%2Fof%3Dours"])
def test_secret_is_redacted_in_every_spelling(spelling: str) -> None:
    redactor = build_kind("sandbox", "a+secret/of=ours").redactor
    assert redactor.redact_text(f"<{spelling}>") == "<[redacted]>"
    assert redactor.redact_bytes(spelling.encode()) == b"[redacted]"


def test_secret_is_redacted_as_a_json_text() -> None:
    redactor = build_declared(auth={"scheme": "bearer", "secret": 'a"secret"of'}).redactor
    assert redactor.redact_text(r"<a\"secret\"of>") == "<[redacted]>"


def test_token_of_callback_url_is_redacted() -> None:
    provider = build_declared(signature={"scheme": "token", "secrets": ["an-unguessable-token"]})
    assert "unguessable" not in provider.redactor.redact_text("https://us.example/callbacks/acme/an-unguessable-token")
