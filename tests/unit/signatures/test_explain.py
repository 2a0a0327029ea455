"""Explanations of rejected callbacks: the reported cause is the one that the test introduced."""

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.signatures.base import CallbackAuth, Scheme
from receiver.signatures.explain import explain_signature
from receiver.signatures.recipe import Recipe
from tests.support.factories import NOON
from tests.support.signers import ADYEN_BODY, SIGNERS

BODY = json.dumps({"id": "ref-1", "state": "DONE", "name": "Zoë", "list": [1, 2]}).encode()


def load_scheme(name: str) -> Scheme:
    signer = SIGNERS[name]
    auth: CallbackAuth = SignatureSchema().load({"scheme": name, "secrets": [signer.secret]})
    assert auth.scheme is not None
    return auth.scheme


def build_callback(name: str, secret: str | None = None, body: bytes = BODY) -> IncomingCallback:
    signer = SIGNERS[name]
    now = int(NOON.timestamp())
    return signer.sign(secret or signer.secret, ADYEN_BODY if name == "adyen" else body, now).to_callback(now)


def find_cause(scheme: Scheme, callback: IncomingCallback) -> str:
    [cause] = explain_signature(scheme, callback).causes
    return cause


@pytest.mark.parametrize("name", ["github", "stripe", "slack", "shopify", "standard-webhooks", "svix"])
def test_wrong_secret_or_changed_body_is_reported(name: str) -> None:
    explanation = explain_signature(load_scheme(name), build_callback(name, SIGNERS[name].other_secret))
    assert explanation.part
    assert "a secret that is not configured" in explanation.causes[0]


@pytest.mark.parametrize(
    "encoded",
    [
        json.dumps(json.loads(BODY), separators=(",", ":")).encode(),
        json.dumps(json.loads(BODY), ensure_ascii=False).encode(),
        BODY + b"\n",
    ],
)
@pytest.mark.parametrize("name", ["github", "stripe", "standard-webhooks"])
def test_reencoded_body_is_reported(name: str, encoded: bytes) -> None:
    assert "body was modified in transit" in find_cause(load_scheme(name), replace(build_callback(name), body=encoded))


@pytest.mark.parametrize("seconds", [-4_000, 4_000])
@pytest.mark.parametrize("name", ["stripe", "slack", "standard-webhooks"])
def test_wrong_clock_is_reported_with_age(name: str, seconds: int) -> None:
    stale = replace(build_callback(name), received_at=NOON + timedelta(seconds=seconds))
    explanation = explain_signature(load_scheme(name), stale)
    assert "4000 s" in (explanation.message or "")
    assert "clock" in explanation.causes[0]


@pytest.mark.parametrize("public_url", ["http://receiver.example", "https://inside.local:8000"])
@pytest.mark.parametrize("name", ["square", "twilio", "plivo-v2"])
def test_wrong_public_url_is_reported_with_right_one(name: str, public_url: str) -> None:
    signed = build_callback(name)
    host = signed.public_url.partition("://")[2]
    received = replace(signed, public_url=public_url, headers={**signed.headers, "host": host})
    assert f"signed for {signed.public_url}" in find_cause(load_scheme(name), received)


def test_missing_prefix_is_reported() -> None:
    signed = build_callback("github")
    value = signed.headers["x-hub-signature-256"].removeprefix("sha256=")
    assert "lacks its prefix" in find_cause(
        load_scheme("github"), replace(signed, headers={"x-hub-signature-256": value})
    )


def test_wrong_key_encoding_is_reported() -> None:
    secret = SIGNERS["standard-webhooks"].secret
    auth: CallbackAuth = SignatureSchema().load(
        {"scheme": "hmac", "header": "webhook-signature", "prefix": "v1,", "encoding": "base64", "secrets": [secret]}
        | {"signed": "{id}.{timestamp}.{body}", "id": "header:webhook-id", "timestamp": "header:webhook-timestamp"}
    )
    assert auth.scheme is not None
    assert "decoded as base64" in find_cause(auth.scheme, build_callback("standard-webhooks"))


def test_missing_header_is_reported_with_likely_cause() -> None:
    explanation = explain_signature(load_scheme("github"), replace(build_callback("github"), headers={}))
    assert explanation.part == "x-hub-signature-256"
    assert "removes the header" in explanation.causes[0]


def load_hmac(**settings: object) -> Scheme:
    auth: CallbackAuth = SignatureSchema().load({"scheme": "hmac", "header": "X-Sig", "secrets": ["s"]} | settings)
    assert auth.scheme is not None
    return auth.scheme


def sign(content: bytes, secret: bytes = b"s") -> bytes:
    return hmac.digest(secret, content, "sha256")


def build_signed(signature: str, **headers: str) -> IncomingCallback:
    return IncomingCallback("POST", "/", {"x-sig": signature} | headers, BODY, NOON)


@pytest.mark.parametrize(
    ("unit", "time", "cause"),
    [
        ("us", str(int(NOON.timestamp())), "unit = s"),
        ("iso", str(int(NOON.timestamp())), "unit = s"),
        ("s", f"{int(NOON.timestamp())}000", "unit = ms"),
        ("ms", f"{int(NOON.timestamp())}", "unit = s"),
        ("s", "2026-11-23T12:00:00Z", "unit = iso"),
        ("s", "12:00", "cannot be read as unit = s"),
        ("s", f"{int(NOON.timestamp()) - 900}", "a clock is wrong"),
    ],
)
def test_unreadable_time_is_not_taken_for_a_wrong_clock(unit: str, time: str, cause: str) -> None:
    scheme = load_hmac(signed="{timestamp}.{body}", timestamp="header:T", unit=unit, tolerance=300)
    signature = sign(f"{time}.".encode() + BODY).hex()
    assert cause in find_cause(scheme, build_signed(signature, t=time))


@pytest.mark.parametrize("number", [1, 2])
def test_signature_among_several_headers_is_reported(number: int) -> None:
    values = [sign(b"other").hex(), sign(b"other").hex()]
    values[number - 1] = sign(BODY).hex()
    assert f"in number {number}" in find_cause(load_hmac(), build_signed(",".join(values)))
    standard = build_callback("standard-webhooks")
    header = [f"v1,{b64encode(sign(b'other')).decode()}"]
    header.insert(number - 1, standard.headers["webhook-signature"])
    joined = replace(standard, headers={**standard.headers, "webhook-signature": ",".join(header)})
    assert f"in number {number}" in find_cause(load_scheme("standard-webhooks"), joined)


def test_signature_in_another_header_is_reported() -> None:
    callback = build_signed(sign(b"other").hex(), **{"x-sig-2": sign(BODY).hex()})
    assert "in the header x-sig-2" in find_cause(load_hmac(), callback)


@pytest.mark.parametrize(
    ("settings", "template"),
    [
        ({"prefix": "v1="}, "v1={}"),
        ({"format": "list", "prefix": "v1,"}, "v1a,x v1,{}"),
        ({"format": "pairs", "pair": "v1"}, "t=1,v1={}"),
    ],
)
@pytest.mark.parametrize(
    ("encode", "cause"),
    [
        (lambda digest: urlsafe_b64encode(digest).decode(), "encoded in base64."),
        (lambda digest: b64encode(digest).decode().rstrip("="), "encoded in base64."),
        (lambda digest: b64encode(digest.hex().encode()).decode(), "encoded in base64-hex."),
    ],
)
def test_other_encoding_is_reported(
    encode: Callable[[bytes], str], cause: str, settings: dict[str, Any], template: str
) -> None:
    scheme = load_hmac(encoding="hex", secrets=["s"], **settings)
    assert cause in find_cause(scheme, build_signed(template.format(encode(sign(BODY, b"s")))))


@pytest.mark.parametrize("signed", ["{body}{secret}", "{secret}{body}"])
def test_plain_hash_in_place_of_hmac_is_reported(signed: str) -> None:
    content = signed.replace("{body}", BODY.decode()).replace("{secret}", "s").encode()
    cause = find_cause(load_hmac(secrets=["s"]), build_signed(sha256(content).hexdigest()))
    assert cause == f"The signature is a plain hash: set scheme = digest and signed = {signed}."


def test_query_that_was_signed_decoded_is_reported() -> None:
    scheme = load_hmac(secrets=["s"], signed="{url}{body}")
    callback = replace(build_signed(""), target="/callbacks/acme?a=x%40y", public_url="https://h.example")
    signature = hmac.digest(b"s", b"https://h.example/callbacks/acme?a=x@y" + BODY, "sha256").hex()
    signed = replace(callback, headers={"x-sig": signature})
    assert "set decode_url = true" in find_cause(scheme, signed)


@pytest.mark.parametrize(
    ("secret", "cause"),
    [("s\n", "line break"), ("s\r\n", "CR and LF"), ("s ", "ends with a blank"), (" s", "begins with a blank")],
)
def test_blank_in_secret_of_provider_is_reported(secret: str, cause: str) -> None:
    assert cause in find_cause(load_hmac(), build_signed(sign(BODY, secret.encode()).hex()))
    twilio = SIGNERS["twilio"].sign(secret, BODY, 0).to_callback(0)
    auth: CallbackAuth = SignatureSchema().load({"scheme": "twilio", "secrets": ["s"]})
    assert auth.scheme is not None
    assert cause in find_cause(auth.scheme, twilio)


def test_header_with_underscores_is_named_as_a_cause_of_a_missing_one() -> None:
    explanation = explain_signature(load_hmac(), replace(build_signed(""), headers={}))
    assert "underscores" in explanation.causes[0]


def test_callback_that_is_valid_now_is_reported() -> None:
    explanation = explain_signature(load_scheme("github"), build_callback("github"))
    assert (explanation.part, explanation.message) == (None, None)
    assert "Replay the callback" in explanation.causes[0]


@settings(max_examples=20, deadline=None)
@given(body=st.binary(), value=st.text(st.characters(max_codepoint=255)))
@pytest.mark.parametrize("name", sorted(SIGNERS.keys() & set(SCHEMES)))
def test_arbitrary_callback_can_be_explained(name: str, body: bytes, value: str) -> None:
    signed = build_callback(name)
    headers = dict.fromkeys(signed.headers, value)
    explanation = explain_signature(load_scheme(name), replace(signed, body=body, headers=headers))
    assert SIGNERS[name].secret not in str(explanation)


def build_pairs_callback() -> IncomingCallback:
    """Return a callback whose time is beside the signature, in a list of pairs."""
    time = str(int(NOON.timestamp()))
    signature = hmac.new(b"s", f"{time}.".encode() + BODY, sha256).hexdigest()
    headers = {"content-type": "application/json", "x-sig": f"t={time},v1={signature}"}
    return IncomingCallback("POST", "/callbacks/acme", headers, BODY, NOON)


def test_time_that_is_not_in_the_body_is_sought_in_the_pairs() -> None:
    recipe = Recipe(
        source="header:X-Sig", secrets=["s"], format="pairs", pair="v1", signed="{timestamp}.{body}", timestamp="t"
    )
    callback = build_pairs_callback()
    explanation = explain_signature(recipe, callback)
    assert (explanation.part, explanation.message) == ("timestamp", "The field t is missing.")
    [cause] = explanation.causes
    assert cause == (
        "The body has no `t`, where `timestamp` of `signature` says that the time is. If it is in the signature "
        'header, as in `t=…,v1=…`, write `timestamp = "pair:t"`.'
    )
    assert explain_signature(replace(recipe, timestamp="pair:t"), callback).part is None


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"timestamp": "at"}, "The body has no `at`, where `timestamp` of `signature` says that the time is."),
        (
            {"timestamp": "query:at"},
            "The URL that was called has no parameter `at`.",
        ),
        (
            {"timestamp": "pair:at", "format": "pairs", "pair": "v1"},
            "The signature in the header `x-sig` has no pair `at`. Does `signature` name the right one?",
        ),
        ({"timestamp": "header:X-At"}, "The provider does not sign these callbacks, a proxy in between removes"),
    ],
)
def test_missing_value_is_explained_by_where_it_is_sought(settings: dict[str, Any], cause: str) -> None:
    recipe = Recipe(source="header:X-Sig", secrets=["s"], signed="{timestamp}.{body}", **settings)
    assert find_cause(recipe, build_pairs_callback()).startswith(cause)


def test_missing_signature_in_the_body_names_its_path() -> None:
    recipe = Recipe(source="auth.sig", secrets=["s"], signed="{field:id}")
    assert find_cause(recipe, build_pairs_callback()) == "The body has no `auth.sig`, which `signature` reads."


def test_wrong_signature_may_be_forged() -> None:
    cause = find_cause(load_scheme("github"), build_callback("github", "another"))
    assert cause.startswith("The callback may be forged.")
