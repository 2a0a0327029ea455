"""What a provider's credentials are named by."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from receiver.domain.responses import STATUS_RULES, explain_credentials_refusal
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.factories import SECRET, provider

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


def of_kind(kind: str, secret: str) -> Provider:
    auth = {"scheme": "bearer", "secret": secret}
    return build_provider("acme", {"kind": kind, "base_url": "https://a.example", "auth": auth, "signature": SIGNATURE})


def declared(**more: Any) -> Provider:
    return build_provider("acme", {**DECLARED, **more})


@pytest.mark.parametrize("kind", ["sandbox", "cecula", "cecula-legacy", "cecula-sync"])
def test_every_kind_tells_one_key_from_another(kind: str) -> None:
    assert of_kind(kind, "one").fingerprint == of_kind(kind, "one").fingerprint
    assert of_kind(kind, "one").fingerprint != of_kind(kind, "two").fingerprint


@pytest.mark.parametrize("auth", SCHEMES, ids=lambda auth: str(auth["scheme"]))
def test_a_declared_provider_tells_one_secret_from_another_wherever_it_stands(auth: dict[str, Any]) -> None:
    one, again, two = (declared(auth={**auth, "secret": auth["secret"].format(each)}) for each in ("1", "1", "2"))
    assert one.fingerprint == again.fingerprint != two.fingerprint


def test_a_header_that_every_request_has_may_be_a_credential() -> None:
    assert declared(headers={"X-Tenant": "1"}).fingerprint != declared(headers={"X-Tenant": "2"}).fingerprint


def test_what_proves_nothing_changes_no_fingerprint() -> None:
    ours = provider()
    assert replace(ours, name="other", base_path="/v2", origin="https://elsewhere.example").fingerprint == (
        ours.fingerprint
    )


def test_without_credentials_there_is_no_fingerprint() -> None:
    assert declared().fingerprint == ""


def test_a_short_secret_cannot_be_looked_up_by_its_fingerprint() -> None:
    found = of_kind("sandbox", "1234").fingerprint
    assert len(found) == 16
    assert found != sha256(b"1234").hexdigest()[:16]
    assert "1234" not in found


@pytest.mark.parametrize("status", sorted(STATUS_RULES))
def test_only_401_refuses_credentials(status: int) -> None:
    assert (explain_credentials_refusal(status) is not None) == (status == 401)
