"""The callback endpoint, the whole story in one place: cap → raw bytes → signature → read → commit → answer.

It is plain WSGI, ahead of Flask: making Flask's request and response costs more than all the rest of the story, and
callbacks come in storms.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from werkzeug.exceptions import MethodNotAllowed, NotFound, UnsupportedMediaType

from receiver.inbound.receive import receive
from receiver.providers.base import Delivery, Provider
from receiver.web.bodies import raw_body
from receiver.web.problems import problem_of
from receiver.web.wiring import Wiring

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/callbacks/"
_COMMIT_WITHIN = 10.0


class CallbackEndpoint:
    """Takes callbacks, and leaves every other path to `elsewhere`."""

    def __init__(self, wired: Wiring, elsewhere: "WSGIApplication") -> None:
        self._wired = wired
        self._elsewhere = elsewhere

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._elsewhere(environ, start_response)
        try:
            self._take(environ)
        except Exception as error:
            return problem_of(error)(environ, start_response)
        start_response("200 OK", [("Content-Length", "0")])
        return ()

    def _take(self, environ: "WSGIEnvironment") -> None:
        """Take a provider's callback; returns once it is committed. See the contract's table for the answers."""
        provider = self._wired.providers.get(environ["PATH_INFO"].removeprefix(PREFIX))
        if provider is None:
            raise NotFound("no such provider is configured")
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed(["POST"])
        delivery = _delivery(environ, provider, self._wired.settings.max_body)
        provider.verify(delivery)
        receive(self._wired.inbox, provider, delivery, timeout=_COMMIT_WITHIN)


def _delivery(environ: "WSGIEnvironment", provider: Provider, max_body: int) -> Delivery:
    """Read the request as it came.

    Raises:
        RequestEntityTooLarge, BadRequest: see `raw_body`.
        UnsupportedMediaType: the provider does not call back with this media type.
    """
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type and media_type not in provider.media_types:
        raise UnsupportedMediaType(f"send one of: {', '.join(sorted(provider.media_types))}")
    return Delivery(
        method=environ["REQUEST_METHOD"],
        target=environ["RAW_URI"],
        headers=_headers(environ),
        body=raw_body(environ, max_body),
        received_at=datetime.now(UTC),
    )


def _headers(environ: "WSGIEnvironment") -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
