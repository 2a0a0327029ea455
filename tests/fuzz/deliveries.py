"""Requests to the endpoint as WSGI environments, and independent checks of their bodies."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

JSON = "application/json"
_MAX_REFERENCE_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class FuzzRequest:
    """A request: header names in lower case, header values and target as latin-1 text."""

    target: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"

    @property
    def origin_form(self) -> str:
        """The path and the query of the target."""
        _, scheme_end, rest = self.target.partition("://")
        return self.target if self.target.startswith("/") or not scheme_end else "/" + rest.partition("/")[2]

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment that gunicorn builds for this request."""
        url = urlsplit(self.target)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
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

    def format_short(self) -> str:
        """Return a description of the request with long parts truncated."""
        headers = {name: _truncate(value) for name, value in self.headers.items()}
        return f"POST {_truncate(self.target)} {headers} {_truncate(self.body)}"


def _truncate(value: str | bytes) -> str:
    text = repr(value)
    return text if len(text) < 600 else f"{text[:500]}… ({len(value)} long)"


def json_names_job(body: bytes) -> bool:
    """Return whether a body is JSON with a valid `id`, or an empty list.

    Lenient, as it only makes a response 200 acceptable.
    """
    document = _parse_json(body)
    return document == [] or _is_reference(_get_member(document, "id"))


def form_names_job(body: bytes) -> bool:
    """Return whether a body is a form with exactly one valid `MessageSid`."""
    values = [value for name, value in parse_qsl(body.decode("latin-1")) if name == "MessageSid"]
    return len(values) == 1 and _is_reference(values[0])


def item_names_job(body: bytes) -> bool:
    """Return whether an item of an Adyen notification has a valid `pspReference`."""
    return any(_is_reference(_get_member(item, "pspReference")) for item in parse_adyen_items(body))


def parse_adyen_items(body: bytes) -> Iterable[Any]:
    """Return the items of an Adyen notification; none for any other body."""
    items = _get_member(_parse_json(body), "notificationItems")
    if not isinstance(items, list):
        return []
    return [_get_member(item, "NotificationRequestItem") for item in items]


def extract_adyen_contents(body: bytes) -> frozenset[tuple[str, ...]]:
    """Return the signed values of each item, with its signature."""
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success")
    contents = set()
    for item in filter(None, parse_adyen_items(body)):
        amount = _get_member(item, "amount")
        values = [_get_member(item, name) for name in names] + [
            _get_member(amount, "value"),
            _get_member(amount, "currency"),
        ]
        signature = _get_member(_get_member(item, "additionalData"), "hmacSignature")
        contents.add((*("" if value is None else str(value) for value in values), str(signature)))
    return frozenset(contents)


def _parse_json(body: bytes) -> Any:
    """Parse JSON; its charset, odd bytes and control characters within texts do not matter."""
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        return json.loads(text.removeprefix("\ufeff"), strict=False)
    except (ValueError, RecursionError):
        return None


def _get_member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _is_reference(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value)
    return 0 < len(text) <= _MAX_REFERENCE_CHARACTERS and "\0" not in text
