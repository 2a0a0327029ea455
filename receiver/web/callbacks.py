"""The callback endpoint, the whole story in one view: cap → raw bytes → signature → read → commit → answer."""

from datetime import UTC, datetime

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
    if request.mimetype and request.mimetype not in provider.media_types:
        raise UnsupportedMediaType(f"send one of: {', '.join(sorted(provider.media_types))}")
    return Delivery(
        method=request.method,
        target=request.full_path if request.query_string else request.path,
        headers={header.lower(): value for header, value in request.headers},
        body=raw_body(),
        received_at=datetime.now(UTC),
    )
