"""Requests of declared operations in the shapes that providers ask for."""

import hmac
from base64 import b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.registry import build_provider
from tests.support.capabilities import sender_of
from tests.support.factories import NOON, attempt
from tests.support.kinds import DECLARED

CALLBACK_URL = "https://receiver.example/callbacks/acme"


def compose(payload: dict[str, Any], auth: dict[str, Any] | None = None, **operation: Any) -> OutgoingRequest:
    """Return the request of an operation at noon."""
    table = {**DECLARED, "operations": {"run": {"path": "/run", **operation}}, "auth": auth}
    sender = sender_of(build_provider("acme", table))
    assert sender.operations["run"].check_payload(payload, NOON) == {}
    return sender.compose(attempt(operation="run", payload=payload), CALLBACK_URL)


def find_errors(payload: dict[str, Any], **operation: Any) -> dict[str, Any]:
    table = {**DECLARED, "operations": {"run": {"path": "/run", **operation}}}
    return dict(build_provider("acme", table).operations["run"].check_payload(payload, NOON))


def test_mpesa_password_is_computed() -> None:
    computed = {
        "Password": {"text": "{BusinessShortCode}{secret}{Timestamp}", "secret": "passkey", "encoding": "base64"},
        "Timestamp": {"text": "{now:%Y%m%d%H%M%S}", "time_zone": "Africa/Nairobi"},
    }
    payload = {"BusinessShortCode": 174379, "Amount": 1, "Password": "mine", "Timestamp": "mine"}
    body = orjson.loads(compose(payload, computed=computed, callback_url="CallBackURL").body)
    assert body == {
        "BusinessShortCode": 174379,
        "Amount": 1,
        "CallBackURL": CALLBACK_URL,
        "Timestamp": "20261123150000",
        "Password": body["Password"],
    }
    assert b64decode(body["Password"]) == b"174379passkey20261123150000"


def test_smile_id_signature_is_computed() -> None:
    computed = {
        "timestamp": "{now:iso}",
        "signature": {
            "text": "{timestamp}{partner_id}sid_request",
            "hmac": "sha256",
            "secret": "key",
            "encoding": "base64",
        },
    }
    body = orjson.loads(compose({}, computed=computed, defaults={"partner_id": "7"}).body)
    expected = hmac.digest(b"key", b"2026-11-23T12:00:00.000Z7sid_request", "sha256")
    assert b64decode(body["signature"]) == expected


def test_transloadit_params_are_signed_json_in_multipart() -> None:
    outgoing = compose(
        {"params": {"template_id": "t", "notify_url": "https://elsewhere.example"}},
        body="multipart",
        json_fields=["params"],
        callback_url="params.notify_url",
        computed={"signature": {"text": "{params}", "hmac": "sha384", "secret": "s", "prefix": "sha384:"}},
    )
    params = f'{{"template_id":"t","notify_url":"{CALLBACK_URL}"}}'
    signature = hmac.new(b"s", params.encode(), "sha384").hexdigest()
    assert f'name="params"\r\n\r\n{params}\r\n'.encode() in outgoing.body
    assert f'name="signature"\r\n\r\nsha384:{signature}\r\n'.encode() in outgoing.body
    assert b"elsewhere" not in outgoing.body


def test_apify_webhooks_are_computed_in_the_query() -> None:
    text = '[{{"eventTypes":["RUN.SUCCEEDED"],"requestUrl":"{callback_url}"}}]'
    computed = {"query:webhooks": {"text": text, "encoding": "base64url"}}
    outgoing = compose({"input": 1}, computed=computed)
    encoded = outgoing.target.removeprefix("/run?webhooks=")
    [webhook] = orjson.loads(b64decode(f"{encoded}==", altchars=b"-_"))
    assert webhook["requestUrl"] == CALLBACK_URL
    assert orjson.loads(outgoing.body) == {"input": 1}


def test_header_is_computed_from_other_headers() -> None:
    computed = {
        "header:X-Claims": {"text": '{{"iss":"me","iat":{now:s}}}', "encoding": "base64url"},
        "header:X-Sum": {"text": "e30.{header:X-Claims}", "hmac": "sha256", "secret": "key", "encoding": "base64url"},
        "header:Authorization": {"text": "Bearer e30.{header:X-Claims}.{header:X-Sum}"},
    }
    outgoing = compose({"to": "Alice"}, computed=computed)
    content, _, signature = outgoing.headers["authorization"].removeprefix("Bearer ").rpartition(".")
    expected = urlsafe_b64encode(hmac.digest(b"key", content.encode(), "sha256")).rstrip(b"=").decode()
    assert signature == expected
    assert orjson.loads(b64decode(f"{content.partition('.')[2]}==")) == {"iss": "me", "iat": int(NOON.timestamp())}
    assert orjson.loads(outgoing.body) == {"to": "Alice"}


def test_body_is_one_field_of_the_payload() -> None:
    outgoing = compose(
        {"dataset": "d 1", "inputs": [{"url": "a"}, {"url": "b"}]},
        path="/trigger?dataset_id={dataset}",
        body_field="inputs",
        callback_url="query:notify",
    )
    assert outgoing.target.startswith("/trigger?dataset_id=d%201&notify=https%3A%2F%2Freceiver.example")
    assert orjson.loads(outgoing.body) == [{"url": "a"}, {"url": "b"}]
    operation = {"path": "/trigger?dataset_id={dataset}", "body_field": "inputs"}
    errors = find_errors({"dataset": "d", "url": "a"}, **operation)
    assert errors == {"inputs": ["Missing data for required field."], "url": ["Unknown field."]}


def test_body_is_a_list_of_one_object() -> None:
    outgoing = compose({"keyword": "k"}, body_list=True, callback_url="pingback_url")
    assert orjson.loads(outgoing.body) == [{"keyword": "k", "pingback_url": CALLBACK_URL}]


def test_callback_url_is_sent_in_several_places() -> None:
    outgoing = compose({"messages": [{"to": 1}, {"to": 2}]}, callback_url=["messages[].hooks.url", "TimeOutURL"])
    hooks = {"url": CALLBACK_URL}
    assert orjson.loads(outgoing.body) == {
        "messages": [{"to": 1, "hooks": hooks}, {"to": 2, "hooks": hooks}],
        "TimeOutURL": CALLBACK_URL,
    }


@pytest.mark.parametrize(
    ("callback_url", "value", "refused"),
    [
        ("data.url", '{"a": 1}', True),
        ("data.url", [1], True),
        ("data.url", {"url": "theirs"}, False),
        ("data.url", None, False),
        ("data[0].url", {"url": "theirs"}, True),
        ("data[]", "text", True),
        ("data[]", ["theirs"], False),
        ("data", "theirs", False),
        ("header:X-Data", 7, False),
    ],
)
def test_value_that_ours_would_replace_is_refused(callback_url: str, value: object, *, refused: bool) -> None:
    for more in ({"body": "form", "json_fields": ["data"]}, {"required": ["other"]}):
        errors = find_errors({"data": value, "other": 1}, callback_url=callback_url, **more)
        assert errors.keys() == ({"data"} if refused else set())


def test_stripe_form_has_brackets() -> None:
    outgoing = compose(
        {"metadata": {"order": "7"}, "expand": ["a", "b"]}, body="form", form_style="brackets", request_id="metadata.id"
    )
    assert outgoing.body.startswith(b"metadata%5Border%5D=7&metadata%5Bid%5D=")
    assert outgoing.body.endswith(b"&expand%5B%5D=a&expand%5B%5D=b")


def test_boundary_of_multipart_differs_for_each_attempt() -> None:
    types = {compose({"a": "1"}, body="multipart").headers["content-type"] for _ in range(2)}
    assert len(types) == 2


def test_query_override_is_left_out_of_every_shape() -> None:
    payload = {name: "mine" for own in ("cb", "key", "ref") for name in (own, f"{own}[]", f"{own}[x]")}
    operation = {"callback_url": "query:cb", "request_id": "query:ref"}
    auth = {"scheme": "query", "name": "key", "secret": "OURS"}
    for style in ("repeat", "comma", "brackets"):
        outgoing = compose(payload, auth, body="query", form_style=style, **operation)
        assert "mine" not in outgoing.target
        assert "key=OURS" in outgoing.target
    operation = {"callback_url": "cb", "request_id": "ref"}
    auth = {"scheme": "body", "name": "key", "secret": "OURS"}
    for body in ("form", "multipart"):
        assert b"mine" not in compose(payload, auth, body=body, **operation).body


@pytest.mark.parametrize("value", [None, "", {}, True, []])
def test_sources_of_computed_values_are_required(value: object) -> None:
    operation = {"computed": {"sum": {"text": "{a}{b}", "hash": "md5"}}, "defaults": {"b": 1}}
    assert find_errors({"a": value}, **operation).keys() == {"a"}
    assert find_errors({"a": 1}, **operation) == {}


def test_sources_of_headers_are_printable() -> None:
    operation = {"computed": {"header:X-To": "{a}", "header:X-Sum": {"text": "{b}", "hash": "md5"}}}
    assert find_errors({"a": "x\r\nX-Injected: 1", "b": "\r\n"}, **operation).keys() == {"a"}
    headers = compose({"a": "x y", "b": "é"}, **operation).headers
    assert headers["x-to"] == "x y"


def test_computed_value_without_its_source_is_empty() -> None:
    table = {**DECLARED, "operations": {"run": {"path": "/run", "computed": {"b": "<{a}>"}}}}
    sender = sender_of(build_provider("acme", table))
    # A request that was accepted before the operation had a computed value.
    outgoing = sender.compose(attempt(operation="run", payload={}), CALLBACK_URL)
    assert orjson.loads(outgoing.body) == {"b": "<>"}


def test_time_of_a_computed_value_is_that_of_the_attempt() -> None:
    table = {**DECLARED, "operations": {"run": {"path": "/run", "computed": {"at": "{now:s}"}}}}
    sender = sender_of(build_provider("acme", table))
    later = attempt(operation="run", payload={}, started_at=NOON + timedelta(seconds=5))
    assert orjson.loads(sender.compose(later, CALLBACK_URL).body) == {"at": str(int(NOON.timestamp()) + 5)}


def test_secrets_of_computed_values_are_credentials() -> None:
    def build_fingerprint(secret: str) -> str:
        computed = {"sum": {"text": "{secret}", "secret": secret}}
        table = {**DECLARED, "operations": {"run": {"path": "/run", "computed": computed}}}
        return build_provider("acme", table).fingerprint

    assert build_fingerprint("a") != build_fingerprint("b")


NAMES = st.sampled_from(["a", "b", "own", "list", "own[x]"])
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.text("aé\n{[&", max_size=3),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(NAMES, values, max_size=2),
    max_leaves=4,
)


@settings(max_examples=30)
@given(
    st.fixed_dictionaries(
        {
            "body": st.sampled_from(["form", "query", "multipart"]),
            "form_style": st.sampled_from(["repeat", "brackets", "comma"]),
            "json_fields": st.lists(st.sampled_from(["b", "list"]), max_size=1),
            "callback_url": st.sampled_from(["own", "list[0].own", "list[]", "query:own", "header:X-Own"]),
            "computed": st.dictionaries(
                st.sampled_from(["sum", "query:s", "header:X-S"]),
                st.sampled_from(["{a}", "{now:s}{request_id}", {"text": "{a}{b}", "hash": "md5"}]),
                max_size=2,
            ),
        }
    ),
    st.dictionaries(NAMES, VALUES, max_size=4),
)
def test_every_shape_is_composed_and_matches_its_schema(operation: dict[str, Any], payload: dict[str, Any]) -> None:
    table = {**DECLARED, "operations": {"run": {"path": "/run", **operation}}}
    sender = sender_of(build_provider("acme", table))
    errors = sender.operations["run"].check_payload(payload, NOON)
    schema = Draft202012Validator(dict(sender.operations["run"].build_payload_schema()))
    assert schema.is_valid(payload) is not bool(errors)
    outgoing = sender.compose(attempt(operation="run", payload=payload), CALLBACK_URL)
    assert outgoing.target.isascii()
    assert errors or all(value.isascii() and value.isprintable() for value in outgoing.headers.values())
