"""Deliveries on their way to the endpoint, as gunicorn hands them over, and what plain code reads in them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

JSON = "application/json"
_LONGEST_REFERENCE = 1_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A POST: header names are lower-case, header values and the target latin-1 text."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    def environ(self) -> dict[str, Any]:
        """Give the WSGI environment that gunicorn makes of it."""
        url = urlsplit(self.target)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "RAW_URI": self.target,
            "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
            "QUERY_STRING": url.query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SCRIPT_NAME": "",
            "REMOTE_ADDR": "203.0.113.7",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "CONTENT_LENGTH": str(len(self.body)),
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
        return environ

    def short(self) -> str:
        """Give it for people, long parts cut."""
        headers = {name: _cut(value) for name, value in self.headers.items()}
        return f"POST {_cut(self.target)} {headers} {_cut(self.body)}"


def _cut(value: str | bytes) -> str:
    told = repr(value)
    return told if len(told) < 600 else f"{told[:500]}… ({len(value)} long)"


def json_names_a_job(body: bytes) -> bool:
    """Whether a body is JSON with a usable `id`; lenient, as it only excuses an answer 200."""
    return _is_reference(_member(_loaded(body), "id"))


def form_names_a_job(body: bytes) -> bool:
    """Whether a body is a form with exactly one usable `MessageSid`."""
    values = [value for name, value in parse_qsl(body.decode("latin-1")) if name == "MessageSid"]
    return len(values) == 1 and _is_reference(values[0])


def item_names_a_job(body: bytes) -> bool:
    """Whether an item of an Adyen notification has a usable `additionalData.reference`."""
    return any(_is_reference(_member(_member(item, "additionalData"), "reference")) for item in adyen_items(body))


def adyen_items(body: bytes) -> Iterable[Any]:
    """Give the items of an Adyen notification; none where it is no such thing."""
    wrapped = _member(_loaded(body), "notificationItems")
    if not isinstance(wrapped, list):
        return []
    return [_member(each, "NotificationRequestItem") for each in wrapped]


def adyen_contents(body: bytes) -> frozenset[tuple[str, ...]]:
    """Give what is signed of each item, with its signature."""
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success")
    contents = set()
    for item in filter(None, adyen_items(body)):
        amount = _member(item, "amount")
        values = [_member(item, name) for name in names] + [_member(amount, "value"), _member(amount, "currency")]
        signature = _member(_member(item, "additionalData"), "hmacSignature")
        contents.add((*("" if value is None else str(value) for value in values), str(signature)))
    return frozenset(contents)


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _is_reference(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value) if not isinstance(value, int) or abs(value) < 2**64 else ""
    return 0 < len(text) <= _LONGEST_REFERENCE and "\0" not in text
