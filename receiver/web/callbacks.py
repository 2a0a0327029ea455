"""The callback endpoint, the whole story in one view: cap → raw bytes → signature → read → commit → answer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound, UnsupportedMediaType

from receiver.inbound.receive import receive
from receiver.providers.base import Delivery, Provider
from receiver.web.bodies import raw_body
from receiver.web.wiring import wiring

_COMMIT_WITHIN = 10.0

callbacks = Blueprint("callbacks", __name__)


@callbacks.post("/callbacks/<name>")
def take_callback(name: str) -> Response:
    """Take a provider's callback and answer once it is committed; see the contract's table for the answers."""
    wired = wiring()
    provider = wired.providers.get(name)
    if provider is None:
        raise NotFound("no such provider is configured")
    delivery = _delivery(provider)
    provider.verify(delivery)
    receive(wired.inbox, provider, delivery, timeout=_COMMIT_WITHIN)
    return Response(status=200)


def _delivery(provider: Provider) -> Delivery:
    """Read the request as it came; the body's size is capped by the app.

    Raises:
        RequestEntityTooLarge: the body exceeds the cap.
        UnsupportedMediaType: the provider does not call back with this media type.
    """
    environ = request.environ
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type and media_type not in provider.media_types:
        raise UnsupportedMediaType(f"send one of: {', '.join(sorted(provider.media_types))}")
    return Delivery(
        method=request.method,
        target=environ["RAW_URI"],
        headers=_headers(environ),
        body=raw_body(),
        received_at=datetime.now(UTC),
    )


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Give the headers of a request; `request.headers` takes several times as long."""
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
