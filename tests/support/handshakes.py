"""A declared provider with handshakes, and deliveries that may be one."""

import hmac
import tomllib
from collections.abc import Mapping
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.capabilities import HandshakeResponse
from receiver.providers.registry import build_provider
from tests.support.capabilities import callbacks_of
from tests.support.factories import NOON

SECRET = "a-secret-of-the-provider"
HMAC = {"scheme": "hmac", "header": "X-Sig", "secrets": [SECRET]}


def build_table(handshake: str, signature: Mapping[str, Any] = HMAC, **callback: Any) -> dict[str, Any]:
    """Build the table of a provider whose key `handshake` has this value, in TOML."""
    # An inline table of TOML is one line.
    handshakes = tomllib.loads(f"handshake = {' '.join(handshake.split())}")
    table = {"reference": "id", "status": "status", "statuses": {"done": "succeeded"}, **handshakes, **callback}
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
