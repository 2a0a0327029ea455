"""Callbacks whose public keys are fetched from a real server: rotation, forgeries, and a server that is down."""

import tomllib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.exchange import key_documents
from receiver.exchange.key_documents import DocumentUnavailable, KeyDocuments
from receiver.inbound.authentication import AuthLog, CallbackAuthenticator, VerifiedCallback
from receiver.inbound.explain import explain
from receiver.inbound.receive import parse_callback
from receiver.inbound.replay import parse_again
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.database import Database
from tests.support.provider import Provider as Server
from tests.support.provider import Reply, listening
from tests.support.signing_keys import build_jwks, export_jwk, get_ec_key, get_rsa_key

BODY = b'{"id":"job-1","status":"done"}'
OLD_JWKS = build_jwks(export_jwk(get_ec_key(), kid="old"))
NEW_JWKS = build_jwks(export_jwk(get_ec_key(), kid="old"), export_jwk(get_ec_key(1), kid="new"))


@pytest.fixture
def key_server() -> Iterator[Server]:
    with listening() as running:
        yield running


@pytest.fixture
def authenticator(dsn: str) -> Iterator[CallbackAuthenticator]:
    with (
        closing(Database(dsn)) as database,
        closing(CallbackAuthenticator(AuthLog(database), KeyDocuments())) as running,
    ):
        yield running


def build(key_server: Server, signature: str = "") -> Provider:
    table = f"""
        kind = "declared"
        base_url = "{key_server.url}"
        callback = {{ reference = "id", status = "status", statuses = {{ done = "succeeded" }} }}
        [signature]
        jwks_url = "{key_server.url}/jwks.json"
        {signature or 'scheme = "ecdsa"' + chr(10) + 'header = "X-Sig"'}
    """
    return build_provider("acme", tomllib.loads(table))


def sign(number: int = 0, body: bytes = BODY) -> IncomingCallback:
    signature = b64encode(get_ec_key(number).sign(BODY, ec.ECDSA(hashes.SHA256()))).decode()
    return IncomingCallback("POST", "/callbacks/acme", {"x-sig": signature}, body, datetime.now(UTC))


def refuse(provider: Provider, incoming: IncomingCallback) -> StoredCallback:
    stored = parse_callback(VerifiedCallback(provider, incoming)).stored
    return replace(stored, verdict=Verdict.REFUSED, errors={"x-sig": ["refused"]}, verified=False)


def test_callback_by_new_key_is_verified_at_once(
    key_server: Server, authenticator: CallbackAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that rotates its keys may not send a callback again that was refused with 401."""
    key_server.script("jwks.json", Reply(200, OLD_JWKS), Reply(200, NEW_JWKS))
    provider = build(key_server)
    assert authenticator.authenticate(provider, sign()).provider is provider
    monkeypatch.setattr(key_documents, "_MIN_REFRESH_AGE_S", 0.0)
    assert authenticator.authenticate(provider, sign(1)).provider is provider
    assert len(key_server.find_received("jwks.json")) == 2


def test_forged_callbacks_cause_no_fetch_within_a_minute(
    key_server: Server, authenticator: CallbackAuthenticator
) -> None:
    key_server.script("jwks.json", Reply(200, OLD_JWKS))
    provider = build(key_server)
    for _ in range(10):
        with pytest.raises(InvalidSignature):
            authenticator.authenticate(provider, sign(7))
    assert len(key_server.find_received("jwks.json")) == 1
    authenticator.authenticate(provider, sign())


def test_callback_is_not_refused_while_keys_cannot_be_fetched(
    key_server: Server, authenticator: CallbackAuthenticator
) -> None:
    key_server.script("jwks.json", Reply(503))
    provider = build(key_server)
    with pytest.raises(DocumentUnavailable):
        authenticator.authenticate(provider, sign())
    explanation = explain(refuse(provider, sign()), provider, authenticator.documents, "")
    assert "without the provider's public keys" in explanation.causes[0]


def test_refused_callback_is_explained_and_replayed_by_fetched_keys(
    key_server: Server, authenticator: CallbackAuthenticator
) -> None:
    key_server.script("jwks.json", Reply(200, NEW_JWKS))
    provider = build(key_server)
    genuine, forged = refuse(provider, sign(1)), refuse(provider, sign(1, BODY + b" "))
    assert [event.reference for event in parse_again(genuine, provider, authenticator.documents, "").events] == [
        "job-1"
    ]
    assert "Replay the callback" in explain(genuine, provider, authenticator.documents, "").causes[0]
    with pytest.raises(StateConflict, match="still refused"):
        parse_again(forged, provider, authenticator.documents, "")
    assert explain(forged, provider, authenticator.documents, "").part == "x-sig"


GOOGLE = 'scheme = "jwt"\naudience = "us"\nissuer = "https://issuer.example"\ntrust = "sender"'


def sign_token(**claims: Any) -> IncomingCallback:
    now = datetime.now(UTC)
    values = {"iat": int(now.timestamp()), "aud": "us", "iss": "https://issuer.example"} | claims
    token = jwt.encode(values, get_rsa_key(), algorithm="RS256", headers={"kid": "1"})
    return IncomingCallback("POST", "/callbacks/acme", {"authorization": f"Bearer {token}"}, BODY, now)


def test_token_must_be_for_our_audience_and_of_our_issuer(
    key_server: Server, authenticator: CallbackAuthenticator
) -> None:
    key_server.script("jwks.json", Reply(200, build_jwks(export_jwk(get_rsa_key(), kid="1"))))
    provider = build(key_server, GOOGLE)
    verified = authenticator.authenticate(provider, sign_token())
    assert verified.incoming.headers["authorization"].startswith("Bearer ")
    for claims, part in (({"aud": "them"}, "aud"), ({"iss": "https://evil.example"}, "iss"), ({"iat": 1}, "iat")):
        with pytest.raises(InvalidSignature) as caught:
            authenticator.authenticate(provider, sign_token(**claims))
        assert caught.value.part == part


def test_callback_with_refused_url_causes_no_fetch_and_is_explained(
    key_server: Server, authenticator: CallbackAuthenticator
) -> None:
    certificate = 'scheme = "rsa"\nheader = "X-Sig"\ncertificate_url = "header:X-Cert"\nallowed_hosts = ["127.0.0.1"]'
    table = f"""
        kind = "declared"
        base_url = "{key_server.url}"
        callback = {{ reference = "id", status = "status", statuses = {{ done = "succeeded" }} }}
        [signature]
        {certificate}
    """
    provider = build_provider("acme", tomllib.loads(table))
    incoming = replace(sign(), headers={"x-sig": "AAAA", "x-cert": f"{key_server.url}/one.pem"})
    with pytest.raises(InvalidSignature) as caught:
        authenticator.authenticate(provider, incoming)
    assert caught.value.part == "x-cert"
    assert explain(refuse(provider, incoming), provider, authenticator.documents, "").part == "x-cert"
    with pytest.raises(StateConflict, match="certificate's URL"):
        parse_again(refuse(provider, incoming), provider, authenticator.documents, "")
    assert key_server.received == []
