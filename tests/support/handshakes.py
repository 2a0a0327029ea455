"""Declared providers with handshakes, also with those of the guide, and deliveries that may be one."""

import hmac
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.capabilities import HandshakeResponse
from receiver.providers.registry import build_provider
from tests.support.capabilities import callbacks_of
from tests.support.factories import NOON

SECRET, TOKEN = "a-secret-of-the-provider", "71745723-d031-455c-bfa5-f90d11b4f20a"
HMAC = {"scheme": "hmac", "header": "X-Sig", "secrets": [SECRET]}
_GUIDE = Path(__file__).parents[2] / "docs/providers.md"


def find_guide_rows() -> Mapping[str, Any]:
    """Return the value of `handshake` of each provider in the guide, with values in place of its variables."""
    heading = "| provider | `handshake` |\n| --- | --- |\n"
    section = _GUIDE.read_text().partition(heading)[2].partition("\n\n")[0]
    cells = {row.split("|")[1].strip(): row.split("`")[1] for row in section.splitlines()}
    tables = {
        name: re.sub("env:([A-Z_]+)", lambda match: TOKEN if "VER" in match[1] else SECRET, table)
        for name, table in cells.items()
    }
    return {name: tomllib.loads(f"handshake = {table}")["handshake"] for name, table in tables.items()}


GUIDE_ROWS = find_guide_rows()


def build_from_guide(row: str, signature: Mapping[str, Any] = HMAC, **callback: Any) -> Provider:
    """Build a provider with the handshake of a row of the guide."""
    return build_provider("acme", _build_base(signature, {"handshake": GUIDE_ROWS[row], **callback}))


def build_table(handshake: str, signature: Mapping[str, Any] = HMAC, **callback: Any) -> dict[str, Any]:
    """Build the table of a provider whose key `handshake` has this value, in TOML."""
    # An inline table of TOML is one line.
    handshakes = tomllib.loads(f"handshake = {' '.join(handshake.split())}")
    return _build_base(signature, {**handshakes, **callback})


def _build_base(signature: Mapping[str, Any], callback: Mapping[str, Any]) -> dict[str, Any]:
    table = {"reference": "id", "status": "status", "statuses": {"done": "succeeded"}, **callback}
    return {"kind": "declared", "base_url": "https://a.example", "signature": dict(signature), "callback": table}


def build(handshake: str, signature: Mapping[str, Any] = HMAC, **callback: Any) -> Provider:
    """Build the provider of such a table."""
    return build_provider("acme", build_table(handshake, signature, **callback))


def build_delivery(
    document: object = None, *, method: str = "POST", target: str = "/callbacks/acme", media_type: str = ""
) -> IncomingCallback:
    """Build a delivery, which is signed if it is a POST."""
    body = document if isinstance(document, bytes) else orjson.dumps(document) if document is not None else b""
    headers = {"content-type": media_type or "application/json"} if body else {}
    if method != "GET":
        headers["x-sig"] = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    return IncomingCallback(method, target, headers, body, NOON, "https://hooks.example")


def respond(handshake: str, delivery: IncomingCallback, **callback: Any) -> HandshakeResponse | None:
    """Return the response of a provider with these handshakes."""
    settings = callbacks_of(build(handshake, **callback)).settings
    assert settings.handshake
    return settings.handshake.respond(delivery, lambda: settings.auth.verify(delivery))
