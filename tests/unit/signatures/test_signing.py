"""The signing of callbacks by every scheme: what is signed verifies, and a changed byte does not."""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.signatures.base import CallbackAuth, InvalidSignature
from receiver.signatures.presets import PRESETS
from receiver.signatures.signers import CannotSign, Signer
from receiver.signatures.signing import sign_callback
from tests.support.factories import NOON
from tests.support.private_keys import load_signing_key
from tests.support.signers import BODY, PUBLIC_URL, SIGNERS, TARGET
from tests.support.signing_keys import PrivateKey, export_jwk, export_pem, get_ec_key, get_ed25519_key, get_rsa_key

ID = "0123456789abcdef"
SECRETS = {"secrets": ["a-secret-of-length"]}
HEADER = {"header": "X-Signature"}
TIMED = {"signed": "{timestamp}.{body}", "timestamp": "header:X-Time"}
ED25519_KEY, RSA_KEY, EC_KEY = get_ed25519_key(), get_rsa_key(), get_ec_key()
ED25519_BASE64 = base64.b64encode(ED25519_KEY.public_key().public_bytes_raw()).decode()
JWK = json.dumps(export_jwk(EC_KEY, kid="key-1"))
TABLES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"secrets": [signer.secret], **signer.options} for name, signer in SIGNERS.items()},
    "hmac": {**SECRETS, **HEADER, **TIMED, "format": "pairs", "pair": "v1", "timestamp": "pair:t"},
    "digest": {**SECRETS, **HEADER, "algorithm": "sha512", "signed": "{nonce}{secret}{body}", "nonce": "header:X-Id"},
    "rsa": {**HEADER, **TIMED, "padding": "pss", "keys": [export_pem(RSA_KEY)]},
    "ecdsa": {"source": "query:sig", "signature_format": "raw", "keys": [export_pem(EC_KEY)]},
    "ed25519": {**HEADER, **TIMED, "keys": [export_pem(ED25519_KEY)]},
    "jws": {**HEADER, "signed": "{method} {path}\n{body}", "keys": [JWK]},
    "jwt": {**SECRETS, "audience": ["us"], "issuer": ["them"], "claims": {"a": [1, 2]}, "url_hash": "url"},
    "equals": {"secrets": ["a sécret"], **HEADER, "prefix": "Token "},
    "basic": {"secrets": ["user:sécret"]},
    "vonage": SECRETS,
    "messagebird": SECRETS,
    "plivo-v3": SECRETS,
    "rfc9421": {**SECRETS, "public_url": "https://other.example:443/in"},
    "token": {"secrets": ["a-token-of-this-test"]},
    "fal": {},
    "sns": {"topic_arn": "arn:aws:sns:eu-west-1:123456789012:jobs"},
    "paypal": {"webhook_id": "1JE4291016473214C"},
}
OTHER_TABLES = [
    ("hmac", {**SECRETS, **HEADER, "format": "list", "prefix": "v1,", "encoding": "base64url"}),
    ("hmac", {**SECRETS, **HEADER, "algorithm": "md5", "encoding": "base64-hex"}),
    ("hmac", {**SECRETS, **HEADER, "algorithm_header": "X-Alg", "algorithm_names": {"A": "sha1", "B": "sha512"}}),
    ("hmac", {**SECRETS, "source": "meta.signature", "signed": "{id}|{field:status}", "id": "meta.id"}),
    ("hmac", {**SECRETS, "source": "query:sig", "signed": "{raw:status}{query:channel}", "trust": "sender"}),
    ("hmac", {**SECRETS, **HEADER, "signed": "{timestamp}{body}", "timestamp": "query:t", "unit": "ms"}),
    ("digest", {**SECRETS, "source": '"a-b".sign', "signed": "{body_with_secret}"}),
    ("equals", {"secrets": ['a "quoted" sécret'], "source": "auth.token"}),
    ("equals", {"secrets": ["a sécret & more"], "source": "query:token"}),
    ("ecdsa", {**HEADER, "keys": [export_pem(EC_KEY)], "algorithm": "sha512"}),
    ("ecdsa", {**HEADER, "keys": [JWK], "key_id": "header:X-Key"}),
    ("ed25519", {**HEADER, "secrets": [ED25519_BASE64], "encoding": "base64"}),
    ("jws", {**HEADER, "keys": [export_pem(get_rsa_key())], "algorithms": ["PS256"]}),
    ("jwt", {"keys": [JWK], "header": "X-Token", "key_id": "header:X-Key", "body_hash": "sha", "trust": "sender"}),
    ("jwt", {"keys": [export_pem(ED25519_KEY)], "source": "query:token", "trust": "sender"}),
    ("jwt", {**SECRETS, "algorithms": ["HS512"], "body_hash_algorithm": "sha384", "body_hash_encoding": "base64url"}),
    ("standard-webhooks", {"secrets": [f"whpk_{ED25519_BASE64}"]}),
    ("rfc9421", {"secrets": [f"ed25519:{ED25519_BASE64}"]}),
]
PRIVATE_KEYS: Mapping[str, PrivateKey] = {"rsa": RSA_KEY, "ecdsa": EC_KEY, "jws": EC_KEY, "jwt": EC_KEY}
VENDOR_ONLY = {"fal", "sns", "paypal"}
each_table = pytest.mark.parametrize(
    ("scheme", "table"),
    [*((name, TABLES[name]) for name in SCHEMES if name not in VENDOR_ONLY), *OTHER_TABLES],
    ids=lambda value: value if isinstance(value, str) else "",
)


def load_auth(scheme: str, table: Mapping[str, Any]) -> CallbackAuth:
    auth: CallbackAuth = SignatureSchema().load({"scheme": scheme, **table})
    return auth.with_body_kind("form" if scheme in {"mandrill", "transloadit"} else "")


def build_unsigned(scheme: str = "", **overrides: Any) -> IncomingCallback:
    body = SIGNERS[scheme].body if scheme in SIGNERS else BODY
    if scheme == "transloadit":
        body = urlencode({"transloadit": body}).encode()
    elif scheme == "plivo-v3":
        body = b"b=2&a=%C3%BC"
    media_type = FORM_MEDIA_TYPE if scheme in {"mandrill", "transloadit", "plivo-v3"} else "application/json"
    fields = {"target": TARGET, "headers": {"content-type": media_type}, "body": body, "public_url": PUBLIC_URL}
    return IncomingCallback(**{"method": "POST", "received_at": NOON, **fields, **overrides})


def sign(scheme: str, table: Mapping[str, Any], callback: IncomingCallback | None = None) -> IncomingCallback:
    """Sign with the private key that fits the scheme's keys."""
    keys = " ".join(table.get("keys", ()))
    private_key = PRIVATE_KEYS.get(scheme, ED25519_KEY)
    candidates: list[PrivateKey] = [RSA_KEY, ED25519_KEY]
    for key in candidates:
        private_key = key if export_pem(key) in keys else private_key
    signer = Signer(NOON, ID, load_signing_key(private_key))
    return sign_callback(load_auth(scheme, table), callback or build_unsigned(scheme), signer)


def test_every_scheme_has_a_table() -> None:
    assert {*SCHEMES} == TABLES.keys()
    assert PRESETS.keys() <= TABLES.keys()


@each_table
def test_signed_callback_verifies(scheme: str, table: Mapping[str, Any]) -> None:
    auth, signed = load_auth(scheme, table), sign(scheme, table)
    assert auth.verify(signed) == (None if scheme == "token" else 0)
    unsigned = build_unsigned(scheme)
    assert (signed.method, signed.public_url) == (unsigned.method, unsigned.public_url)
    assert signed.target.startswith(unsigned.target)
    if scheme != "token":
        with pytest.raises(InvalidSignature):
            auth.verify(unsigned)


@each_table
def test_changed_byte_of_covered_body_is_rejected(scheme: str, table: Mapping[str, Any]) -> None:
    auth, signed = load_auth(scheme, table), sign(scheme, table)
    coverage = auth.coverage
    if coverage is None or not (coverage.body or coverage.form):
        return
    for position in range(0, len(signed.body), 11):
        body = bytearray(signed.body)
        body[position] ^= 1
        with pytest.raises(InvalidSignature):
            auth.verify(replace(signed, body=bytes(body)))


@pytest.mark.parametrize("scheme", sorted(VENDOR_ONLY))
def test_scheme_of_vendors_keys_cannot_be_signed(scheme: str) -> None:
    with pytest.raises(CannotSign, match=r"can sign: .* in `keys`"):
        sign(scheme, TABLES[scheme])


@pytest.mark.parametrize(
    "keys", [{"jwks_url": "https://a.example/jwks"}, {"certificate_url": "header:X-Cert", "allowed_hosts": "a.example"}]
)
def test_fetched_keys_cannot_be_signed(keys: dict[str, str]) -> None:
    with pytest.raises(CannotSign, match="Only the vendor can sign: the public keys are fetched from"):
        sign("rsa", {**HEADER, **keys})


@pytest.mark.parametrize("scheme", ["rsa", "ecdsa", "ed25519", "jws"])
def test_public_key_requires_its_private_key(scheme: str) -> None:
    auth = load_auth(scheme, TABLES[scheme])
    with pytest.raises(CannotSign, match="--signing-key FILE"):
        sign_callback(auth, build_unsigned(), Signer(NOON, ID))
    foreign = Signer(NOON, ID, load_signing_key(get_ec_key(7, ec.SECP384R1)))
    with pytest.raises(CannotSign, match="belongs to none of the public keys"):
        sign_callback(auth, build_unsigned(), foreign)


@pytest.mark.parametrize(
    ("scheme", "secret"), [("standard-webhooks", f"whpk_{ED25519_BASE64}"), ("rfc9421", f"ed25519:{ED25519_BASE64}")]
)
def test_public_key_among_secrets_requires_its_private_key(scheme: str, secret: str) -> None:
    auth = load_auth(scheme, {"secrets": [secret]})
    with pytest.raises(CannotSign, match="--signing-key FILE"):
        sign_callback(auth, build_unsigned(), Signer(NOON, ID))
    with pytest.raises(CannotSign, match="belongs to none of the public keys"):
        sign_callback(auth, build_unsigned(), Signer(NOON, ID, load_signing_key(get_ed25519_key(9))))


def test_second_public_key_verifies() -> None:
    table = {**HEADER, "keys": [export_pem(get_ec_key(1)), export_pem(EC_KEY)]}
    assert load_auth("ecdsa", table).verify(sign("ecdsa", table)) == 1


def test_missing_signed_header_is_named() -> None:
    table = {**SECRETS, **HEADER, "signed": "{header:X-Extra}{body}"}
    with pytest.raises(CannotSign, match=r"The header x-extra is missing\. .* --header"):
        sign("hmac", table)
    headers = {"content-type": "application/json", "x-extra": "1"}
    assert load_auth("hmac", table).verify(sign("hmac", table, build_unsigned(headers=headers))) == 0


def test_signature_within_what_it_signs_cannot_be_made() -> None:
    with pytest.raises(CannotSign, match="does not match any configured secret"):
        sign("hmac", {**SECRETS, "source": "query:sig", "signed": "{url}{body}"})


def test_id_is_kept_and_time_and_nonce_are_set() -> None:
    headers = {"content-type": "application/json", "webhook-id": "msg_7", "webhook-timestamp": "1"}
    signed = sign("standard-webhooks", TABLES["standard-webhooks"], build_unsigned(headers=headers))
    assert signed.headers["webhook-id"] == "msg_7"
    assert signed.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    table = {**SECRETS, **HEADER, "signed": "{id}.{nonce}.{body}", "id": "id", "nonce": "nonce"}
    signed = sign("hmac", table, build_unsigned(body=b'{"id": "evt-1", "nonce": "used"}'))
    assert json.loads(signed.body) == {"id": "evt-1", "nonce": ID}
    assert json.loads(sign("hmac", table, build_unsigned(body=b"{}")).body) == {"id": ID, "nonce": ID}


@pytest.mark.parametrize(
    ("scheme", "options", "headers"),
    [
        ("basic", {"secrets": ["user:pass"]}, {"authorization": "Basic dXNlcjpwYXNz"}),
        ("zoom", SECRETS, {"x-zm-request-timestamp": str(int(NOON.timestamp()))}),
    ],
)
def test_headers_are_written_as_documented(scheme: str, options: dict[str, Any], headers: dict[str, str]) -> None:
    signed = sign(scheme, options)
    assert {name: signed.headers[name] for name in headers} == headers


def test_values_beside_the_signature_leave_the_body_as_it_was() -> None:
    signed = sign("hmac", TABLES["hmac"])
    time, signature = signed.headers["x-signature"].split(",")
    assert (time, signature[:3]) == (f"t={int(NOON.timestamp())}", "v1=")
    assert signed.body == build_unsigned("hmac").body


XML = b"<r><job><n>1</n></job><job><n>2</n></job></r>"


@pytest.mark.parametrize("items", ["job", "job[]", "r.job"])
def test_each_item_of_xml_is_signed_with_the_same_nonce(items: str) -> None:
    table = {**SECRETS, "items": items, "source": "sig", "signed": "{nonce}{field:n}", "nonce": "nonce"}
    auth = load_auth("hmac", table).with_body_kind("xml")
    signed = sign_callback(auth, build_unsigned(body=XML), Signer(NOON, ID))
    assert auth.verify(signed) == 0
    macs = [hmac.digest(SECRETS["secrets"][0].encode(), f"{ID}{n}".encode(), "sha256").hex() for n in (1, 2)]
    jobs = [f"<job><n>{n}</n><nonce>{ID}</nonce><sig>{mac}</sig></job>" for n, mac in enumerate(macs, 1)]
    assert signed.body.decode() == f"<r>{''.join(jobs)}</r>"


def test_signature_is_written_into_a_body_of_its_kind() -> None:
    auth = load_auth("hmac", {**SECRETS, "source": "sig", "signed": "{field:n}"}).with_body_kind("xml")
    signed = sign_callback(auth, build_unsigned(body=b"<r><n>1</n></r>"), Signer(NOON, ID))
    mac = hmac.digest(SECRETS["secrets"][0].encode(), b"1", "sha256").hex()
    assert signed.body.decode() == f"<r><n>1</n><sig>{mac}</sig></r>"


def test_public_url_of_the_provider_is_signed() -> None:
    table = {"secrets": ["a-square-secret"]}
    auth = replace(load_auth("square", table), public_url="https://hooks.example/pay")
    signed = sign_callback(auth, build_unsigned(), Signer(NOON, ID))
    assert (signed.target, signed.public_url) == (TARGET, PUBLIC_URL)
    assert auth.verify(signed) == 0
    with pytest.raises(InvalidSignature):
        load_auth("square", table).verify(signed)


@pytest.mark.parametrize("scheme", ["twilio", "plivo-v3"])
def test_public_url_of_the_scheme_is_signed(scheme: str) -> None:
    table = {"secrets": ["a-secret-of-length"], "public_url": "https://hooks.example"}
    signed = sign(scheme, table)
    assert load_auth(scheme, table).verify(signed) == 0
    with pytest.raises(InvalidSignature):
        load_auth(scheme, {"secrets": ["a-secret-of-length"]}).verify(signed)
