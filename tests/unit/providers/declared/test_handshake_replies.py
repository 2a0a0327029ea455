"""Replies to handshakes: which URLs a confirmation may call, templates, and the secrets of hashes."""

import hmac
import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest

from receiver.domain.callbacks import Ack
from receiver.providers.capabilities import HandshakeResponse
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import callbacks_of
from tests.support.handshakes import build_delivery, build_table, respond

URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37fb"
SNS = """{
    kind = "confirm", when = { Type = "SubscriptionConfirmation" }, url = "SubscribeURL",
    allowed_hosts = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"] }"""


def respond_to_sns(url: object, message_type: str = "SubscriptionConfirmation") -> HandshakeResponse | None:
    return respond(SNS, build_delivery({"Type": message_type, "SubscribeURL": url}))


@pytest.mark.parametrize("host", ["sns.eu-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"])
def test_confirmation_calls_an_allowed_host(host: str) -> None:
    url = f"https://{host}/?Action=ConfirmSubscription&Token=2336412f37fb"
    response = respond_to_sns(url)
    assert response == HandshakeResponse(Ack(200), confirm_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com.evil.example/",
        "https://sns.eu-west-1.amazonaws.com@evil.example/",
        "https://evil@sns.eu-west-1.amazonaws.com/",
        "https://evilsns.eu-west-1.amazonaws.com/",
        "https://sns.a.b.amazonaws.com/",
        "https://sns..amazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example/",
        "https://sns\uff0eeu-west-1\uff0eamazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com:x/",
        "https://[::1/",
        "https://sns.eu-west-1.amazonaws.com/\r\nHost: evil",
        "//sns.eu-west-1.amazonaws.com/",
        "",
        None,
        7,
        {},
    ],
)
def test_confirmation_refuses_other_urls(url: object) -> None:
    with pytest.raises(InvalidSignature):
        respond_to_sns(url)


def test_confirmation_needs_signature() -> None:
    delivery = build_delivery({"Type": "SubscriptionConfirmation", "SubscribeURL": URL})
    with pytest.raises(InvalidSignature):
        respond(SNS, replace(delivery, headers={"x-sig": "00" * 32}))


def test_other_message_is_no_confirmation() -> None:
    assert respond_to_sns(URL, "Notification") is None


def test_reply_expands_texts_at_any_depth() -> None:
    reply = '{ a = ["{echo}", 1, true], b = { "{echo}" = "<{echo}> {}" } }'
    handshake = f'{{ kind = "post-echo", when = {{ type = "v" }}, echo = "c", reply = {reply} }}'
    response = respond(handshake, build_delivery({"type": "v", "c": "{hash} {echo}"}))
    assert response is not None
    text = "{hash} {echo}"
    assert json.loads(response.ack.body) == {"a": [text, 1, True], "b": {"{echo}": f"<{text}> {{}}"}}


def test_echo_of_lone_surrogate_is_answered() -> None:
    for reply, expected in (("", b"?"), (', reply = { c = "{echo}" }', b'{"c":"?"}')):
        handshake = f'{{ kind = "post-echo", when = {{ type = "v" }}, echo = "header:x-c"{reply} }}'
        delivery = build_delivery({"type": "v"})
        response = respond(handshake, replace(delivery, headers={**delivery.headers, "x-c": "\ud800"}))
        assert response is not None
        assert response.ack.body == expected


def test_digest_covers_the_url_without_its_query() -> None:
    handshake = """{ kind = "get-digest", echo = "query:c", secret = "t", content = "{echo}.{secret}.{url}",
        encoding = "base64", reply = { r = "{hash}" } }"""
    response = respond(handshake, build_delivery(method="GET", target="/callbacks/acme?c=1"))
    digest = sha256(b"1.t.https://hooks.example/callbacks/acme").digest()
    assert response is not None
    assert json.loads(response.ack.body) == {"r": b64encode(digest).decode()}


def test_digest_covers_the_public_url_of_the_provider() -> None:
    handshake = """{ kind = "get-digest", echo = "query:c", secret = "t", content = "{echo}{secret}{url}",
        reply = { r = "{hash}" } }"""
    table = build_table(handshake) | {"public_url": "https://shop.example/hooks/ebay"}
    settings = callbacks_of(build_provider("acme", table)).settings
    assert settings.handshake
    response = settings.handshake.respond(build_delivery(method="GET", target="/callbacks/acme?c=1"), lambda: 0)
    assert response is not None
    assert json.loads(response.ack.body) == {"r": sha256(b"1thttps://shop.example/hooks/ebay").hexdigest()}


def test_keyed_hash_by_get_uses_the_first_secret() -> None:
    handshake = '{ kind = "get-hmac", echo = "query:c", secret = ["new", "old"], reply = { r = "{hash}" } }'
    response = respond(handshake, build_delivery(method="GET", target="/?c=1"))
    assert response is not None
    assert json.loads(response.ack.body) == {"r": hmac.new(b"new", b"1", "sha256").hexdigest()}
