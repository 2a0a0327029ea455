"""Presets: published vectors, vendors' libraries as signers and verifiers, and a suite for every preset."""

import hmac
import time
from base64 import b64encode
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
from receiver.signatures.base import InvalidSignature, Scheme
from receiver.signatures.coverage import CallbackDocument
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from tests.support.changes import change_character
from tests.support.signers import PUBLIC_URL, SIGNERS, SignedCallback

NOW = 1_700_000_000
TIMED = [name for name, signer in SIGNERS.items() if signer.signs_time]
WITHOUT_DOCUMENTED_TOLERANCE = [name for name in TIMED if "unit" in SIGNERS[name].options]

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


def load_scheme(name: str, *secrets: str, **options: Any) -> Scheme:
    """Return a preset as the settings build it; its age is checked unless `options` say otherwise."""
    signer = SIGNERS[name]
    settings = {"scheme": name, "secrets": list(secrets or [signer.secret]), **signer.options, **options}
    scheme = SignatureSchema().load(settings).scheme
    assert isinstance(scheme, Scheme)
    return scheme


def sign_body(name: str, now: int = NOW, secret: str = "") -> SignedCallback:
    signer = SIGNERS[name]
    return signer.sign(secret or signer.secret, signer.body, now)


def expect_rejection(scheme: Scheme, callback: IncomingCallback) -> InvalidSignature:
    """Verify a callback that must be rejected; return the error."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    return caught.value


def test_every_preset_has_a_signer() -> None:
    assert PRESETS.keys() <= SIGNERS.keys() <= set(SCHEMES)


@pytest.mark.parametrize("name", SIGNERS)
class TestPreset:
    def test_signature_of_provider_verifies(self, name: str) -> None:
        assert load_scheme(name).verify(sign_body(name).to_callback(NOW)) == 0

    def test_empty_or_binary_body_verifies_if_signed(self, name: str) -> None:
        signer = SIGNERS[name]
        if signer.signs_body:
            for body in (b"", b"\xff\x00" * 2_000):
                assert load_scheme(name).verify(signer.sign(signer.secret, body, NOW).to_callback(NOW)) == 0

    def test_verify_returns_index_of_matching_secret(self, name: str) -> None:
        signer = SIGNERS[name]
        assert load_scheme(name, signer.other_secret, signer.secret).verify(sign_body(name).to_callback(NOW)) == 1

    def test_other_secret_verifies_nothing(self, name: str) -> None:
        signer = SIGNERS[name]
        error = expect_rejection(load_scheme(name, signer.other_secret), sign_body(name).to_callback(NOW))
        if name in PRESETS:
            assert str(error).endswith(" does not match any configured secret.")

    def test_unsigned_callback_is_rejected(self, name: str) -> None:
        signer = SIGNERS[name]
        expect_rejection(load_scheme(name), SignedCallback({}, "", signer.body).to_callback(NOW))
        expect_rejection(load_scheme(name), SignedCallback({}, "", b"").to_callback(NOW))

    def test_missing_header_is_rejected_by_name(self, name: str) -> None:
        signer, callback = SIGNERS[name], sign_body(name)
        for header in [signer.header, *signer.signed_headers]:
            if header and header != "content-type":
                headers = {key: value for key, value in callback.headers.items() if key != header}
                error = expect_rejection(load_scheme(name), replace(callback, headers=headers).to_callback(NOW))
                assert error.part == header
                if name in PRESETS:
                    assert str(error) == f"The header {header} is missing."

    def test_malformed_signature_is_rejected(self, name: str) -> None:
        signer, callback = SIGNERS[name], sign_body(name)
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
                error = expect_rejection(load_scheme(name), replace(callback, headers=headers).to_callback(NOW))
                if name in PRESETS and name != "flutterwave":
                    assert "malformed" in str(error)

    def test_other_prefix_is_malformed(self, name: str) -> None:
        signer, callback = SIGNERS[name], sign_body(name)
        if signer.prefix and name in PRESETS:
            headers = callback.headers | {signer.header: f"v9={callback.signature}"}
            error = expect_rejection(load_scheme(name), replace(callback, headers=headers).to_callback(NOW))
            assert str(error).endswith(f"is malformed: it does not start with {signer.prefix}.")

    def test_error_contains_neither_secret_nor_signature(self, name: str) -> None:
        signer, callback = SIGNERS[name], sign_body(name)
        scheme = load_scheme(name, signer.other_secret)
        error = expect_rejection(scheme, callback.to_callback(NOW))
        shown = f"{error!s} {error!r} {error.part} {scheme!r}"
        assert signer.other_secret not in shown
        assert sign_body(name, secret=signer.other_secret).signature not in shown


@given(name=names, position=st.integers(0), delta=st.integers(1, 255))
def test_changed_body_byte_is_rejected(name: str, position: int, delta: int) -> None:
    callback = sign_body(name)
    if SIGNERS[name].signs_body:
        body = change_character(callback.body.decode("latin-1"), position, delta).encode("latin-1")
        expect_rejection(load_scheme(name), replace(callback, body=body).to_callback(NOW))


@given(name=names, position=st.integers(0), delta=st.integers(1, 255))
def test_changed_signature_character_is_rejected(name: str, position: int, delta: int) -> None:
    callback = sign_body(name)
    changed = change_character(callback.signature, position, delta)
    if not _is_same_signature(name, changed, callback.signature):
        headers = {key: value.replace(callback.signature, changed) for key, value in callback.headers.items()}
        body = callback.body.replace(callback.signature.encode(), changed.encode())
        expect_rejection(load_scheme(name), replace(callback, headers=headers, body=body).to_callback(NOW))


@given(name=names, index=st.integers(0), position=st.integers(0), delta=st.integers(1, 255))
def test_changed_signed_header_is_rejected(name: str, index: int, position: int, delta: int) -> None:
    callback, headers = sign_body(name), SIGNERS[name].signed_headers
    if headers:
        header = headers[index % len(headers)]
        incoming = callback.to_callback(NOW)
        changed = change_character(incoming.headers[header], position, delta)
        expect_rejection(load_scheme(name), replace(incoming, headers={**incoming.headers, header: changed}))


def _is_same_signature(name: str, changed: str, signature: str) -> bool:
    """Return whether a recipe takes a changed text for the same signature: in another case or the other alphabet."""
    scheme = load_scheme(name)
    if not isinstance(scheme, Recipe) or scheme.algorithm == "equals":
        return changed == signature
    if scheme.encoding == "hex":
        return changed.lower() == signature.lower()
    has_both_alphabets = bool({*changed} & {*"+/"}) and bool({*changed} & {*"-_"})
    return not has_both_alphabets and changed.replace("-", "+").replace("_", "/") == signature


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("age", [-300, 0, 300])
def test_tolerance_is_two_sided_and_inclusive(name: str, age: int) -> None:
    assert load_scheme(name).verify(sign_body(name, NOW - age).to_callback(NOW)) == 0


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("age", [-301, 301, 10**9])
def test_stale_or_future_callback_is_rejected(name: str, age: int) -> None:
    error = expect_rejection(load_scheme(name), sign_body(name, NOW - age).to_callback(NOW))
    assert "timestamp" in error.part
    assert "the tolerance is 300 s" in str(error)


@pytest.mark.parametrize("name", TIMED)
def test_tolerance_is_configurable(name: str) -> None:
    assert load_scheme(name, tolerance=1_000).verify(sign_body(name, NOW - 999).to_callback(NOW)) == 0


@pytest.mark.parametrize("name", WITHOUT_DOCUMENTED_TOLERANCE)
def test_undocumented_tolerance_is_not_checked_by_default(name: str) -> None:
    scheme = SignatureSchema().load({"scheme": name, "secrets": [SIGNERS[name].secret]}).scheme
    assert scheme.verify(sign_body(name, 1).to_callback(NOW)) == 0


@pytest.mark.parametrize("name", ["stripe", "mux"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.replace(f"t={NOW}", f"t={NOW + 1}"), "does not match any configured secret"),
        (lambda value: value.replace(f"t={NOW},", ""), "The pair t is missing"),
        (lambda value: value.replace("v1=", "v0="), "has no v1="),
        (lambda value: value + f",t={NOW}", "more than once"),
        (lambda value: value.replace(f"t={NOW}", "t=soon"), "not Unix seconds"),
        (lambda value: value + ",", "not a list of key=value"),
        (lambda value: value + ",v1=0" * 16, "more than 16 signatures"),
    ],
)
def test_changed_pairs_are_rejected(name: str, change: Any, message: str) -> None:
    callback = sign_body(name)
    headers = {key: change(value) for key, value in callback.headers.items()}
    assert message in str(expect_rejection(load_scheme(name), replace(callback, headers=headers).to_callback(NOW)))


@pytest.mark.parametrize("name", ["stripe", "mux"])
def test_any_signature_among_pairs_may_match(name: str) -> None:
    callback, header = sign_body(name), SIGNERS[name].header
    value = f"t={NOW}, v1={'0' * 64}, v0=what,  v1={callback.signature.upper()}"
    assert load_scheme(name).verify(replace(callback, headers={header: value}).to_callback(NOW)) == 0


@given(
    name=names,
    headers=st.lists(values, max_size=4),
    body=bodies,
    target=st.sampled_from(["/", "/?", "/?a=%ff&a", "", "/\ud800?\xff=€"]),
    now=st.sampled_from([float(NOW), 0.0, 1e11]),
)
def test_arbitrary_input_is_rejected(name: str, headers: list[str], body: bytes, target: str, now: float) -> None:
    signer = SIGNERS[name]
    header_names = [signer.header, *signer.signed_headers, "content-type"]
    callback = SignedCallback(dict(zip(header_names, headers, strict=False)), "", body, target)
    expect_rejection(load_scheme(name), callback.to_callback(now))
    assert isinstance(load_scheme(name).message_id(callback.to_callback(now)), str)


def test_github_vector_verifies() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    callback = SignedCallback({"x-hub-signature-256": f"sha256={digest}"}, digest, b"Hello, World!")
    assert load_scheme("github", "It's a Secret to Everybody").verify(callback.to_callback(NOW)) == 0


def test_slack_vector_verifies() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    digest = "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"x-slack-signature": f"v0={digest}", "x-slack-request-timestamp": "1531420618"}
    scheme = load_scheme("slack", "8f742231b10e8888abcd99yyyzzz85a5")
    assert scheme.verify(SignedCallback(headers, digest, body).to_callback(1_531_420_618)) == 0


def test_stripe_library_verifies_own_signature() -> None:
    now = int(time.time())
    callback = sign_body("stripe", now)
    WebhookSignature.verify_header(
        callback.body.decode(), callback.headers["stripe-signature"], SIGNERS["stripe"].secret, 300
    )


@given(body=st.text(st.characters(exclude_categories=["Cs"])), secret=st.text("abc123", min_size=1))
def test_signature_of_slack_library_verifies(body: str, secret: str) -> None:
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(NOW), body=body)
    assert signature is not None
    headers = {"x-slack-signature": signature, "x-slack-request-timestamp": str(NOW)}
    assert load_scheme("slack", secret).verify(SignedCallback(headers, "", body.encode()).to_callback(NOW)) == 0


@given(body=st.text(st.characters(exclude_categories=["Cs"])))
def test_signature_of_svix_library_verifies(body: str) -> None:
    secret = SIGNERS["svix"].secret
    signature = Webhook(secret).sign("msg_9", datetime.fromtimestamp(NOW, UTC), body)
    headers = {"svix-id": "msg_9", "svix-timestamp": str(NOW), "svix-signature": signature}
    assert load_scheme("svix").verify(SignedCallback(headers, "", body.encode()).to_callback(NOW)) == 0


def _change_adyen_items(change: Any) -> IncomingCallback:
    callback = sign_body("adyen")
    document = orjson.loads(callback.body)
    change(document["notificationItems"])
    return replace(callback, body=orjson.dumps(document)).to_callback(NOW)


@pytest.mark.parametrize(
    "field",
    ["pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success"],
)
def test_changed_adyen_field_is_rejected(field: str) -> None:
    incoming = _change_adyen_items(lambda items: items[2]["NotificationRequestItem"].update({field: "changed"}))
    assert "does not match any configured secret" in str(expect_rejection(load_scheme("adyen"), incoming))


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
def test_adyen_body_with_invalid_or_no_items_is_rejected(change: Any) -> None:
    expect_rejection(load_scheme("adyen"), _change_adyen_items(change))


def test_absent_adyen_field_equals_empty_field() -> None:
    incoming = _change_adyen_items(lambda items: items[0]["NotificationRequestItem"].update(originalReference=None))
    assert load_scheme("adyen").verify(incoming) == 0


def test_configured_public_url_replaces_callback_url() -> None:
    incoming = sign_body("square").to_callback(NOW, public_url="http://10.0.0.7")
    assert load_scheme("square", public_url="https://callbacks.example/").verify(incoming) == 0
    expect_rejection(load_scheme("square"), incoming)


def test_square_event_id_is_message_id() -> None:
    assert load_scheme("square").message_id(sign_body("square").to_callback(NOW)) == "evt-1"
    assert load_scheme("square").message_id(sign_body("square").to_callback(NOW, body=b"[")) == ""


HUBSPOT_SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
HUBSPOT_EVENTS = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW",'
    b'"appId":54321}]'
)


@pytest.mark.parametrize(
    ("name", "method", "body", "digest"),
    [
        ("hubspot-v1", "POST", HUBSPOT_EVENTS, "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"),
        ("hubspot-v2", "GET", b"", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
        (
            "hubspot-v2",
            "POST",
            b'{"example_field":"example_value"}',
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        ),
    ],
)
def test_hubspot_vectors_verify(name: str, method: str, body: bytes, digest: str) -> None:
    callback = SignedCallback({"x-hubspot-signature": digest}, digest, body, "/webhook_uri")
    incoming = callback.to_callback(NOW, method=method, public_url="https://www.example.com")
    scheme = load_scheme(name, HUBSPOT_SECRET)
    assert scheme.verify(incoming) == 0
    expect_rejection(scheme, replace(incoming, body=body + b" "))


def test_box_vector_verifies_by_either_key() -> None:
    body = (
        b'{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED",'
        b'"source":{"id":"1234567890","type":"file","name":"Test.txt"}}'
    )
    headers = {
        "box-delivery-timestamp": "2020-01-01T00:00:00-07:00",
        "box-signature-primary": "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=",
        "box-signature-secondary": "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=",
    }
    callback, received_at = SignedCallback(headers, "", body), datetime(2020, 1, 1, 7, 5, tzinfo=UTC).timestamp()
    for key in ("SamplePrimaryKey", "SampleSecondaryKey"):
        assert load_scheme("box", key, tolerance=600).verify(callback.to_callback(received_at)) == 0
    expect_rejection(load_scheme("box", "IncorrectKey"), callback.to_callback(received_at))
    stale = expect_rejection(load_scheme("box", "SamplePrimaryKey", tolerance=600), callback.to_callback(NOW))
    assert stale.part == "box-delivery-timestamp"


@pytest.mark.parametrize("name", ["box", "docusign", "hookdeck"])
def test_signature_in_another_header_of_provider_verifies(name: str) -> None:
    other = {
        "box": "box-signature-secondary",
        "docusign": "x-docusign-signature-2",
        "hookdeck": "x-hookdeck-signature-2",
    }
    callback, header = sign_body(name), SIGNERS[name].header
    headers = callback.headers | {header: sign_body(name, secret="new").signature, other[name]: callback.signature}
    assert load_scheme(name).verify(replace(callback, headers=headers).to_callback(NOW)) == 0
    del headers[header]
    assert load_scheme(name).verify(replace(callback, headers=headers).to_callback(NOW)) == 0


def test_persona_signs_two_sets_while_a_secret_is_replaced() -> None:
    new, old = sign_body("persona", secret="new"), sign_body("persona", NOW - 5)
    value = " ".join([new.headers["persona-signature"], old.headers["persona-signature"]])
    callback = replace(old, headers={"persona-signature": value})
    assert load_scheme("persona").verify(callback.to_callback(NOW)) == 0
    assert load_scheme("persona", "new").verify(callback.to_callback(NOW)) == 0
    mixed = value.replace(new.signature, "x").replace(old.signature, new.signature).replace("x", old.signature)
    expect_rejection(load_scheme("persona"), replace(old, headers={"persona-signature": mixed}).to_callback(NOW))


def test_hubspot_v3_signs_the_query_decoded() -> None:
    target = "/callbacks/acme?to=a%40b.example%3A1&x=%26"
    content = f"POST{PUBLIC_URL}/callbacks/acme?to=a@b.example:1&x=%26{{}}{NOW}000"
    signature = b64encode(hmac.digest(b"s", content.encode(), "sha256")).decode()
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": f"{NOW}000"}
    scheme = load_scheme("hubspot-v3", "s")
    assert scheme.verify(SignedCallback(headers, "", b"{}", target).to_callback(NOW)) == 0
    other = SignedCallback(headers, "", b"{}", target.replace("%26", "&"))
    expect_rejection(scheme, other.to_callback(NOW))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_sumsub_names_its_algorithm(algorithm: str) -> None:
    signature = hmac.digest(b"s", b"{}", algorithm).hex()
    headers = {"x-payload-digest": signature, "x-payload-digest-alg": f"HMAC_{algorithm.upper()}_HEX"}
    assert load_scheme("sumsub", "s").verify(SignedCallback(headers, "", b"{}").to_callback(NOW)) == 0
    weak = {"x-payload-digest": hmac.digest(b"s", b"{}", "sha1").hex(), "x-payload-digest-alg": "HMAC_SHA1_HEX"}
    assert expect_rejection(load_scheme("sumsub", "s"), SignedCallback(weak, "", b"{}").to_callback(NOW))


@pytest.mark.parametrize(
    ("name", "document", "is_covered"),
    [
        ("mandrill", CallbackDocument("form", "mandrill_events", "[]"), True),
        ("mandrill", CallbackDocument("json"), False),
        ("transloadit", CallbackDocument("form", "transloadit"), True),
        ("transloadit", CallbackDocument("form"), False),
        ("hubspot-v1", CallbackDocument("json", items="[]"), True),
        ("hubspot-v1", CallbackDocument("form"), False),
        ("cloudinary", CallbackDocument("form"), True),
    ],
)
def test_preset_covers_what_its_provider_signs(name: str, document: CallbackDocument, is_covered: bool) -> None:
    assert load_scheme(name).coverage.covers_document(document) is is_covered


@pytest.mark.parametrize("name", ["mandrill", "transloadit"])
def test_changed_form_is_rejected(name: str) -> None:
    callback = sign_body(name)
    assert load_scheme(name).verify(callback.to_callback(NOW)) == 0
    for old, new in ((b"%7B", b"%7C"), (b"%7D", b"x")):
        expect_rejection(load_scheme(name), replace(callback, body=callback.body.replace(old, new)).to_callback(NOW))
