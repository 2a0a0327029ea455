"""The keys of the table `signature` for public keys, JWTs, SNS and PayPal: what they build, and every error."""

import json
import tomllib
from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.providers.registry import build_provider
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import CallbackAuth, fingerprint_secret
from receiver.signatures.jwt import Jwt
from receiver.signatures.key_sources import ConfiguredKeys, KeyDocument, NamedCertificate
from receiver.signatures.recipe import Recipe
from receiver.signatures.sns import Sns
from tests.support.signing_keys import (
    WEAK_RSA_JWK,
    export_der,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

RSA_PEM, EC_PEM, ED_PEM = export_pem(get_rsa_key()), export_pem(get_ec_key()), export_pem(get_ed25519_key())
URL = "https://keys.example/jwks.json"
RSA = {"scheme": "rsa", "header": "X-Sig"}
TOPIC = "arn:aws:sns:eu-west-1:123456789012:jobs"


def load(**settings: Any) -> CallbackAuth:
    auth = SignatureSchema().load(settings)
    assert isinstance(auth, CallbackAuth)
    return auth


def find_errors(**settings: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        SignatureSchema().load(settings)
    messages = caught.value.messages
    assert isinstance(messages, dict)
    return messages


@pytest.mark.parametrize(("scheme", "pem"), [("rsa", RSA_PEM), ("ecdsa", EC_PEM), ("ed25519", ED_PEM)])
def test_recipe_takes_public_keys(scheme: str, pem: str) -> None:
    auth = load(scheme=scheme, header="X-Sig", keys=[pem], signed="{timestamp}{body}", timestamp="header:X-Time")
    assert isinstance(auth.scheme, Recipe)
    assert auth.scheme.algorithm == scheme
    assert (auth.scheme.encoding, auth.scheme.tolerance) == ("hex" if scheme == "ed25519" else "base64", 300.0)
    assert auth.fingerprints == (fingerprint_secret(pem),)
    assert auth.scheme.public_keys is not None
    assert isinstance(auth.scheme.public_keys.key_source, ConfiguredKeys)


def test_keys_of_every_format_are_accepted() -> None:
    keys = [EC_PEM, export_der(get_ec_key(1)), json.dumps(export_jwk(get_ec_key(2)))]
    scheme = load(scheme="ecdsa", header="X-Sig", keys=keys).scheme
    assert isinstance(scheme, Recipe)
    assert scheme.public_keys is not None
    assert isinstance(source := scheme.public_keys.key_source, ConfiguredKeys)
    assert [key.kind for key in source.keys] == ["ecdsa"] * 3


@pytest.mark.parametrize(
    ("settings", "source_type"),
    [
        ({"jwks_url": URL}, KeyDocument),
        ({"jwks_url": "http://127.0.0.1:8080/jwks"}, KeyDocument),
        ({"jwks_url": "http://localhost/jwks", "key_id": "header:X-Key"}, KeyDocument),
        ({"certificate_url": "https://certs.example/one.pem"}, KeyDocument),
        ({"certificate_url": "header:X-Cert", "allowed_hosts": ["certs.example", "*.example"]}, NamedCertificate),
        ({"certificate_url": "cert.url", "allowed_hosts": "certs.example"}, NamedCertificate),
    ],
)
def test_keys_may_be_fetched(settings: dict[str, Any], source_type: type) -> None:
    for scheme in ({"scheme": "rsa"}, {"scheme": "jws"}, {"scheme": "ed25519"}):
        recipe = load(header="X-Sig", **scheme, **settings).scheme
        assert isinstance(recipe, Recipe)
        assert recipe.public_keys is not None
        assert isinstance(recipe.public_keys.key_source, source_type)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "keys"),
        ({"keys": [RSA_PEM], "jwks_url": URL}, "jwks_url"),
        ({"keys": []}, "keys"),
        ({"keys": [RSA_PEM], "secrets": ["s"]}, "secrets"),
        ({"jwks_url": "http://keys.example/"}, "jwks_url"),
        ({"jwks_url": "https://user@keys.example/"}, "jwks_url"),
        ({"jwks_url": "https://keys.example/#a"}, "jwks_url"),
        ({"jwks_url": "https://keys.example:0/"}, "jwks_url"),
        ({"jwks_url": "https://[/"}, "jwks_url"),
        ({"jwks_url": "keys.example"}, "jwks_url"),
        ({"certificate_url": "header:X-Cert"}, "allowed_hosts"),
        ({"certificate_url": "header:X_Cert", "allowed_hosts": "a.example"}, "certificate_url"),
        ({"certificate_url": "[", "allowed_hosts": "a.example"}, "certificate_url"),
        ({"certificate_url": "pair:x", "allowed_hosts": "a.example"}, "certificate_url"),
        ({"certificate_url": "https://a b/", "jwks_url": URL}, "certificate_url"),
        ({"certificate_url": "https://a b/"}, "certificate_url"),
        ({"certificate_url": "header:X-Cert", "allowed_hosts": ["a b"]}, "allowed_hosts"),
        ({"certificate_url": "header:X-Cert", "allowed_hosts": []}, "allowed_hosts"),
        ({"jwks_url": URL, "allowed_hosts": ["a.example"]}, "allowed_hosts"),
        ({"jwks_url": URL, "key_id": "["}, "key_id"),
        ({"jwks_url": URL, "padding": "oaep"}, "padding"),
        ({"jwks_url": URL, "algorithm": "md5"}, "algorithm"),
        ({"jwks_url": URL, "algorithm": "sha3"}, "algorithm"),
        ({"jwks_url": URL, "signature_format": "raw"}, "signature_format"),
        ({"jwks_url": URL, "set_separator": " "}, "set_separator"),
        ({"jwks_url": URL, "audience": "a"}, "audience"),
        ({"jwks_url": URL, "key_encoding": "hex"}, "key_encoding"),
    ],
)
def test_mistake_is_named_by_its_key(settings: dict[str, Any], key: str) -> None:
    assert find_errors(**RSA, **settings).keys() == {key}


def test_id_of_key_requires_keys_with_ids() -> None:
    base = {"scheme": "rsa", "header": "X-Sig", "key_id": "header:X-Key"}
    jwk = json.dumps(export_jwk(get_rsa_key(), kid="first"))
    assert SignatureSchema().validate(base | {"keys": [jwk]}) == {}
    assert SignatureSchema().validate(base | {"jwks_url": "https://k.example/jwks"}) == {}
    certificate: dict[str, Any] = {"certificate_url": "header:X-Cert", "allowed_hosts": "k.example"}
    for settings in ({"keys": [export_pem(get_rsa_key())]}, certificate):
        assert SignatureSchema().validate(base | settings).keys() == {"key_id"}


def test_each_invalid_key_is_named_by_its_index() -> None:
    errors = find_errors(**RSA, keys=[RSA_PEM, "a key", EC_PEM, WEAK_RSA_JWK])["keys"]
    assert errors.keys() == {1, 2, 3}
    assert "2,048" in str(errors[3])
    assert "ecdsa" in str(errors[2])


def test_all_mistakes_are_reported_together() -> None:
    errors = find_errors(scheme="rsa", header="X_Sig", keys=["a key"], signed="{bod}", tolerance=-1, padding="x")
    assert errors.keys() == {"header", "keys", "signed", "tolerance", "padding"}
    errors = find_errors(scheme="jwt", jwks_url="http://x.example/", body_hash="", body_hash_encoding="hex", claims=3)
    assert errors.keys() == {"jwks_url", "audience", "issuer", "body_hash_encoding", "claims"}


def test_ed25519_takes_secrets_or_keys() -> None:
    errors = find_errors(scheme="ed25519", header="X-Sig", secrets=["ab" * 32], keys=[ED_PEM])
    assert errors == {"keys": ["Set only one of secrets, keys, jwks_url, certificate_url."]}
    assert find_errors(scheme="ed25519", header="X-Sig").keys() == {"secrets"}


GOOGLE = {"scheme": "jwt", "jwks_url": URL, "audience": "a", "issuer": ["i", "j"]}


def test_jwt_has_public_keys() -> None:
    claims = {"email": "e", "email_verified": True}
    scheme = load(**GOOGLE, claims=claims, tolerance=60, header="X-Token", algorithms=["RS256"]).scheme
    assert scheme == Jwt(
        key_source=KeyDocument(None, URL),
        source="header:X-Token",
        algorithms=("RS256",),
        audience=("a",),
        issuer=("i", "j"),
        claims=claims,
        tolerance=60.0,
    )


def test_jwt_of_fetched_keys_requires_audience_and_issuer() -> None:
    for location in (
        {"jwks_url": URL},
        {"certificate_url": "https://certs.example/one.pem"},
        {"certificate_url": "header:X-Cert", "allowed_hosts": "certs.example"},
    ):
        assert find_errors(scheme="jwt", **location).keys() == {"audience", "issuer"}
    assert load(scheme="jwt", keys=[EC_PEM]).scheme is not None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"secrets": ["s"], "jwks_url": URL}, "jwks_url"),
        ({"secrets": ["s"], "algorithms": ["RS256"]}, "algorithms"),
        ({"secrets": ["s"], "algorithms": ["none"]}, "algorithms"),
        ({"secrets": ["s"], "algorithms": []}, "algorithms"),
        ({"keys": [EC_PEM], "algorithms": ["ES256", "HS256"]}, "algorithms"),
        ({"secrets": ["s"], "header": ["A", "B"]}, "header"),
        ({"secrets": ["s"], "header": "A_B"}, "header"),
        ({"secrets": ["s"], "header": "A", "source": "b"}, "header"),
        ({"secrets": ["s"], "source": "["}, "source"),
        ({"secrets": ["s"], "public_url": "https://h.example"}, "public_url"),
        ({"secrets": ["s"], "body_hash_algorithm": "md5"}, "body_hash_algorithm"),
        ({"secrets": ["s"], "body_hash_encoding": "rot13"}, "body_hash_encoding"),
        ({"secrets": ["s"], "audience": []}, "audience"),
        ({"secrets": ["s"], "issuer": [""]}, "issuer"),
        ({"secrets": ["s"], "url_hash": ""}, "url_hash"),
    ],
)
def test_mistake_of_jwt_is_named_by_its_key(settings: dict[str, Any], key: str) -> None:
    assert find_errors(scheme="jwt", **settings).keys() == {key}


def test_jwt_by_secret_hashes_body_unless_configured() -> None:
    assert load(scheme="jwt", secrets=["s"]).scheme == Jwt(("s",), body_hash="payload_hash")
    assert load(scheme="jwt", secrets=["s"], body_hash="").scheme == Jwt(("s",))
    url_scheme = load(scheme="jwt", secrets=["s"], url_hash="url", public_url="https://h.example/").scheme
    assert url_scheme == Jwt(("s",), body_hash="payload_hash", url_hash="url", public_url="https://h.example")


def test_sns_requires_topics() -> None:
    assert load(scheme="sns", topic_arn=TOPIC).scheme == Sns((TOPIC,))
    assert load(scheme="sns", topic_arn=[TOPIC, f"{TOPIC}2"], tolerance=3_600).scheme == Sns(
        (TOPIC, f"{TOPIC}2"), 3_600.0
    )
    for topic in (None, [], "jobs", [TOPIC, "jobs"], 3):
        assert find_errors(scheme="sns", topic_arn=topic).keys() == {"topic_arn"}
    assert find_errors(scheme="sns").keys() == {"topic_arn"}


def test_paypal_requires_id_of_webhook() -> None:
    scheme = load(scheme="paypal", webhook_id="8PT597110X687430LKGECATA").scheme
    assert isinstance(scheme, Recipe)
    assert not scheme.coverage.body
    assert scheme.uses_nonces
    for webhook_id in ("", "{body}", 3):
        assert find_errors(scheme="paypal", webhook_id=webhook_id).keys() == {"webhook_id"}
    assert find_errors(scheme="paypal").keys() == {"webhook_id"}


def build(signature: str, callback: str = 'reference = "id"\nstatus = "state"') -> None:
    table = f"""
        kind = "declared"
        base_url = "https://acme.example"
        [callback]
        {callback}
        statuses = {{ done = "succeeded" }}
        [signature]
        {signature}
    """
    build_provider("acme", tomllib.loads(table))


@pytest.mark.parametrize(
    "signature",
    [
        f'scheme = "jwt"\njwks_url = "{URL}"\naudience = "a"\nissuer = "i"',
        'scheme = "jwt"\nsecrets = ["s"]\nbody_hash = ""',
        'scheme = "paypal"\nwebhook_id = "1"',
        f'scheme = "rsa"\nheader = "X"\njwks_url = "{URL}"\nsigned = "{{header:X-Id}}"',
    ],
)
def test_signature_that_does_not_cover_body_requires_trust(signature: str) -> None:
    with pytest.raises(ValidationError, match="does not cover the body"):
        build(signature)
    build(f'{signature}\ntrust = "sender"')


def test_sns_covers_only_signed_fields() -> None:
    signature = f'scheme = "sns"\ntopic_arn = "{TOPIC}"'
    build(signature, 'reference = "MessageId"\nstatus = "Subject"')
    with pytest.raises(ValidationError, match="does not cover"):
        build(signature, 'reference = "MessageAttributes.id.Value"\nstatus = "Subject"')


def test_messagebird_covers_query_of_callbacks_by_get() -> None:
    callback = 'methods = ["GET"]\nbody = "query"\nreference = "id"\nstatus = "status"'
    build('scheme = "messagebird"\nsecrets = ["a signing key"]', callback)
    with pytest.raises(ValidationError, match="does not cover the query"):
        build('scheme = "jwt"\nsecrets = ["a signing key"]', callback)
