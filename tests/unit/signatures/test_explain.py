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
from receiver.signatures.explain import Explanation, explain_signature
from receiver.signatures.keys import PublicKey
from receiver.signatures.recipe import Recipe
from receiver.signatures.sns import Sns
from receiver.signatures.standard_webhooks import StandardWebhooks
from receiver.signatures.standard_webhooks import sign as sign_standard_webhook
from tests.support.factories import NOON
from tests.support.recipes import PUBLIC_KEY
from tests.support.signers import ADYEN_BODY, SIGNERS

DOCUMENT = {"id": "ref-1", "state": "DONE", "name": "Zoë", "list": [1, 2]}
BODY = json.dumps(DOCUMENT).encode()
MODIFIED = "The body was modified in transit, for example by a proxy that encodes it again"
WRONG_FORM = "The body does not have the form that `signature` expects: see which form the provider signs."
MISSING_HEADER = (
    "The provider does not sign these callbacks, a proxy in between removes the header, or its name has underscores in "
    "place of hyphens: web servers drop such headers."
)
FORGED = (
    "The callback may be forged. If it is the provider's, it was signed with a secret that is not configured, or its "
    "body was modified in transit."
)


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


def load_hmac(**settings: object) -> Scheme:
    auth: CallbackAuth = SignatureSchema().load({"scheme": "hmac", "header": "X-Sig", "secrets": ["s"]} | settings)
    assert auth.scheme is not None
    return auth.scheme


def sign(content: bytes, secret: bytes = b"s") -> bytes:
    return hmac.digest(secret, content, "sha256")


def build_signed(signature: str, **headers: str) -> IncomingCallback:
    return IncomingCallback("POST", "/", {"x-sig": signature} | headers, BODY, NOON)


@pytest.mark.parametrize("name", ["github", "stripe", "slack", "shopify", "standard-webhooks", "svix"])
def test_wrong_secret_or_changed_body_is_reported(name: str) -> None:
    explanation = explain_signature(load_scheme(name), build_callback(name, SIGNERS[name].other_secret))
    assert explanation.part
    assert explanation.causes == (FORGED,)


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


@pytest.mark.parametrize(
    ("received", "signed", "variant"),
    [
        (b" [1] ", b"[1]", "without the surrounding white space"),
        (b"[1]", b"[1]\n", "with a line break at its end"),
        (b"[\r\n1]", b"[\n1]", "with LF line breaks"),
        (b"[\n1]", b"[\r\n1]", "with CRLF line breaks"),
        (BODY, json.dumps(DOCUMENT, ensure_ascii=False).encode(), "as JSON with the separators (', ', ': ')"),
        (
            BODY,
            json.dumps(DOCUMENT, ensure_ascii=False, separators=(",", ":")).encode(),
            "as JSON with the separators (',', ':')",
        ),
        (json.dumps(DOCUMENT, indent=1).encode(), BODY, "as JSON with the separators (', ', ': ') in ASCII"),
        (
            BODY,
            json.dumps(DOCUMENT, separators=(",", ":")).encode(),
            "as JSON with the separators (',', ':') in ASCII",
        ),
    ],
)
def test_form_in_which_the_body_was_signed_is_named(received: bytes, signed: bytes, variant: str) -> None:
    callback = replace(build_signed(sign(signed).hex()), body=received)
    assert find_cause(load_hmac(), callback) == f"{MODIFIED}: it was signed {variant}."


@pytest.mark.parametrize("body", [b"null", b"[", b'["\\ud800"]'])
def test_body_that_cannot_be_encoded_again_is_no_cause(body: bytes) -> None:
    assert find_cause(load_hmac(), replace(build_signed("0" * 64), body=body)) == FORGED


@pytest.mark.parametrize("seconds", [-4_000, 4_000])
@pytest.mark.parametrize("name", ["stripe", "slack", "standard-webhooks"])
def test_wrong_clock_is_reported_with_age(name: str, seconds: int) -> None:
    stale = replace(build_callback(name), received_at=NOON + timedelta(seconds=seconds))
    explanation = explain_signature(load_scheme(name), stale)
    assert "4000 s" in (explanation.message or "")
    assert "clock" in explanation.causes[0]


@pytest.mark.parametrize(
    ("headers", "public_url", "origin"),
    [
        ({"x-forwarded-host": "a.example"}, "", "https://a.example"),
        ({"x-forwarded-host": "a.example", "host": "b.example"}, "", "https://b.example"),
        ({"host": "b.example"}, "https://c.example/in", "https://c.example"),
        ({"host": ""}, "https://c.example", "http://c.example"),
        ({}, "", "http://own.example"),
    ],
)
def test_host_for_which_a_callback_was_signed_is_named(headers: dict[str, str], public_url: str, origin: str) -> None:
    signature = sign(f"{origin}/c/acme?a=1".encode()).hex()
    callback = replace(build_signed(signature, **headers), target="/c/acme?a=1", public_url="https://own.example")
    scheme = Recipe(source="header:X-Sig", secrets=["s"], signed="{url}", public_url=public_url)
    assert find_cause(scheme, callback) == (
        f"The callback was signed for {origin}/c/acme?a=1: set public_url to the URL that the provider calls."
    )


@pytest.mark.parametrize(
    ("target", "signed_target"),
    [
        ("/c/acme", "/c/acme/"),
        ("/c/ACMEX/", "/c/ACMEX"),
        ("/c/acme?a=/?", "/c/acme/?a=/?"),
        ("/c/acme/?a=/?", "/c/acme?a=/?"),
        ("/c/acme?a=1", "/c/acme"),
    ],
)
def test_target_for_which_a_callback_was_signed_is_named(target: str, signed_target: str) -> None:
    signature = sign(f"https://own.example{signed_target}".encode()).hex()
    callback = replace(build_signed(signature), target=target, public_url="https://own.example")
    assert find_cause(load_hmac(signed="{url}"), callback) == (
        f"The callback was signed for https://own.example{signed_target}: set public_url to the URL that the provider "
        "calls."
    )


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
    callback = replace(signed, headers={"x-hub-signature-256": value})
    assert find_cause(load_scheme("github"), callback) == "The signature lacks its prefix sha256=."


def test_prefix_that_a_parameter_lacks_is_reported() -> None:
    scheme = Recipe(source="query:sig", secrets=["s"], prefix="v1=")
    callback = replace(build_signed("", sig="x"), target=f"/?sig={sign(BODY).hex()}")
    assert find_cause(scheme, callback) == "The provider does not send the prefix."


@pytest.mark.parametrize("prefix", ["", "whsec_"])
def test_secret_that_the_signer_did_not_decode_is_reported(prefix: str) -> None:
    key = b64encode(b"a key of the provider")
    signed = build_callback("standard-webhooks")
    message_id, time = signed.headers["webhook-id"], int(signed.headers["webhook-timestamp"])
    signature = sign_standard_webhook(prefix.encode() + key, message_id, time, BODY)
    callback = replace(signed, headers={**signed.headers, "webhook-signature": signature})
    scheme = StandardWebhooks([PublicKey(PUBLIC_KEY), b"a key of the provider"])
    assert find_cause(scheme, callback) == (
        "The signer used the text of the secret as its key, without decoding the base64."
    )


def test_wrong_key_encoding_is_reported() -> None:
    secret = SIGNERS["standard-webhooks"].secret
    auth: CallbackAuth = SignatureSchema().load(
        {"scheme": "hmac", "header": "webhook-signature", "prefix": "v1,", "encoding": "base64", "secrets": [secret]}
        | {"signed": "{id}.{timestamp}.{body}", "id": "header:webhook-id", "timestamp": "header:webhook-timestamp"}
    )
    assert auth.scheme is not None
    assert "decoded as base64" in find_cause(auth.scheme, build_callback("standard-webhooks"))


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("github", "x-hub-signature-256"),
        ("standard-webhooks", "webhook-id"),
        ("standard-webhooks", "webhook-timestamp"),
        ("standard-webhooks", "webhook-signature"),
        ("svix", "svix-signature"),
    ],
)
def test_missing_header_is_reported_with_likely_cause(name: str, header: str) -> None:
    callback = build_callback(name)
    headers = {other: value for other, value in callback.headers.items() if other != header}
    explanation = explain_signature(load_scheme(name), replace(callback, headers=headers))
    assert (explanation.part, explanation.message) == (header, f"The header {header} is missing.")
    assert explanation.causes == (MISSING_HEADER,)


@pytest.mark.parametrize(
    ("unit", "time", "cause"),
    [
        ("us", str(int(NOON.timestamp())), "The timestamp is in another unit: set unit = s."),
        ("iso", str(int(NOON.timestamp())), "The timestamp is in another unit: set unit = s."),
        ("s", f"{int(NOON.timestamp())}000", "The timestamp is in another unit: set unit = ms."),
        ("ms", f"{int(NOON.timestamp())}", "The timestamp is in another unit: set unit = s."),
        ("s", "2026-11-23T12:00:00Z", "The timestamp is in another unit: set unit = iso."),
        ("s", "12:00", "The signature is right, but the timestamp cannot be read as unit = s."),
        (
            "s",
            f"{int(NOON.timestamp()) - 900}",
            "The signature is right, but the timestamp is not: a clock is wrong, or the callback was sent again late.",
        ),
    ],
)
def test_unreadable_time_is_not_taken_for_a_wrong_clock(unit: str, time: str, cause: str) -> None:
    scheme = load_hmac(signed="{timestamp}.{body}", timestamp="header:T", unit=unit, tolerance=300)
    signature = sign(f"{time}.".encode() + BODY).hex()
    assert find_cause(scheme, build_signed(signature, t=time)) == cause


@pytest.mark.parametrize("number", [1, 2])
def test_signature_among_several_headers_is_reported(number: int) -> None:
    values = [sign(b"other").hex(), sign(b"other").hex()]
    values[number - 1] = sign(BODY).hex()
    assert find_cause(load_hmac(), build_signed(",".join(values))) == (
        f"The header x-sig was sent several times, and our signature is in number {number}. Have the provider send one "
        "signature, or set format = list with a comma as separator."
    )
    standard = build_callback("standard-webhooks")
    header = [f"v1,{b64encode(sign(b'other')).decode()}"]
    header.insert(number - 1, standard.headers["webhook-signature"])
    joined = replace(standard, headers={**standard.headers, "webhook-signature": ",".join(header)})
    assert f"in number {number}" in find_cause(load_scheme("standard-webhooks"), joined)


@pytest.mark.parametrize(("number", "is_found"), [(17, True), (18, False)])
def test_signature_is_sought_in_17_joined_headers(number: int, *, is_found: bool) -> None:
    values = ["0" * 64] * (number - 1) + [sign(BODY).hex()]
    assert bool(explain_signature(load_hmac(), build_signed(",".join(values))).causes) == is_found


@pytest.mark.parametrize("headers", [{"x-sig": sign(b"other").hex()}, {}])
def test_signature_in_another_header_is_reported(headers: dict[str, str]) -> None:
    callback = replace(build_signed(""), headers={**headers, "x-sig-2": sign(BODY).hex()})
    assert find_cause(load_hmac(), callback) == "The signature is in the header x-sig-2: set header to it."


@pytest.mark.parametrize(("length", "is_found"), [(1_000, True), (1_001, False)])
def test_signature_is_sought_in_headers_of_1000_characters(length: int, *, is_found: bool) -> None:
    pair = f",v1={sign(BODY).hex()}"
    callback = build_signed(f"v1={'0' * 64}", **{"x-sig-2": f"t={'0' * (length - len(pair) - 2)}{pair}"})
    cause = find_cause(Recipe(source="header:X-Sig", secrets=["s"], format="pairs", pair="v1"), callback)
    assert cause == ("The signature is in the header x-sig-2: set header to it." if is_found else FORGED)


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
    assert find_cause(scheme, signed) == "The query of the URL was signed decoded: set decode_url = true."


@pytest.mark.parametrize(
    ("secret", "cause"),
    [
        ("s\n", "ends with a line break"),
        ("s\r\n", "ends with CR and LF"),
        ("s ", "ends with a blank"),
        (" s", "begins with a blank"),
    ],
)
def test_blank_in_secret_of_provider_is_reported(secret: str, cause: str) -> None:
    expected = f"The provider signs with a secret that {cause}. Enter it there again."
    assert find_cause(load_hmac(), build_signed(sign(BODY, secret.encode()).hex())) == expected
    twilio = SIGNERS["twilio"].sign(secret, BODY, 0).to_callback(0)
    auth: CallbackAuth = SignatureSchema().load({"scheme": "twilio", "secrets": ["s"]})
    assert auth.scheme is not None
    assert find_cause(auth.scheme, twilio) == expected


def test_blank_in_configured_secret_is_reported() -> None:
    scheme = Recipe(source="header:X-Sig", secrets=["another", " s\n"])
    assert find_cause(scheme, build_signed(sign(BODY).hex())) == (
        "A configured secret has white space around it, which is not part of the provider's."
    )


def test_callback_that_is_valid_now_is_reported() -> None:
    cause = "The signature is valid with the current settings. Replay the callback."
    explanation = explain_signature(load_scheme("github"), build_callback("github"))
    assert explanation == Explanation(None, None, (cause,))


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
            "The URL that was called has no parameter `at`. Does `signature` name the right one?",
        ),
        (
            {"timestamp": "pair:at", "format": "pairs", "pair": "v1"},
            "The signature in the header `x-sig` has no pair `at`. Does `signature` name the right one?",
        ),
        (
            {"timestamp": "header:X-At"},
            MISSING_HEADER,
        ),
    ],
)
def test_missing_value_is_explained_by_where_it_is_sought(settings: dict[str, Any], cause: str) -> None:
    recipe = Recipe(source="header:X-Sig", secrets=["s"], signed="{timestamp}.{body}", **settings)
    assert find_cause(recipe, build_pairs_callback()) == cause


def test_missing_pair_of_a_parameter_is_explained_without_a_header() -> None:
    recipe = Recipe(
        source="query:sig", secrets=["s"], signed="{timestamp}.{body}", timestamp="pair:t", format="pairs", pair="v1"
    )
    callback = replace(build_signed("", sig="v1=1"), target="/?sig=v1=1")
    assert find_cause(recipe, callback) == "The signature has no pair `t`. Does `signature` name the right one?"


@pytest.mark.parametrize("settings", [{}, {"format": "pairs", "pair": "v1"}])
def test_missing_signature_in_the_body_names_its_path(settings: dict[str, Any]) -> None:
    recipe = Recipe(source="auth.sig", secrets=["s"], signed="{field:id}", **settings)
    assert find_cause(recipe, build_pairs_callback()) == "The body has no `auth.sig`, which `signature` reads."


def test_missing_token_in_the_body_names_its_path() -> None:
    scheme = SignatureSchema().load({"scheme": "jwt", "secrets": ["s" * 32], "source": "auth.token"}).scheme
    assert find_cause(scheme, build_pairs_callback()) == "The body has no `auth.token`, which `signature` reads."


def test_missing_member_is_explained_by_the_form_of_the_body() -> None:
    explanation = explain_signature(load_hmac(signed="{raw:data}"), build_signed("0" * 64))
    assert explanation == Explanation("body", "The member data is missing.", (WRONG_FORM,))


def test_missing_field_of_sns_is_explained_by_the_form_of_the_body() -> None:
    topic = "arn:aws:sns:us-west-2:123456789012:jobs"
    message = {"Type": "Notification", "TopicArn": topic, "SignatureVersion": "2"}
    callback = replace(build_signed(""), body=json.dumps(message).encode())
    explanation = explain_signature(Sns((topic,)), callback)
    assert explanation == Explanation(
        "Message", "The field Message is missing, malformed or not signed.", (WRONG_FORM,)
    )


def test_wrong_signature_in_the_body_may_be_forged() -> None:
    recipe = Recipe(source="sig", secrets=["s"], signed="{field:id}")
    callback = replace(build_signed(""), body=json.dumps({"id": "ref-1", "sig": "0" * 64}).encode())
    message = "The field sig does not match any configured secret."
    assert explain_signature(recipe, callback) == Explanation("signature", message, (FORGED,))
