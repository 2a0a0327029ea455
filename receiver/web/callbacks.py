"""The callback endpoint: limit size → read bytes → authenticate → parse → commit → acknowledge.

The endpoint is a plain WSGI callable in front of Flask: building Flask's request and response objects costs more than
all other steps together, and callbacks arrive in bursts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network
from time import perf_counter
from typing import TYPE_CHECKING

from werkzeug.exceptions import MethodNotAllowed, UnsupportedMediaType

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.inbound.receive import receive
from receiver.providers.base import Provider
from receiver.providers.capabilities import CallbackSettings
from receiver.settings import Settings
from receiver.signatures.base import InvalidSignature
from receiver.web.addresses import find_caller
from receiver.web.bodies import read_body
from receiver.web.context import AppContext
from receiver.web.metrics.callback_metrics import UNKNOWN_PROVIDER
from receiver.web.problems import ProblemError, ProblemType, build_problem_response
from receiver.web.security_headers import SECURITY_HEADERS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/callbacks/"
_COMMIT_TIMEOUT_S = 10.0


class CallbackEndpoint:
    """WSGI middleware that handles callbacks and passes every other path on to `next_app`."""

    def __init__(self, context: AppContext, next_app: "WSGIApplication") -> None:
        self._context = context
        self._providers = context.providers
        self._next_app = next_app
        self._record = context.metrics.callback_responses.append

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Another spelling of a path, with percent-encoding, is not a callback URL; see `CanonicalPaths`.
        if not path.startswith(PREFIX) or not environ["RAW_URI"].partition("?")[0].endswith(path):
            return self._next_app(environ, start_response)
        started = perf_counter()
        name, _, token = path.removeprefix(PREFIX).partition("/")
        provider = self._providers.get(name)
        label = UNKNOWN_PROVIDER if provider is None else name
        try:
            ack = self._handle(environ, provider, token)
        except Exception as error:
            problem = build_problem_response(error)
            self._record((label, problem.status_code, perf_counter() - started))
            return problem(environ, start_response)
        self._record((label, ack.status, perf_counter() - started))
        length = [] if ack.status == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(ack.body)))]
        headers = [*SECURITY_HEADERS, *length, *ack.headers.items()]
        start_response(f"{ack.status} {HTTPStatus(ack.status).phrase}", headers)
        return (ack.body,) if ack.body else ()

    def _handle(self, environ: "WSGIEnvironment", provider: Provider | None, token: str) -> Ack:
        """Return the acknowledgement of a callback once the callback is committed.

        Raises:
            Exception: the error to answer with a problem; the contract's table lists the statuses.
        """
        if provider is None or provider.callbacks is None or not provider.callbacks.settings.auth.accepts_token(token):
            detail = "Unknown callback URL: no such provider, or a wrong token."
            raise ProblemError(ProblemType.UNKNOWN_CALLBACK_URL, detail)
        callback_settings = provider.callbacks.settings
        if environ["REQUEST_METHOD"] not in callback_settings.methods:
            raise MethodNotAllowed(sorted(callback_settings.methods))
        settings = self._context.settings
        incoming = _read_callback(environ, callback_settings, settings, self._context.clock.now())
        authenticator = self._context.callback_authenticator
        try:
            if callback_settings.auth.allow_from:
                callback_settings.auth.check_address(caller_address(environ, settings.trusted_proxies))
            handshake_ack = _answer_handshake(callback_settings, incoming)
        except InvalidSignature as error:
            authenticator.record_refusal(provider, incoming, error)
            raise
        if handshake_ack is not None:
            return handshake_ack
        verified = authenticator.authenticate(provider, incoming)
        try:
            receive(self._context.batcher, verified, timeout=_COMMIT_TIMEOUT_S)
        except InvalidSignature as error:  # only the transaction knows whether a nonce is new
            authenticator.record_refusal(provider, incoming, error)
            raise
        return callback_settings.ack


def _answer_handshake(callback_settings: CallbackSettings, incoming: IncomingCallback) -> Ack | None:
    """Return the response to a handshake, or None for a callback; raise InvalidSignature for a forged handshake."""
    handshake = callback_settings.handshake
    return handshake.respond(incoming, lambda: callback_settings.auth.verify(incoming)) if handshake else None


def caller_address(environ: "WSGIEnvironment", trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address of the caller; see `find_caller`."""
    return find_caller(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), trusted)


def _read_callback(
    environ: "WSGIEnvironment", callback_settings: CallbackSettings, settings: Settings, now: datetime
) -> IncomingCallback:
    """Read the callback as it was sent, received at `now` (UTC).

    Raises:
        RequestEntityTooLarge, BadRequest: see `read_body`.
        UnsupportedMediaType: the provider does not call back with this media type.
    """
    incoming = IncomingCallback(
        method=environ["REQUEST_METHOD"],
        target=environ["RAW_URI"],
        headers=_read_headers(environ),
        body=read_body(environ, settings.max_body_bytes),
        received_at=now,
        public_url=settings.public_url,
    )
    if incoming.media_type and incoming.media_type not in callback_settings.media_types:
        media_types = " or ".join(sorted(callback_settings.media_types))
        raise UnsupportedMediaType(f"Unsupported media type; send {media_types}.")
    return incoming


def _read_headers(environ: "WSGIEnvironment") -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
