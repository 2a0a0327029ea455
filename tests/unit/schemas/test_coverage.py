"""A provider is refused if its signature does not cover what decides, unless its `trust` says why it is believed."""

from typing import Any

import pytest

from receiver.providers.registry import build_provider
from receiver.schemas.cecula_settings import CeculaSettingsSchema
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.signatures.base import Trust
from tests.support.capabilities import callbacks_of

CALLBACK = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}}
HMAC = {"scheme": "hmac", "header": "X-Sig", "secrets": ["s"]}
ADYEN = {"scheme": "adyen", "secrets": ["00"]}
ADYEN_ITEMS = "notificationItems[].NotificationRequestItem"
MAILGUN = {
    "scheme": "hmac",
    "source": "signature.signature",
    "signed": "{timestamp}{nonce}",
    "timestamp": "signature.timestamp",
    "nonce": "signature.token",
    "secrets": ["s"],
}
POLL = {"path": "/v1/{reference}"}


def build_table(signature: dict[str, Any], callback: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    base = {"kind": "declared", "base_url": "https://api.acme.example"}
    return {**base, "signature": signature, "callback": CALLBACK | (callback or {}), **tables}


def find_errors(signature: dict[str, Any], callback: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    return DeclaredSettingsSchema().validate(build_table(signature, callback, **tables))


@pytest.mark.parametrize(
    "signature",
    [
        {"scheme": "plivo-v2", "secrets": ["s"]},
        HMAC | {"signed": "{url}"},
        HMAC | {"signed": "{url_no_query}"},
        HMAC | {"signed": "{header:X-Id}"},
        HMAC | {"signed": "{timestamp}", "timestamp": "header:T"},
        HMAC | {"signed": "{query:id}"},
        MAILGUN,
    ],
)
@pytest.mark.parametrize("body", ["json", "form"])
def test_uncovered_body_needs_explicit_trust(signature: dict[str, Any], body: str) -> None:
    errors = find_errors(signature, {"body": body})
    assert "could be forged" in str(errors)
    assert "signature.trust" in str(errors)
    assert find_errors(signature | {"trust": "sender"}, {"body": body}) == {}
    assert find_errors(signature | {"trust": "confirm"}, {"body": body}).keys() == {"poll"}
    assert find_errors(signature | {"trust": "confirm"}, {"body": body}, poll=POLL) == {}


@pytest.mark.parametrize(
    ("callback", "places"),
    [
        ({"items": ADYEN_ITEMS, "reference": "pspReference", "status": "eventCode"}, set()),
        ({"items": ADYEN_ITEMS, "reference": "pspReference", "status": "join('.', [eventCode, success])"}, set()),
        ({"items": ADYEN_ITEMS, "reference": "pspReference", "status": "reason"}, {"status"}),
        ({"items": ADYEN_ITEMS, "reference": "additionalData.id", "status": "reason"}, {"reference", "status"}),
        ({"items": ADYEN_ITEMS, "reference": ["pspReference", "$.live"], "status": "eventCode"}, {"reference"}),
        ({"items": ADYEN_ITEMS, "reference": "pspReference", "status": "eventCode", "code": "reason"}, {"code"}),
        ({"items": "notificationItems[]", "reference": "pspReference", "status": "eventCode"}, {"items"}),
        ({"reference": "pspReference", "status": "eventCode"}, {"items"}),
        (
            {"items": ADYEN_ITEMS, "reference": "pspReference", "status": "eventCode", "detail": "reason"}
            | {"occurred_at": "eventDate", "only": {"$.live": ["true"]}, "event_id": "eventDate"},
            set(),
        ),
    ],
)
def test_only_signed_fields_decide(callback: dict[str, Any], places: set[str]) -> None:
    assert find_errors(ADYEN, callback).get("callback", {}).keys() == places
    assert find_errors(ADYEN | {"trust": "sender"}, callback) == {}


@pytest.mark.parametrize(
    ("signed", "callback", "places"),
    [
        ("{query:id}.{query:state}", {"body": "query"}, set()),
        ("{query:id}", {"methods": "GET"}, {"status"}),
        ("{url}", {"methods": "GET"}, set()),
        ("{url}{body}", {"methods": ["GET", "POST"]}, set()),
        ("{body}", {"methods": ["GET", "POST"]}, {"methods"}),
        ("{body}", {"body": "query"}, {"body"}),
        ("{sorted_params}", {"body": "form"}, set()),
        ("{sorted_params}", {"body": "json"}, {"body"}),
        ("{body}", {"request": "header:X-Ours"}, {"request"}),
        ("{header:x-ours}.{body}", {"request": "header:X-Ours"}, set()),
        ("{body}", {"request": "query:ours"}, {"request"}),
        ("{query:ours}.{body}", {"request": "query:ours"}, set()),
        ("{field:id}.{field:state}", {"request": "ours"}, {"request"}),
        ("{field:id}.{field:state}.{field:ours}", {"request": "ours"}, set()),
    ],
)
def test_part_that_is_read_must_be_signed(signed: str, callback: dict[str, Any], places: set[str]) -> None:
    operations = {"send": {"path": "/v1", "request_id": "ours"}}
    errors = find_errors(HMAC | {"signed": signed}, callback, operations=operations)
    assert errors.get("callback", {}).keys() == places


@pytest.mark.parametrize(
    ("signed", "callback"),
    [
        ("{field:id}{field:state}", {}),
        ("{query:id}{query:state}", {"body": "query"}),
        ("{nonce}{field:id}.{field:state}", {}),
        ("{timestamp}{field:id}.{field:state}", {}),
        ("{url}{field:id}.{field:state}", {}),
        ("{body}{header:X-Id}", {"reference": "header:X-Id"}),
        ("{header:X-Id}{header:X-State}", {"reference": "header:X-Id", "status": "header:X-State"}),
        ("{raw:id}{raw:state}", {}),
        ("{header:X-Id}{body}", {"body": "form"}),
        ("{body}{nonce}", {"body": "form"}),
    ],
)
def test_values_that_border_on_each_other_are_not_covered(signed: str, callback: dict[str, Any]) -> None:
    roles = {name: f"header:{name}" for name in ("nonce", "timestamp") if name in signed}
    errors = find_errors(HMAC | roles | {"signed": signed}, callback)
    assert "Nothing separates" in str(errors["signature"]["signed"])
    assert find_errors(HMAC | roles | {"signed": signed, "trust": "sender"}, callback) == {}


@pytest.mark.parametrize(
    ("signed", "callback"),
    [
        ("{timestamp}{body}", {"body": "form"}),
        ("{body}{timestamp}", {"body": "form"}),
        ("{method}{url}{body}{timestamp}", {"body": "form"}),
        ("{path}{field:id}.{field:state}{timestamp}", {}),
        ("{header:X-Id}{timestamp}{body}", {}),
        ("{header:X-Id}{header:X-Time}{body}", {}),
    ],
)
def test_values_with_a_certain_border_are_covered(signed: str, callback: dict[str, Any]) -> None:
    roles = {"timestamp": "header:timestamp"} if "{timestamp}" in signed else {}
    assert find_errors(HMAC | roles | {"signed": signed}, callback) == {}


@pytest.mark.parametrize("trust", ["sender", "confirm"])
def test_handshake_never_signs_an_unsigned_value(trust: str) -> None:
    handshake = {"kind": "post-hmac", "when": {"type": "check"}, "echo": "token", "secret": "s"}
    signature = {"scheme": "plivo-v2", "secrets": ["s"], "trust": trust}
    assert find_errors(signature, {"handshake": handshake}, poll=POLL).keys() == {"callback"}
    assert find_errors({"scheme": "zoom", "secrets": ["s"]}, {"handshake": handshake}) == {}


@pytest.mark.parametrize(
    ("signature", "trust"),
    [
        ({"scheme": "github", "secrets": ["s"]}, Trust.SIGNATURE),
        ({"scheme": "equals", "header": "X", "secrets": ["s"]}, Trust.SENDER),
        ({"scheme": "basic", "secrets": ["a:b"]}, Trust.SENDER),
        ({"scheme": "flutterwave", "secrets": ["s"]}, Trust.SENDER),
        ({"scheme": "token", "secrets": ["an-unguessable-token"]}, Trust.SENDER),
        ({"scheme": "plivo-v2", "secrets": ["s"], "trust": "sender"}, Trust.SENDER),
    ],
)
def test_secret_in_callback_proves_only_the_sender(signature: dict[str, Any], trust: Trust) -> None:
    assert callbacks_of(build_provider("acme", build_table(signature))).settings.auth.trust is trust


def test_unsigned_request_id_is_not_believed_under_confirmation() -> None:
    operations = {"send": {"path": "/v1", "request_id": "ours"}}
    for trust, is_read in (("confirm", False), ("sender", True)):
        signature = {"scheme": "plivo-v2", "secrets": ["s"], "trust": trust}
        table = build_table(signature, {"request": "ours"}, operations=operations, poll=POLL)
        callbacks = callbacks_of(build_provider("acme", table))
        assert (getattr(callbacks, "request", None) is not None) is is_read


def test_other_kinds_need_a_signed_body() -> None:
    signature: dict[str, Any] = {"scheme": "plivo-v2", "secrets": ["s"]}
    table = {"kind": "cecula", "auth": {"scheme": "bearer", "secret": "k"}, "signature": signature}
    assert "could be forged" in str(CeculaSettingsSchema().validate(table))
    assert CeculaSettingsSchema().validate(table | {"signature": signature | {"trust": "sender"}}) == {}


@pytest.mark.parametrize(
    ("signed", "places"),
    [
        ("{header:X-Id}.{header:X-State}", set()),
        ("{header:X-Id}", {"status"}),
        ("{body}", {"reference", "status"}),
        ("{body}.{header:X-State}", {"reference"}),
    ],
)
def test_value_in_a_header_must_be_signed(signed: str, places: set[str]) -> None:
    callback = {"reference": "header:X-Id", "status": "header:X-State", "only": {"header:X-Type": ["job"]}}
    assert find_errors(HMAC | {"signed": signed}, callback).get("callback", {}).keys() == places
    assert find_errors(HMAC | {"signed": signed, "trust": "sender"}, callback) == {}
    assert find_errors({"scheme": "equals", "header": "X-Token", "secrets": ["s"]}, callback) == {}


def test_body_beside_signed_headers_must_be_signed() -> None:
    callback = {"reference": "header:X-Id", "status": "state"}
    assert "the body" in str(find_errors(HMAC | {"signed": "{header:X-Id}"}, callback)["signature"])
    assert find_errors(HMAC | {"signed": "{header:X-Id}.{body}"}, callback) == {}
    several = {"reference": "header:X-Id", "status": ["header:X-State", "query:state"]}
    assert find_errors(HMAC | {"signed": "{header:X-Id}.{header:X-State}"}, several)["callback"].keys() == {"status"}
    assert find_errors(HMAC | {"signed": "{header:X-Id}.{header:X-State}.{query:state}"}, several) == {}


def test_items_within_a_signed_text_may_be_read() -> None:
    signature = HMAC | {"signed": "{field:Message}"}
    assert find_errors(signature, {"items": "Message.records[]"}) == {}
    assert find_errors(signature, {"reference": "Message.id", "status": "Message.state"}) == {}
    assert find_errors(signature, {"items": "records[]"})["callback"].keys() == {"items"}
