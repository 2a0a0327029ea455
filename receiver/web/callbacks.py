"""The callback endpoint, the whole story in one place: cap → raw bytes → signature → read → commit → answer.

It is plain WSGI, ahead of Flask: making Flask's request and response costs more than all the rest of the story, and
callbacks come in storms.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from time import perf_counter
from typing import TYPE_CHECKING

from werkzeug.exceptions import MethodNotAllowed, NotFound, UnsupportedMediaType

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.inbound.receive import receive
from receiver.providers.base import CallbackSettings, Provider
from receiver.settings import Settings
from receiver.signatures.base import SignatureRefused
from receiver.web.bodies import read_body
from receiver.web.callback_metrics import UNKNOWN_PROVIDER
from receiver.web.context import AppContext
from receiver.web.problems import build_problem_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/callbacks/"
_COMMIT_WITHIN = 10.0


class CallbackEndpoint:
    """Takes callbacks, and leaves every other path to `elsewhere`."""

    def __init__(self, context: AppContext, elsewhere: "WSGIApplication") -> None:
        self._wired = context
        self._elsewhere = elsewhere
        self._answered = context.meters.answered

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            return self._elsewhere(environ, start_response)
        began = perf_counter()
        name, _, token = path.removeprefix(PREFIX).partition("/")
        provider = self._wired.providers.get(name)
        called = UNKNOWN_PROVIDER if provider is None else name
        try:
            ack = self._take(environ, provider, token)
        except Exception as error:
            problem = build_problem_response(error)
            self._answered(called, problem.status_code, perf_counter() - began)
            return problem(environ, start_response)
        self._answered(called, ack.status, perf_counter() - began)
        length = [] if ack.status == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(ack.body)))]
        headers = [*length, *ack.headers.items()]
        start_response(f"{ack.status} {HTTPStatus(ack.status).phrase}", headers)
        return (ack.body,) if ack.body else ()

    def _take(self, environ: "WSGIEnvironment", provider: Provider | None, token: str) -> Ack:
        """Take a provider's callback; returns once it is committed. See the contract's table for the answers."""
        if provider is None or not provider.callback_settings.auth.admits(token):
            raise NotFound("no such provider is configured, or its URL ends otherwise")
        callback_settings = provider.callback_settings
        if environ["REQUEST_METHOD"] not in callback_settings.methods:
            raise MethodNotAllowed(sorted(callback_settings.methods))
        settings = self._wired.settings
        callback = _delivery(environ, callback_settings, settings, self._wired.clock.now())
        try:
            if callback_settings.auth.allow_from:
                callback_settings.auth.check_address(caller_address(environ, settings.trusted_proxies))
            greeting = provider.handshake(callback)
        except SignatureRefused as error:
            self._wired.guardian.record_refusal(provider, callback, error)
            raise
        if greeting is not None:
            return greeting
        self._wired.guardian.authenticate(provider, callback)
        receive(self._wired.inbox, provider, callback, timeout=_COMMIT_WITHIN)
        return callback_settings.ack


def caller_address(environ: "WSGIEnvironment", trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Give the address of the caller: the nearest one that is not a trusted proxy's.

    `X-Forwarded-For` is read from its end, and only as far as trusted proxies wrote it.
    """
    forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    hops: list[str] = [environ.get("REMOTE_ADDR", ""), *(hop.strip() for hop in reversed(forwarded) if hop.strip())]
    for hop in hops:
        try:
            address = ip_address(hop)
        except ValueError:
            return hop
        if not any(address in network for network in trusted):
            return hop
    return hops[-1]


def _delivery(
    environ: "WSGIEnvironment", callback_settings: CallbackSettings, settings: Settings, now: datetime
) -> IncomingCallback:
    """Read the request as it came, at `now` (UTC).

    Raises:
        RequestEntityTooLarge, BadRequest: see `read_body`.
        UnsupportedMediaType: the provider does not call back with this media type.
    """
    callback = IncomingCallback(
        method=environ["REQUEST_METHOD"],
        target=environ["RAW_URI"],
        headers=_headers(environ),
        body=read_body(environ, settings.max_body),
        received_at=now,
        public_url=settings.public_url,
    )
    if callback.media_type and callback.media_type not in callback_settings.media_types:
        raise UnsupportedMediaType(f"send one of: {', '.join(sorted(callback_settings.media_types))}")
    return callback


def _headers(environ: "WSGIEnvironment") -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
