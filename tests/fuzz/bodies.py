"""Seeded mutations of bodies: changed after signing, or malformed before."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz.deliveries import Sent
from tests.fuzz.families import Family

_VALUES_IN_JSON: Sequence[Any] = [
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
_RAW_JSON = [
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


def changed_body(rng: Random, sent: Sent) -> Sent:
    """Change the body after it was signed."""
    body, at = sent.body, rng.randrange(len(sent.body) + 1)
    ways: Sequence[Callable[[], bytes]] = (
        lambda: body[:at] + rng.randbytes(rng.choice((1, 1, 8))) + body[at + 1 :],
        lambda: body[:at],
        lambda: body + rng.choice((b" ", b"\n", b"\0", b"}", b"&", b"\xff")),
        lambda: body[:at] + rng.choice((b" ", b"\0", b",", b"&", b"%", b"\\ud800", b"9" * 400)) + body[at:],
        lambda: rng.randbytes(rng.choice((0, 1, 100, 1_000))),
        lambda: malformed_json(rng, b'{"id":"job-1"}'),
    )
    return Sent(sent.target, sent.headers, rng.choice(ways)())


def malformed_body(rng: Random, family: Family) -> bytes:
    """Give a body that is mostly not to be read, in the form that the family's provider sends."""
    if family.says.get("body") == "form":
        return malformed_form(rng, family.body)
    if "items" in family.says:
        return _malformed_items(rng, family.body)
    return malformed_json(rng, family.body)


def malformed_json(rng: Random, good: bytes) -> bytes:
    """Give what is no JSON, or JSON whose values are not of the types that were agreed."""
    at = rng.randrange(len(good))
    ways: Sequence[Callable[[], bytes]] = (
        lambda: rng.randbytes(rng.choice((0, 1, 16, 300))),
        lambda: good[:at],
        lambda: good[:at] + rng.randbytes(1) + good[at:],
        lambda: good + rng.choice((b"}", b"{}", b"\0", b"x")),
        lambda: rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0")) + good,
        lambda: good.decode("latin-1").encode(rng.choice(("utf-16", "utf-32"))),
        lambda: b'{"id":%b}' % rng.choice(_RAW_JSON),
        lambda: b'{"id":"job-1","id":%b,"status":"done"}' % rng.choice((b"[]", b"null", b"{}", b'""')),
        lambda: rng.choice((b"null", b"1", b'"job-1"', b"[]", b"[[]]", b"true", b"{}", b"[{}]", b'[{"id":"job-1"}]')),
        lambda: rng.choice((b"[", b'{"id":', b'[{"a":')) * rng.choice((200, 1_023, 1_025, 5_000)),
        lambda: b"[" * rng.choice((2_000, 2_000, 2_000, 100_000)),
        lambda: _with_wrong_types(rng, good),
        lambda: _with_wrong_types(rng, good),
        lambda: _with_wrong_types(rng, good),
    )
    return rng.choice(ways)()


def _with_wrong_types(rng: Random, good: bytes) -> bytes:
    """Give JSON with values of other types at some of its paths, that of the reference among them."""
    document: dict[str, Any] = json.loads(good)
    for name in rng.sample(sorted(document), k=rng.randrange(len(document))):
        document[name] = rng.choice(_VALUES_IN_JSON)
    if isinstance(document.get("detail"), dict):
        document["detail"] = {"code": rng.choice(_VALUES_IN_JSON), "text": rng.choice(_VALUES_IN_JSON)}
    document["id"] = rng.choice(_VALUES_IN_JSON)
    return json.dumps(document).encode()


def malformed_form(rng: Random, good: bytes) -> bytes:
    """Give what is no form, or a form that names no job."""
    lost = good.partition(b"&")[2]
    ways: Sequence[Callable[[], bytes]] = (
        lambda: lost,
        lambda: lost + b"&MessageSid=",
        lambda: lost + b"&MessageSid=a&MessageSid=b",
        lambda: lost + b"&MessageSid=%00",
        lambda: lost + b"&MessageSid=%ff",
        lambda: lost + b"&MessageSid=" + b"x" * 1_001,
        lambda: lost + b"&MessageSid=%ED%A0%80",
        lambda: lost + b"&MessageSid",
        lambda: b"a=b&" * rng.choice((10, 10_001)) + b"c=d",
        lambda: rng.randbytes(rng.choice((0, 1, 40, 300))),
        lambda: b"&=%;" * rng.choice((1, 30, 1_000)),
        lambda: b"MessageSid=SM1;MessageStatus=delivered"[: rng.randrange(1, 30)],
    )
    return rng.choice(ways)()


def _malformed_items(rng: Random, good: bytes) -> bytes:
    """Give a notification that can be signed and none of whose items names a job."""
    document = json.loads(good)
    for wrapped in document["notificationItems"]:
        item = wrapped["NotificationRequestItem"]
        item["additionalData"] = rng.choice(({}, {"reference": rng.choice(_VALUES_IN_JSON)}))
        item["unsigned"] = rng.choice(_VALUES_IN_JSON)
    document["live"] = rng.choice(_VALUES_IN_JSON)
    return json.dumps(document).replace("\\ud800", "").encode()  # the signer must be able to read it
