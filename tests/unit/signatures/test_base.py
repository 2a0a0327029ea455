"""The authentication settings of one provider: URL tokens, networks, and what identifies a secret."""

import hmac
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import (
    CallbackAuth,
    InvalidSignature,
    Scheme,
    Trust,
    fingerprint_secret,
    format_age_error,
)
from receiver.signatures.fal import FalScheme
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.twilio import Twilio
from tests.support.factories import NOON

TOKEN, OLD_TOKEN = "an-unguessable-token", "the-token-before-it"
NEAR = CallbackAuth(None, (TOKEN,), (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")))


def test_auth_needs_scheme_or_token() -> None:
    with pytest.raises(ValueError, match="scheme or a token"):
        CallbackAuth(None)


def test_any_live_token_is_accepted() -> None:
    auth = CallbackAuth(None, (TOKEN, OLD_TOKEN))
    assert auth.accepts_token(TOKEN)
    assert auth.accepts_token(OLD_TOKEN)


@pytest.mark.parametrize("token", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é\udcff"])
def test_other_token_is_not_accepted(token: str) -> None:
    assert not CallbackAuth(None, (TOKEN,)).accepts_token(token)


def test_url_without_token_is_accepted_if_none_is_configured() -> None:
    auth = CallbackAuth(PRESETS["github"](secrets=("s",)))
    assert auth.accepts_token("")
    assert not auth.accepts_token(TOKEN)


@pytest.mark.parametrize("address", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"])
def test_address_in_allowed_network_is_accepted(address: str) -> None:
    NEAR.check_address(address)


@pytest.mark.parametrize("address", ["203.0.114.7", "::ffff:198.51.100.1", "2001:db9::1", "unknown", ""])
def test_other_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        NEAR.check_address(address)
    assert caught.value.part == "address"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "The caller's address is unknown."),
        ("::ffff:198.51.100.1", "198.51.100.1 is not in any network of allow_from."),
    ],
)
def test_message_of_a_refused_address_names_it(address: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        NEAR.check_address(address)
    assert str(caught.value) == message


def test_any_address_is_accepted_without_networks() -> None:
    CallbackAuth(None, (TOKEN,)).check_address("unknown")


def test_token_alone_verifies_without_a_secret() -> None:
    incoming = IncomingCallback("POST", "/callbacks/acme", {}, b"", NOON)
    assert NEAR.verify(incoming) is None
    with pytest.raises(InvalidSignature):
        CallbackAuth(PRESETS["github"](secrets=("s",))).verify(incoming)


def test_fingerprint_is_the_start_of_the_hash() -> None:
    assert fingerprint_secret("secret") == "2bb80d53"
    assert fingerprint_secret("secret\udcff") != fingerprint_secret("secret")


def test_age_error_names_direction_and_tolerance() -> None:
    assert format_age_error(412.4, 300.0) == "Signed 412 s ago; the tolerance is 300 s."
    assert format_age_error(-412.4, 300.0) == "Signed 412 s in the future; the tolerance is 300 s."


def test_repr_hides_tokens() -> None:
    assert TOKEN not in repr(NEAR)


REWRITTEN = "https://hooks.acme.example/in/acme"


@pytest.mark.parametrize(
    ("public_url", "target", "url"),
    [
        (REWRITTEN, "/callbacks/acme", REWRITTEN),
        (REWRITTEN, "/callbacks/acme/token?a=1&b=%3A", f"{REWRITTEN}?a=1&b=%3A"),
        (f"{REWRITTEN}/", "/callbacks/acme?", f"{REWRITTEN}/?"),
        ("https://hooks.acme.example", "/callbacks/acme?a=1", "https://hooks.acme.example/?a=1"),
        ("", "/callbacks/acme?a=1", "https://receiver.example/callbacks/acme?a=1"),
    ],
)
def test_public_url_of_provider_replaces_all_but_the_query(public_url: str, target: str, url: str) -> None:
    auth = CallbackAuth(PRESETS["square"](secrets=("s",)), public_url=public_url)
    signature = b64encode(hmac.digest(b"s", f"{url}{{}}".encode(), "sha256")).decode()
    headers = {"x-square-hmacsha256-signature": signature}
    incoming = IncomingCallback("POST", target, headers, b"{}", NOON, "https://receiver.example")
    assert auth.restore_url(incoming).url == url
    assert auth.verify(incoming) == 0
    with pytest.raises(InvalidSignature):
        auth.verify(replace(incoming, target=f"{target}{'&' if '?' in target else '?'}x"))


def sign_with_twilio(target: str) -> dict[str, str]:
    return {"x-twilio-signature": b64encode(hmac.digest(b"s", f"{REWRITTEN}{target}".encode(), "sha1")).decode()}


def sign_with_plivo(target: str) -> dict[str, str]:
    content = f"{REWRITTEN}{target}.nonce".encode()
    signature = b64encode(hmac.digest(b"s", content, "sha256")).decode()
    return {"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": "nonce"}


def sign_message(target: str) -> dict[str, str]:
    params = f'("@method" "@target-uri");created={NOON.timestamp():.0f}'
    base = f'"@method": GET\n"@target-uri": {REWRITTEN}{target}\n"@signature-params": {params}'
    signature = b64encode(hmac.digest(b"s", base.encode(), "sha256")).decode()
    return {"signature-input": f"sig={params}", "signature": f"sig=:{signature}:"}


@pytest.mark.parametrize(
    ("scheme", "sign"),
    [
        (Twilio(("s",)), sign_with_twilio),
        (PlivoV3(("s",)), sign_with_plivo),
        (HTTPMessageSignatures(("s",), components=("@method", "@target-uri")), sign_message),
    ],
)
def test_every_scheme_that_signs_the_url_uses_that_of_the_provider(
    scheme: Scheme, sign: Callable[[str], dict[str, str]]
) -> None:
    auth = CallbackAuth(scheme, public_url=REWRITTEN)
    incoming = IncomingCallback("GET", "/callbacks/acme?a=1", sign("?a=1"), b"", NOON, "https://receiver.example")
    assert auth.verify(incoming) == 0
    with pytest.raises(InvalidSignature):
        CallbackAuth(scheme).verify(incoming)


def test_any_of_several_signature_headers_makes_a_callback_plausible() -> None:
    auth = CallbackAuth(Recipe(source="header:X-Sig-1", other_headers=("X-Sig-2",), secrets=("s",)))
    incoming = IncomingCallback("POST", "/callbacks/acme", {"x-sig-2": "x"}, b"{}", NOON)
    assert auth.is_plausible(incoming)
    assert not auth.is_plausible(replace(incoming, headers={"x-sig-3": "x"}))


def test_secrets_in_all_of_several_headers_are_redacted() -> None:
    auth = CallbackAuth(Recipe(source="header:X-1", other_headers=("X-2",), secrets=("secret",), algorithm="equals"))
    incoming = IncomingCallback("POST", "/callbacks/acme", {"x-1": "secret", "x-2": "other", "x-3": "a"}, b"", NOON)
    assert auth.redact(incoming).headers == {"x-1": "[redacted]", "x-2": "[redacted]", "x-3": "a"}


def build_incoming(headers: dict[str, str] | None = None, body: bytes = b"", query: str = "") -> IncomingCallback:
    return IncomingCallback("POST", f"/callbacks/acme?{query}", headers or {}, body, NOON, "https://receiver.example")


@pytest.mark.parametrize(
    ("auth", "description"),
    [
        (
            CallbackAuth(PRESETS["github"](secrets=("s",)), trust=Trust.CONFIRM),
            "A final status only triggers a poll, and the poll decides.",
        ),
        (
            CallbackAuth(PRESETS["github"](secrets=("s",))),
            "The signature covers everything that decides about a job.",
        ),
        (
            CallbackAuth(None, (TOKEN,)),
            "Nothing is signed: whoever knows the secret, which every callback carries, can send callbacks.",
        ),
        (
            CallbackAuth(Recipe(source="header:X-Sig", secrets=("s",), algorithm="equals")),
            "Nothing is signed: whoever knows the secret, which every callback carries, can send callbacks.",
        ),
        (
            CallbackAuth(
                Recipe(source="header:X-Sig", secrets=("s",), signed="{nonce}", nonce="header:X-Nonce"),
                trust=Trust.SENDER,
            ),
            "The signature does not cover everything that decides; each nonce is accepted for one callback only.",
        ),
        (
            CallbackAuth(Recipe(source="header:X-Sig", secrets=("s",), signed="{url}"), trust=Trust.SENDER),
            "The signature does not cover everything that decides: whoever has seen a callback can send others.",
        ),
    ],
)
def test_description_of_trust_says_what_is_proved(auth: CallbackAuth, description: str) -> None:
    assert auth.describe_trust() == description


def test_nonces_count_only_where_the_signature_does_not_decide() -> None:
    scheme = Recipe(source="header:X-Sig", secrets=("s",), signed="{nonce}", nonce="header:X-Nonce")
    incoming = build_incoming({"x-sig": "x", "x-nonce": "n"})
    assert list(CallbackAuth(scheme, trust=Trust.SENDER).find_nonces(incoming)) == ["n"]
    assert list(CallbackAuth(scheme).find_nonces(incoming)) == []
    assert list(CallbackAuth(None, (TOKEN,)).find_nonces(incoming)) == []


def test_unreadable_stored_callback_has_no_nonces() -> None:
    scheme = Recipe(source="header:X-Sig", secrets=("s",), signed="{nonce}{url}", nonce="nonce")
    assert list(CallbackAuth(scheme, trust=Trust.SENDER).find_nonces(build_incoming({"x-sig": "x"}, b"{"))) == []


def test_message_id_is_that_of_the_scheme() -> None:
    scheme = Recipe(source="header:X-Sig", secrets=("s",), signed="{id}.{body}", id="header:X-Id")
    incoming = build_incoming({"x-sig": "x", "x-id": "m1"})
    assert CallbackAuth(scheme).find_message_id(incoming) == "m1"
    assert CallbackAuth(None, (TOKEN,)).find_message_id(incoming) == ""


def test_documents_are_those_of_the_scheme() -> None:
    auth = CallbackAuth(PRESETS["github"](secrets=("s",)))
    assert list(auth.find_documents(build_incoming())) == []
    assert list(CallbackAuth(None, (TOKEN,)).find_documents(build_incoming())) == []
    url = "https://keys.example/jwks.json"
    auth = SignatureSchema().load({"scheme": "rsa", "header": "X-Sig", "jwks_url": url})
    assert list(auth.find_documents(build_incoming())) == [url]


def test_certificate_url_is_read_from_the_callback() -> None:
    table = {"scheme": "rsa", "header": "X-Sig", "certificate_url": "header:X-Cert", "allowed_hosts": "certs.example"}
    url = "https://certs.example/one.pem"
    assert list(SignatureSchema().load(table).find_documents(build_incoming({"x-cert": url}))) == [url]


def test_content_is_the_body_or_the_query_without_one() -> None:
    auth = CallbackAuth(None, (TOKEN,))
    assert auth.find_content(build_incoming(body=b"body", query="a=1")) == b"body"
    assert auth.find_content(build_incoming(query="a=\udcff")) == b"a=\xff"
    assert CallbackAuth(Twilio(("s",))).find_content(build_incoming(query="a=\udcff")) == b"a=\xff"


def test_content_is_normalized_only_where_the_signature_decides() -> None:
    scheme = Recipe(source="header:X-Sig", secrets=("s",), signed="{field:id}")
    one, other = (build_incoming(body=body) for body in (b'{"id": 1, "a": 1}', b'{"id": 1, "a": 2}'))
    assert CallbackAuth(scheme).normalize_body(one) == CallbackAuth(scheme).normalize_body(other)
    assert CallbackAuth(scheme, trust=Trust.SENDER).normalize_body(one) == one.body
    assert CallbackAuth(None, (TOKEN,)).normalize_body(one) == one.body


def test_token_makes_every_callback_plausible() -> None:
    scheme = PRESETS["github"](secrets=("s",))
    assert CallbackAuth(None, (TOKEN,)).is_plausible(build_incoming())
    assert CallbackAuth(scheme, (TOKEN,)).is_plausible(build_incoming())
    assert not CallbackAuth(scheme).is_plausible(build_incoming())


@pytest.mark.parametrize(
    ("headers", "body", "is_plausible"),
    [
        ({"x-twilio-signature": "x"}, b"", True),
        ({"x-twilio-signature": ""}, b"a", False),
        ({"other": "x"}, b"a", False),
    ],
)
def test_signature_header_makes_a_callback_plausible(headers: dict[str, str], body: bytes, is_plausible: bool) -> None:
    assert CallbackAuth(Twilio(("s",))).is_plausible(build_incoming(headers, body)) is is_plausible


def test_query_is_normalized_only_where_the_signature_decides() -> None:
    scheme = Recipe(
        source="header:X-Sig", secrets=("s",), signed="{sorted_params}", parameters=SortedParameters(source="query")
    )
    one, other = build_incoming(query="a=1&b=2"), build_incoming(query="b=2&a=1")
    assert CallbackAuth(scheme).normalize_query(one) == CallbackAuth(scheme).normalize_query(other)
    assert CallbackAuth(scheme, trust=Trust.SENDER).normalize_query(other) == b"b=2&a=1"
    assert CallbackAuth(None, (TOKEN,)).normalize_query(other) == b"b=2&a=1"


def test_query_of_undecodable_bytes_is_kept() -> None:
    assert CallbackAuth(FalScheme()).normalize_query(build_incoming(query="a=\udcff")) == b"a=\xff"
