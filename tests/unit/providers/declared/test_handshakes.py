"""Which deliveries are handshakes; what each kind is answered is in `tests.contract.test_guide_handshakes`."""

import gzip
import hmac
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.providers.declared.deliveries import MAX_HANDSHAKE_BYTES
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import callbacks_of
from tests.support.factories import NOON
from tests.support.handshakes import HMAC, SECRET, build, build_delivery, respond

TOKEN_CHECK = '{ kind = "get-echo", token_at = "query:t", token = "let-me-in", echo = "query:c" }'
PING = '{ kind = "ping", when = { "header:x-type" = "ping" } }'
ECHO = '{ kind = "post-echo", when = { type = "v" }, echo = "c" }'
UNSIGNED = '{ kind = "ping", when = { webhook_id = "*" }, signed = false }'
EVERY_KIND = f"""[ {TOKEN_CHECK}, {PING}, {ECHO}, {UNSIGNED}, {{ kind = "get", when = {{ "query:x" = "*" }} }},
    {{ kind = "get-hmac", echo = "query:h", secret = "s", reply = {{ r = "{{hash}}" }} }},
    {{ kind = "get-digest", echo = "query:d", secret = "s", content = "{{echo}}{{secret}}",
       reply = {{ r = "{{hash}}" }} }},
    {{ kind = "post-hmac", when = {{ type = "h" }}, echo = "c", secret = "s" }},
    {{ kind = "header-echo", header = "X-Hook-Secret" }},
    {{ kind = "confirm", when = {{ type = "c" }}, url = "c", allowed_hosts = "hooks.example.com" }} ]"""


def get(query: str) -> IncomingCallback:
    return build_delivery(method="GET", target=f"/callbacks/acme?{query}")


def read_body(handshake: str, delivery: IncomingCallback) -> bytes | None:
    response = respond(handshake, delivery)
    return response.ack.body if response else None


def test_later_handshake_answers_what_an_earlier_one_refuses() -> None:
    handshakes = f'[ {TOKEN_CHECK}, {{ kind = "get-echo", echo = "query:challenge" }} ]'
    assert read_body(handshakes, get("t=let-me-in&c=1")) == b"1"
    assert read_body(handshakes, get("challenge=2")) == b"2"
    with pytest.raises(InvalidSignature):
        read_body(handshakes, get("t=let-me-inn&c=1"))


def test_first_refusal_of_several_is_reported() -> None:
    keyed = '{ kind = "get-hmac", echo = "query:h", secret = "s", reply = { r = "{hash}" } }'
    with pytest.raises(InvalidSignature, match="verify token is not the configured one"):
        read_body(f"[ {TOKEN_CHECK}, {keyed} ]", get("t=wrong&c=1&h={}"))


def test_token_is_required_where_callbacks_come_by_get_too() -> None:
    settings = callbacks_of(build(TOKEN_CHECK, HMAC | {"trust": "sender"}, methods=["GET", "POST"])).settings
    assert settings.handshake
    for query in ("c=1", "id=1&status=done&c=1"):
        assert settings.handshake.respond(get(query), lambda: 0) is None


@pytest.mark.parametrize(
    ("expected", "value", "is_match"),
    [
        ('"1"', 1, True),
        ("1", "1", True),
        ("1", 1, True),
        ("true", True, True),
        ('"true"', True, True),
        ('"*"', "x", True),
        ('"*"', 0, True),
        ('"*"', {}, True),
        ('"*"', False, True),
        ('"*"', None, False),
        ('"1"', 2, False),
        ('"1"', ["1"], False),
        ('"None"', None, False),
    ],
)
def test_condition_compares_texts(expected: str, value: object, is_match: bool) -> None:
    handshake = f'{{ kind = "ping", when = {{ type = {expected} }} }}'
    assert (respond(handshake, build_delivery({"type": value})) is not None) == is_match


def test_echo_that_is_missing_makes_no_handshake() -> None:
    assert respond(ECHO, build_delivery({"type": "v"})) is None
    assert respond(ECHO, build_delivery({"type": "v", "c": ["x"]})) is None
    assert read_body(ECHO, build_delivery({"type": "v", "c": ""})) == b""


def test_kept_handshake_is_marked() -> None:
    for keep, is_kept in (("true", True), ("false", False)):
        response = respond(f'{{ kind = "ping", when = {{ t = "*" }}, keep = {keep} }}', build_delivery({"t": 1}))
        assert response is not None
        assert response.is_kept == is_kept


def test_form_is_read_as_form_by_a_json_provider() -> None:
    delivery = build_delivery(b"webhook_id=5", media_type=FORM_MEDIA_TYPE)
    assert respond(UNSIGNED, replace(delivery, headers={"content-type": FORM_MEDIA_TYPE})) is not None
    assert respond(UNSIGNED, replace(delivery, headers={"content-type": "application/json"})) is None


def test_json_in_a_form_field_is_read() -> None:
    settings = {"body": "form", "json_field": "payload"}
    for body, is_match in ((b"payload=%7B%22type%22%3A%22v%22%2C%22c%22%3A%22x%22%7D", True), (b"type=v&c=x", True)):
        delivery = build_delivery(body, media_type=FORM_MEDIA_TYPE)
        assert (respond(ECHO, delivery, **settings) is not None) == is_match


def test_compressed_handshake_is_read() -> None:
    delivery = build_delivery({"type": "v", "c": "x"})
    headers = dict(delivery.headers) | {"content-encoding": "gzip"}
    assert read_body(ECHO, replace(delivery, headers=headers, body=gzip.compress(delivery.body))) == b"x"
    assert respond(ECHO, replace(delivery, headers=headers)) is None


def test_large_body_is_no_handshake() -> None:
    """Anybody could otherwise have large bodies parsed, which takes a thousand times as long as their signature."""
    delivery = build_delivery({"type": "v", "c": "x", "padding": "x" * MAX_HANDSHAKE_BYTES})
    headers = dict(delivery.headers) | {"content-encoding": "gzip"}
    assert respond(ECHO, delivery) is None
    assert respond(ECHO, replace(delivery, headers=headers, body=gzip.compress(delivery.body))) is None


def test_signed_callback_by_get_is_no_check() -> None:
    signature = HMAC | {"signed": "{query:id}.{query:status}"}
    echo = '{ kind = "get-echo", echo = "query:challenge" }'
    callback_settings = callbacks_of(build(echo, signature, methods=["GET"], body="query")).settings
    delivery = get("id=1&status=done&challenge=c")
    digest = hmac.new(SECRET.encode(), b"1.done", "sha256").hexdigest()
    for headers, is_check in (({}, True), ({"x-sig": digest}, False), ({"x-sig": "00" * 32}, True)):
        signed = replace(delivery, headers=headers)
        assert callback_settings.handshake
        verify = partial(callback_settings.auth.verify, signed)
        assert (callback_settings.handshake.respond(signed, verify) is not None) == is_check


def test_secret_in_the_callback_does_not_rule_out_a_check() -> None:
    settings = callbacks_of(build(UNSIGNED, {"scheme": "equals", "header": "X-Key", "secrets": ["k"]})).settings
    delivery = replace(build_delivery({"webhook_id": 5}), headers={"x-key": "k"})
    assert settings.handshake
    assert settings.handshake.respond(delivery, lambda: settings.auth.verify(delivery)) is not None


def test_handshake_comes_by_any_method_of_callbacks_but_get() -> None:
    for method, is_match in (("POST", True), ("PUT", True), ("PATCH", False), ("GET", False)):
        delivery = replace(build_delivery({"type": "v", "c": "x"}), method=method)
        assert (respond(ECHO, delivery, methods=["PUT"]) is not None) == is_match


def test_methods_of_handshakes_are_not_methods_of_callbacks() -> None:
    settings = callbacks_of(build(f"[ {TOKEN_CHECK}, {ECHO} ]", methods=["PUT"])).settings
    assert settings.methods == {"PUT"}
    assert settings.handshake_methods == {"GET", "POST", "PUT"}
    assert settings.handshake_kinds == ["get-echo", "post-echo"]


def test_verify_token_is_redacted_of_every_handshake() -> None:
    other = '{ kind = "get-echo", token_at = "header:x-t", token = "let-me-in", echo = "query:c" }'
    auth = callbacks_of(build(f"[ {TOKEN_CHECK}, {other} ]")).settings.auth
    delivery = replace(get("t=let-me-in&c=1"), headers={"x-t": "let-me-in"})
    redacted = auth.redact(delivery)
    assert "let-me-in" not in f"{redacted.target}{redacted.headers}"


ANY_TEXT = st.text(max_size=40)
FIELDS = st.dictionaries(st.sampled_from(["t", "c", "x", "h", "d", "type", "webhook_id"]), ANY_TEXT)
SETTINGS = callbacks_of(build(EVERY_KIND)).settings


@hypothesis_settings(max_examples=50)
@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    query=FIELDS.map(lambda fields: "&".join(f"{name}={value}" for name, value in fields.items())),
    body=st.one_of(st.binary(max_size=60), FIELDS.map(lambda fields: repr(fields).replace("'", '"').encode())),
    header=ANY_TEXT,
    media_type=st.sampled_from(["", "application/json", FORM_MEDIA_TYPE, "text/plain"]),
)
def test_any_delivery_is_answered_refused_or_passed_on(
    method: str, query: str, body: bytes, header: str, media_type: str
) -> None:
    headers = {"x-type": header, "x-hook-secret": header, "content-type": media_type, "x-sig": header}
    delivery = IncomingCallback(method, f"/?{query}", headers, body, NOON)
    assert SETTINGS.handshake
    try:
        response = SETTINGS.handshake.respond(delivery, lambda: SETTINGS.auth.verify(delivery))
    except InvalidSignature:
        return
    if response is not None:
        assert all(text.isascii() and text.isprintable() for text in response.ack.headers.values())
        assert len(response.ack.body) <= 4 * 1_024 + 100
