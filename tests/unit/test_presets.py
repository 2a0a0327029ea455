"""Presets: published vectors, vendors' libraries as signers and verifiers, and one suite that each preset passes."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from stripe import WebhookSignature
from svix.webhooks import Webhook

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.signatures.base import Scheme, SignatureRefused
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from tests.signers import SIGNERS, Signed

NOW = 1_700_000_000
TIMED = [name for name, signer in SIGNERS.items() if signer.signs_time]
UNTOLD = [name for name in TIMED if SIGNERS[name].options]

names = st.sampled_from(sorted(SIGNERS))
latin = st.characters(max_codepoint=255)
wire_text = st.text(latin, max_size=40)
digests = st.from_regex(r"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=", fullmatch=True)
values = st.one_of(
    wire_text,
    st.text(max_size=20),
    st.just(str(NOW)),
    digests,
    digests.map("sha256={}".format),
    digests.map("v0={}".format),
    digests.map("v1,{}".format),
    digests.map(f"t={NOW},v1={{}}".format),
    digests.map("application KEY:{}".format),
    st.just("\ud800"),
)
items = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | digests,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["additionalData", "hmacSignature", "amount", "value", "success"]), inner)
    ),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=60),
    items.map(lambda item: orjson.dumps({"notificationItems": [{"NotificationRequestItem": item}]})),
    items.map(lambda item: orjson.dumps({"notificationItems": item})),
    st.sampled_from([b"[" * 100_000, b'{"notificationItems":' * 5_000, b"1e999", b"9" * 5_000, b'"\\ud800"', b"\xff"]),
)


def scheme_of(name: str, *secrets: str, **options: Any) -> Scheme:
    """Give a preset as configured; times are compared unless other `options` are given."""
    signer = SIGNERS[name]
    given = {"scheme": name, "secrets": list(secrets or [signer.secret]), **signer.options, **options}
    scheme = SignatureSchema().load(given).scheme
    assert isinstance(scheme, Scheme)
    return scheme


def signed(name: str, now: int = NOW, secret: str = "") -> Signed:
    signer = SIGNERS[name]
    return signer.sign(secret or signer.secret, signer.body, now)


def refusal(scheme: Scheme, incoming: IncomingCallback) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(incoming)
    return caught.value


def altered(text: str, position: int, actor: int) -> str:
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + actor) % 256) + text[position + 1 :]


def test_every_preset_has_a_signer_here() -> None:
    assert PRESETS.keys() <= SIGNERS.keys() <= set(SCHEMES)


@pytest.mark.parametrize("name", SIGNERS)
class TestPreset:
    def test_what_the_provider_signs_is_verified(self, name: str) -> None:
        assert scheme_of(name).verify(signed(name).incoming(NOW)) == 0

    def test_an_empty_or_another_body_is_verified_when_it_is_signed(self, name: str) -> None:
        signer = SIGNERS[name]
        if signer.signs_body:
            for body in (b"", b"\xff\x00" * 2_000):
                assert scheme_of(name).verify(signer.sign(signer.secret, body, NOW).incoming(NOW)) == 0

    def test_the_second_live_secret_is_told_by_its_place(self, name: str) -> None:
        signer = SIGNERS[name]
        assert scheme_of(name, signer.other, signer.secret).verify(signed(name).incoming(NOW)) == 1

    def test_a_secret_that_is_not_live_verifies_nothing(self, name: str) -> None:
        signer = SIGNERS[name]
        refused = refusal(scheme_of(name, signer.other), signed(name).incoming(NOW))
        if name in PRESETS:
            assert str(refused).endswith(" matches no live secret")

    def test_an_unsigned_callback_is_refused(self, name: str) -> None:
        signer = SIGNERS[name]
        refusal(scheme_of(name), Signed({}, "", signer.body).incoming(NOW))
        refusal(scheme_of(name), Signed({}, "", b"").incoming(NOW))

    def test_a_missing_header_is_refused_by_its_name(self, name: str) -> None:
        signer, callback = SIGNERS[name], signed(name)
        for header in [signer.header, *signer.signed_headers]:
            if header and header != "content-type":
                headers = {key: value for key, value in callback.headers.items() if key != header}
                refused = refusal(scheme_of(name), replace(callback, headers=headers).incoming(NOW))
                assert refused.part == header
                if name in PRESETS:
                    assert str(refused) == f"the header {header} is missing"

    def test_a_malformed_signature_is_refused(self, name: str) -> None:
        signer, callback = SIGNERS[name], signed(name)
        if signer.header:
            for value in (
                "x",
                ",",
                "=",
                " ",
                ":",
                "v1",
                "\udcff",
                "é€",
                signer.prefix + "zz",
                callback.signature + "=",
            ):
                headers = callback.headers | {signer.header: value}
                refused = refusal(scheme_of(name), replace(callback, headers=headers).incoming(NOW))
                if name in PRESETS and name != "flutterwave":
                    assert "malformed" in str(refused)

    def test_another_prefix_is_malformed(self, name: str) -> None:
        signer, callback = SIGNERS[name], signed(name)
        if signer.prefix and name in PRESETS:
            headers = callback.headers | {signer.header: f"v9={callback.signature}"}
            refused = refusal(scheme_of(name), replace(callback, headers=headers).incoming(NOW))
            assert str(refused).endswith(f"is malformed: it does not start with {signer.prefix}")

    def test_a_refusal_tells_neither_secret_nor_signature(self, name: str) -> None:
        signer, callback = SIGNERS[name], signed(name)
        scheme = scheme_of(name, signer.other)
        refused = refusal(scheme, callback.incoming(NOW))
        shown = f"{refused!s} {refused!r} {refused.part} {scheme!r}"
        assert signer.other not in shown
        assert signed(name, secret=signer.other).signature not in shown


@given(name=names, position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_signed_body_is_refused(name: str, position: int, actor: int) -> None:
    callback = signed(name)
    if SIGNERS[name].signs_body:
        body = altered(callback.body.decode("latin-1"), position, actor).encode("latin-1")
        refusal(scheme_of(name), replace(callback, body=body).incoming(NOW))


@given(name=names, position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_a_signature_is_refused(name: str, position: int, actor: int) -> None:
    callback = signed(name)
    changed = altered(callback.signature, position, actor)
    if changed.lower() != callback.signature.lower() or not _is_hex(name):  # hex means the same in either case
        headers = {key: value.replace(callback.signature, changed) for key, value in callback.headers.items()}
        body = callback.body.replace(callback.signature.encode(), changed.encode())
        refusal(scheme_of(name), replace(callback, headers=headers, body=body).incoming(NOW))


@given(name=names, which=st.integers(0), position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_a_signed_header_is_refused(name: str, which: int, position: int, actor: int) -> None:
    callback, headers = signed(name), SIGNERS[name].signed_headers
    if headers:
        header = headers[which % len(headers)]
        incoming = callback.incoming(NOW)
        changed = altered(incoming.headers[header], position, actor)
        refusal(scheme_of(name), replace(incoming, headers={**incoming.headers, header: changed}))


def _is_hex(name: str) -> bool:
    scheme = scheme_of(name)
    return isinstance(scheme, Recipe) and scheme.encoding == "hex" and scheme.algorithm != "equals"


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("age", [-300, 0, 300])
def test_the_tolerance_has_two_sides_and_its_bounds_are_within(name: str, age: int) -> None:
    assert scheme_of(name).verify(signed(name, NOW - age).incoming(NOW)) == 0


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("age", [-301, 301, 10**9])
def test_a_stale_or_future_callback_is_refused_though_its_signature_is_right(name: str, age: int) -> None:
    refused = refusal(scheme_of(name), signed(name, NOW - age).incoming(NOW))
    assert "timestamp" in refused.part
    assert "300 s are tolerated" in str(refused)


@pytest.mark.parametrize("name", TIMED)
def test_the_tolerance_is_configurable(name: str) -> None:
    assert scheme_of(name, tolerance=1_000).verify(signed(name, NOW - 999).incoming(NOW)) == 0


@pytest.mark.parametrize("name", UNTOLD)
def test_where_the_vendor_tells_no_tolerance_none_is_invented(name: str) -> None:
    scheme = SignatureSchema().load({"scheme": name, "secrets": [SIGNERS[name].secret]}).scheme
    assert scheme.verify(signed(name, 1).incoming(NOW)) == 0


@pytest.mark.parametrize("name", ["stripe", "mux"])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda value: value.replace(f"t={NOW}", f"t={NOW + 1}"), "matches no live secret"),
        (lambda value: value.replace(f"t={NOW},", ""), "the pair t is missing"),
        (lambda value: value.replace("v1=", "v0="), "has no v1="),
        (lambda value: value + f",t={NOW}", "more than once"),
        (lambda value: value.replace(f"t={NOW}", "t=soon"), "not whole Unix seconds"),
        (lambda value: value + ",", "not a list of key=value"),
        (lambda value: value + ",v1=0" * 16, "more than 16 signatures"),
    ],
)
def test_a_changed_list_of_pairs_is_refused(name: str, change: Any, why: str) -> None:
    callback = signed(name)
    headers = {key: change(value) for key, value in callback.headers.items()}
    assert why in str(refusal(scheme_of(name), replace(callback, headers=headers).incoming(NOW)))


@pytest.mark.parametrize("name", ["stripe", "mux"])
def test_any_of_several_signatures_among_pairs_may_match(name: str) -> None:
    callback, header = signed(name), SIGNERS[name].header
    value = f"t={NOW}, v1={'0' * 64}, v0=what,  v1={callback.signature.upper()}"
    assert scheme_of(name).verify(replace(callback, headers={header: value}).incoming(NOW)) == 0


@given(
    name=names,
    headers=st.lists(values, max_size=4),
    body=bodies,
    target=st.sampled_from(["/", "/?", "/?a=%ff&a", "", "/\ud800?\xff=€"]),
    now=st.sampled_from([float(NOW), 0.0, 1e11]),
)
def test_whatever_a_stranger_sends_is_refused_and_never_breaks(
    name: str, headers: list[str], body: bytes, target: str, now: float
) -> None:
    signer = SIGNERS[name]
    where = [signer.header, *signer.signed_headers, "content-type"]
    callback = Signed(dict(zip(where, headers, strict=False)), "", body, target)
    refusal(scheme_of(name), callback.incoming(now))
    assert isinstance(scheme_of(name).message_id(callback.incoming(now)), str)


def test_the_vector_of_github_verifies() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    callback = Signed({"x-hub-signature-256": f"sha256={digest}"}, digest, b"Hello, World!")
    assert scheme_of("github", "It's a Secret to Everybody").verify(callback.incoming(NOW)) == 0


def test_the_vector_of_slack_verifies() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    digest = "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"x-slack-signature": f"v0={digest}", "x-slack-request-timestamp": "1531420618"}
    scheme = scheme_of("slack", "8f742231b10e8888abcd99yyyzzz85a5")
    assert scheme.verify(Signed(headers, digest, body).incoming(1_531_420_618)) == 0


def test_the_library_of_stripe_takes_what_our_signer_signs() -> None:
    now = int(time.time())
    callback = signed("stripe", now)
    WebhookSignature.verify_header(
        callback.body.decode(), callback.headers["stripe-signature"], SIGNERS["stripe"].secret, 300
    )


@given(body=st.text(st.characters(exclude_categories=["Cs"])), secret=st.text("abc123", min_size=1))
def test_what_the_library_of_slack_signs_we_verify(body: str, secret: str) -> None:
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(NOW), body=body)
    assert signature is not None
    headers = {"x-slack-signature": signature, "x-slack-request-timestamp": str(NOW)}
    assert scheme_of("slack", secret).verify(Signed(headers, "", body.encode()).incoming(NOW)) == 0


@given(body=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_the_library_of_svix_signs_we_verify(body: str) -> None:
    secret = SIGNERS["svix"].secret
    signature = Webhook(secret).sign("msg_9", datetime.fromtimestamp(NOW, UTC), body)
    headers = {"svix-id": "msg_9", "svix-timestamp": str(NOW), "svix-signature": signature}
    assert scheme_of("svix").verify(Signed(headers, "", body.encode()).incoming(NOW)) == 0


def _adyen_with(change: Any) -> IncomingCallback:
    callback = signed("adyen")
    document = orjson.loads(callback.body)
    change(document["notificationItems"])
    return replace(callback, body=orjson.dumps(document)).incoming(NOW)


@pytest.mark.parametrize(
    "field",
    ["pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success"],
)
def test_a_changed_field_of_any_item_of_adyen_is_refused(field: str) -> None:
    incoming = _adyen_with(lambda items: items[2]["NotificationRequestItem"].update({field: "changed"}))
    assert "matches no live secret" in str(refusal(scheme_of("adyen"), incoming))


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items.clear(),
        lambda items: items[1]["NotificationRequestItem"].pop("additionalData"),
        lambda items: items[1]["NotificationRequestItem"].update(amount={"value": 1, "currency": "EUR"}),
        lambda items: items[1]["NotificationRequestItem"].update(amount=[]),
        lambda items: items[1]["NotificationRequestItem"].update(success={"a": 1}),
        lambda items: items.append({"NotificationRequestItem": 3}),
    ],
)
def test_an_adyen_body_with_one_bad_item_or_none_is_refused(change: Any) -> None:
    refusal(scheme_of("adyen"), _adyen_with(change))


def test_an_absent_field_and_an_empty_one_are_the_same_to_adyen() -> None:
    incoming = _adyen_with(lambda items: items[0]["NotificationRequestItem"].update(originalReference=None))
    assert scheme_of("adyen").verify(incoming) == 0


def test_the_public_url_given_is_signed_and_not_the_deliverys_own() -> None:
    incoming = signed("square").incoming(NOW, public_url="http://10.0.0.7")
    assert scheme_of("square", public_url="https://callbacks.example/").verify(incoming) == 0
    refusal(scheme_of("square"), incoming)


def test_the_event_id_of_square_is_the_messages_id() -> None:
    assert scheme_of("square").message_id(signed("square").incoming(NOW)) == "evt-1"
    assert scheme_of("square").message_id(signed("square").incoming(NOW, body=b"[")) == ""
