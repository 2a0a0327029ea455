"""The table `callback.handshake`: the keys of each kind, their values, and where mistakes are reported."""

from typing import Any

import pytest

from receiver.schemas.declared import CallbackTableSchema
from receiver.schemas.declared_handshakes import KINDS, HandshakeTableSchema

CALLBACK = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}}
ECHO = {"kind": "get-echo", "echo": "query:c"}
HASH = {"kind": "get-hmac", "echo": "query:c", "secret": "s", "reply": {"r": "{hash}"}}
DIGEST = HASH | {"kind": "get-digest", "content": "{echo}{secret}{url}"}
POST_HMAC = {"kind": "post-hmac", "echo": "c", "when": {"t": "c"}, "secret": "s"}
PING = {"kind": "ping", "when": {"t": "c"}}
HEADER = {"kind": "header-echo", "header": "X-Hook-Secret"}
CONFIRM = {"kind": "confirm", "when": {"t": "c"}, "url": "u", "allowed_hosts": "sns.*.amazonaws.com"}
VALID = (
    {"kind": "get"},
    ECHO,
    ECHO | {"token": "let-me-in", "token_at": "query:t"},
    HASH,
    DIGEST,
    {"kind": "post-echo", "echo": "c", "when": {"t": "c"}},
    {"kind": "post-echo", "echo": "query:c", "signed": False},
    POST_HMAC,
    POST_HMAC | {"reply": {"a": "{echo}", "b": ["{hash}"]}},
    PING,
    PING | {"reply": {"type": 1}},
    HEADER,
    HEADER | {"method": "GET", "signed": True, "keep": False},
    PING | {"signed": False, "keep": True},
    CONFIRM,
    CONFIRM | {"allowed_hosts": ["a.example", "b-1.example"]},
)


@pytest.mark.parametrize("table", VALID, ids=str)
def test_table_of_each_kind_is_valid(table: dict[str, Any]) -> None:
    assert HandshakeTableSchema().validate(table) == {}


def test_every_kind_is_tested() -> None:
    assert {table["kind"] for table in VALID} == KINDS.keys()


@pytest.mark.parametrize("table", VALID, ids=str)
def test_required_keys_are_demanded(table: dict[str, Any]) -> None:
    kind = KINDS[table["kind"]]
    for key in kind.required & table.keys():
        errors = HandshakeTableSchema().validate({name: value for name, value in table.items() if name != key})
        assert key in errors


@pytest.mark.parametrize(
    ("table", "places"),
    [
        ({"kind": "get-ehco"}, {"kind"}),
        ({}, {"kind"}),
        (ECHO | {"token": "let-me-in"}, {"token_at"}),
        (ECHO | {"token_at": "query:t"}, {"token"}),
        (ECHO | {"token_at": "query:t", "token": " let-me-in "}, {"token"}),
        (ECHO | {"token_at": "query:t", "token": "short"}, {"token"}),
        (ECHO | {"token_at": "t", "token": "let-me-in"}, {"token_at"}),
        (ECHO | {"secret": "s"}, {"secret"}),
        (ECHO | {"reply": {"r": "{hash}"}}, {"reply"}),
        (ECHO | {"reply": {}}, {"reply"}),
        (ECHO | {"reply": {"n": 2**64}}, {"reply"}),
        (ECHO | {"reply": "{echo}"}, {"reply"}),
        (ECHO | {"reply": ["a", "b"]}, {"reply"}),
        (ECHO | {"echo": "header:X_Odd"}, {"echo"}),
        (HASH | {"reply": {"r": "{echo}"}}, {"reply"}),
        (HASH | {"reply": {"r": {"s": "{hahs}"}}}, {"reply"}),
        (HASH | {"encoding": "base85"}, {"encoding"}),
        (HASH | {"content": "{echo}"}, {"content"}),
        (DIGEST | {"content": "{echo}"}, {"content"}),
        (DIGEST | {"content": "{echo}{secret}{body}"}, {"content"}),
        (POST_HMAC | {"secret": "s\n"}, {"secret"}),
        (POST_HMAC | {"signed": False}, {"signed"}),
        (POST_HMAC | {"reply": ["a"]}, {"reply"}),
        ({"kind": "post-echo", "echo": "challenge", "signed": False}, {"when"}),
        ({"kind": "post-echo", "echo": "query:c"}, {"when"}),
        (PING | {"when": {}}, {"when"}),
        (PING | {"when": {"t": 1.5, "u": ["a"]}}, {"when"}),
        (PING | {"when": {"t[": "a"}}, {"when"}),
        (PING | {"signed": False, "when": {}}, {"when"}),
        (PING | {"reply": {"r": "{echo}"}}, {"reply"}),
        (HEADER | {"method": "PUT"}, {"method"}),
        (ECHO | {"keep": True}, {"keep"}),
        (HEADER | {"header": "X_Hook"}, {"header"}),
        (HEADER | {"header": "Content-Length"}, {"header"}),
        (HEADER | {"header": "a: b"}, {"header"}),
        (CONFIRM | {"signed": False}, {"signed"}),
        (CONFIRM | {"allowed_hosts": "*"}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": "*.com"}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": ["sns.*"]}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": ["s*.amazonaws.com"]}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": "https://a.example/"}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": "A.example"}, {"allowed_hosts"}),
        (CONFIRM | {"allowed_hosts": []}, {"allowed_hosts"}),
    ],
)
def test_mistake_is_reported_at_its_key(table: dict[str, Any], places: set[str]) -> None:
    assert HandshakeTableSchema().validate(table).keys() == places


def test_mistakes_of_a_list_are_reported_by_index() -> None:
    handshakes = [ECHO, ECHO | {"token": "let-me-in"}, {"kind": "ping"}]
    errors: dict[str, Any] = CallbackTableSchema().validate(CALLBACK | {"handshake": handshakes})
    assert {index: set(by_key) for index, by_key in errors["handshake"].items()} == {1: {"token_at"}, 2: {"when"}}
    errors = CallbackTableSchema().validate(CALLBACK | {"handshake": {"kind": "ping"}})
    assert set(errors["handshake"]) == {"when"}


def test_defaults_depend_on_kind() -> None:
    load = HandshakeTableSchema().load
    names = ("method", "signed", "keep")
    assert [tuple(load(table)[name] for name in names) for table in (ECHO, PING, HEADER)] == [
        ("GET", False, False),
        ("POST", True, False),
        ("POST", False, True),
    ]
    assert load(POST_HMAC)["reply"] == {"plainToken": "{echo}", "encryptedToken": "{hash}"}
    assert load(PING | {"when": {"a": 1, "b": True, "c": "*"}})["when"] == {"a": "1", "b": "true", "c": "*"}
