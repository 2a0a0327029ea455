"""Seeded mutations of bodies: changes after signing, and malformed bodies to sign."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz.deliveries import FuzzRequest
from tests.fuzz.families import Family

_JSON_VALUES: Sequence[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "x" * 1_001,
    [],
    {},
    [[]],
    [None],
    ["job-1"],
    {"id": "job-1"},
    10**19,
]
_JSON_TEXTS = [
    b"NaN",
    b"Infinity",
    b"-0",
    b"1e999",
    b"9" * 5_000,
    b"-" + b"9" * 400,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\xff"',
    b"'a'",
    b"//",
    b'"\\x"',
    b"[" * 50 + b"]" * 50,
]


def mutate_body(rng: Random, request: FuzzRequest) -> FuzzRequest:
    """Return a signed request with a changed body."""
    body, at = request.body, rng.randrange(len(request.body) + 1)
    mutations: Sequence[Callable[[], bytes]] = (
        lambda: body[:at] + rng.randbytes(rng.choice((1, 1, 8))) + body[at + 1 :],
        lambda: body[:at],
        lambda: body + rng.choice((b" ", b"\n", b"\0", b"}", b"&", b"\xff")),
        lambda: body[:at] + rng.choice((b" ", b"\0", b",", b"&", b"%", b"\\ud800", b"9" * 400)) + body[at:],
        lambda: rng.randbytes(rng.choice((0, 1, 100, 1_000))),
        lambda: build_malformed_json(rng, b'{"id":"job-1"}'),
    )
    return FuzzRequest(request.target, request.headers, rng.choice(mutations)())


def build_malformed_body(rng: Random, family: Family) -> bytes:
    """Return a body of the family's kind (JSON, form or items) that is usually unreadable."""
    if family.callback_table.get("body") == "form":
        return build_malformed_form(rng, family.body)
    if "items" in family.callback_table:
        return _build_malformed_items(rng, family.body)
    return build_malformed_json(rng, family.body)


def build_malformed_json(rng: Random, valid: bytes) -> bytes:
    """Return invalid JSON, or JSON with values of wrong types."""
    at = rng.randrange(len(valid))
    mutations: Sequence[Callable[[], bytes]] = (
        lambda: rng.randbytes(rng.choice((0, 1, 16, 300))),
        lambda: valid[:at],
        lambda: valid[:at] + rng.randbytes(1) + valid[at:],
        lambda: valid + rng.choice((b"}", b"{}", b"\0", b"x")),
        lambda: rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0")) + valid,
        lambda: valid.decode("latin-1").encode(rng.choice(("utf-16", "utf-32"))),
        lambda: b'{"id":%b}' % rng.choice(_JSON_TEXTS),
        lambda: b'{"id":"job-1","id":%b,"status":"done"}' % rng.choice((b"[]", b"null", b"{}", b'""')),
        lambda: rng.choice((b"null", b"1", b'"job-1"', b"[]", b"[[]]", b"true", b"{}", b"[{}]", b'[{"id":"job-1"}]')),
        lambda: rng.choice((b"[", b'{"id":', b'[{"a":')) * rng.choice((200, 1_023, 1_025, 5_000)),
        lambda: b"[" * rng.choice((2_000, 2_000, 2_000, 100_000)),
        lambda: _replace_types(rng, valid),
        lambda: _replace_types(rng, valid),
        lambda: _replace_types(rng, valid),
    )
    return rng.choice(mutations)()


def _replace_types(rng: Random, valid: bytes) -> bytes:
    """Return JSON with values of wrong types in some fields, including the reference."""
    document: dict[str, Any] = json.loads(valid)
    for name in rng.sample(sorted(document), k=rng.randrange(len(document))):
        document[name] = rng.choice(_JSON_VALUES)
    if isinstance(document.get("detail"), dict):
        document["detail"] = {"code": rng.choice(_JSON_VALUES), "text": rng.choice(_JSON_VALUES)}
    document["id"] = rng.choice(_JSON_VALUES)
    return json.dumps(document).encode()


def build_malformed_form(rng: Random, valid: bytes) -> bytes:
    """Return an invalid form, or a form without a valid reference."""
    other_fields = valid.partition(b"&")[2]
    mutations: Sequence[Callable[[], bytes]] = (
        lambda: other_fields,
        lambda: other_fields + b"&MessageSid=",
        lambda: other_fields + b"&MessageSid=a&MessageSid=b",
        lambda: other_fields + b"&MessageSid=%00",
        lambda: other_fields + b"&MessageSid=%ff",
        lambda: other_fields + b"&MessageSid=" + b"x" * 1_001,
        lambda: other_fields + b"&MessageSid=%ED%A0%80",
        lambda: other_fields + b"&MessageSid",
        lambda: b"a=b&" * rng.choice((10, 10_001)) + b"c=d",
        lambda: rng.randbytes(rng.choice((0, 1, 40, 300))),
        lambda: b"&=%;" * rng.choice((1, 30, 1_000)),
        lambda: b"MessageSid=SM1;MessageStatus=delivered"[: rng.randrange(1, 30)],
    )
    return rng.choice(mutations)()


def _build_malformed_items(rng: Random, valid: bytes) -> bytes:
    """Return a notification that can be signed, with items that have no valid reference."""
    document = json.loads(valid)
    for wrapped in document["notificationItems"]:
        item = wrapped["NotificationRequestItem"]
        item["pspReference"] = rng.choice(("", "psp\0", "x" * 1_001))
        item["additionalData"] = {}
        item["unsigned"] = rng.choice(_JSON_VALUES)
    document["live"] = rng.choice(_JSON_VALUES)
    return json.dumps(document).replace("\\ud800", "").encode()  # the signer must be able to read it
