"""The callback endpoint: limit size → read bytes → authenticate → parse → commit → acknowledge.

A handshake, by which a provider checks the URL, is answered in place of being authenticated as a callback.

The endpoint stands in front of Flask: building Flask's request and response objects costs more than all other steps
together, and callbacks arrive in bursts. Under gunicorn, `receiver.web.server.worker` calls `CallbackEndpoint.respond`;
any other WSGI server calls the endpoint as a WSGI app.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network
from random import random
from time import monotonic, perf_counter, time_ns
from typing import TYPE_CHECKING
from uuid import UUID

from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType

from receiver.domain.accounts import ACCOUNT_SEGMENT, CALLBACKS_PATH, join_account, split_account
from receiver.domain.addresses import find_caller
from receiver.domain.callbacks import Ack, IncomingCallback, add_echoed_header
from receiver.domain.documents.encodings import (
    CONTENT_ENCODING,
    DecodedTooLarge,
    UnsupportedEncoding,
    decode_body,
)
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.media_types import USUAL_MEDIA_TYPES, is_readable
from receiver.exchange.confirmations import confirm
from receiver.inbound.receive import receive
from receiver.inbound.refusals import KEPT_HANDSHAKE
from receiver.providers.base import Provider
from receiver.providers.capabilities import CallbackSettings, Handshake
from receiver.signatures.base import InvalidSignature
from receiver.web.access_log import log_callback
from receiver.web.bodies import read_body
from receiver.web.context import AppContext
from receiver.web.metrics.callback_metrics import UNKNOWN_PROVIDER
from receiver.web.probes import PROBE_METHODS, answer_probe
from receiver.web.problems import ProblemError, ProblemType, build_problem_response
from receiver.web.security_headers import SECURITY_HEADERS
from receiver.web.server.messages import HttpRequest, HttpResponse
from receiver.web.tracing import trace_callback
from receiver.web.unknown_urls import UnknownUrlLog, UnknownUrlReason

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_KEPT_HANDSHAKE_MESSAGE = "Answered, and kept for admins: a value in it may be the secret of later signatures."
_COMMIT_TIMEOUT_S = 10.0
_MAX_ADDRESS_CHARS = 64
_REFUSAL_PARTS = {400: "unreadable", 405: "method", 413: "too_large", 415: "media_type"}
"""The parts of callbacks that are refused before they are verified, by status."""


class CallbackEndpoint:
    """WSGI middleware that handles callbacks and passes every other path on to `next_app`."""

    def __init__(self, context: AppContext, next_app: "WSGIApplication") -> None:
        self._context = context
        self._next_app = next_app
        self._record = context.metrics.callback_responses.append
        self._logged_share = context.settings.log_callbacks
        self._unknown_urls = UnknownUrlLog()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Another spelling of a path, with percent-encoding, is not a callback URL; see `CanonicalPaths`.
        if not path.startswith(CALLBACKS_PATH) or not environ["RAW_URI"].partition("?")[0].endswith(path):
            return self._next_app(environ, start_response)
        request = HttpRequest(
            environ["REQUEST_METHOD"],
            environ["RAW_URI"],
            path,
            _read_headers(environ),
            environ["wsgi.input"],
            environ.get("REMOTE_ADDR", ""),
        )
        response = self.respond(request)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return (response.body,) if response.body and request.method != "HEAD" else ()

    def handles(self, method: str, target: str) -> bool:
        """Return whether the endpoint answers a request; the app answers other spellings of a path."""
        path = target.partition("?")[0]
        return path.startswith(CALLBACKS_PATH) and "%" not in path and "#" not in path

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request to a path below `CALLBACKS_PATH`."""
        started = perf_counter()
        name, _, token = request.path.removeprefix(CALLBACKS_PATH).partition("/")
        if token.startswith(ACCOUNT_SEGMENT):
            account, _, token = token.removeprefix(ACCOUNT_SEGMENT).partition("/")
            name = join_account(name, account)
        providers = self._context.settings.providers
        provider = providers.get(name)
        label = name if provider else _find_base_name(name, providers)
        callback_id: UUID | None = None
        try:
            ack, callback_id = self._handle(request, label, provider, token)
            response = _build_response(ack)
        except Exception as error:
            response = HttpResponse.from_flask(build_problem_response(error))
        self._record((label or UNKNOWN_PROVIDER, response.status, perf_counter() - started))
        if self._logged_share and random() < self._logged_share:  # noqa: S311  # chooses what is logged
            log_callback(
                started,
                method=request.method,
                provider=provider.name if provider else None,
                status=response.status,
                callback_id=callback_id,
                address=self._find_caller(request),
            )
        return response

    def _handle(
        self, request: HttpRequest, label: str | None, provider: Provider | None, token: str
    ) -> tuple[Ack, UUID | None]:
        """Return the acknowledgement of a callback once the callback is committed, and the id of its row.

        There is no row of a check of the URL.

        Args:
            request: the request.
            label: the configured name to log and count the callback under, also that of a provider without the
                account in the URL; None for no such name.
            provider: the provider or account in the URL, if it is configured.
            token: the rest of the path.

        Raises:
            Exception: the error to answer with a problem; the contract's table lists the statuses.
        """
        if provider is None or provider.callbacks is None or not provider.callbacks.settings.auth.accepts_token(token):
            reason = _find_unknown_url_reason(label, provider)
            self._unknown_urls.record(label, reason, self._find_caller(request), monotonic())
            detail = "Unknown callback URL: no such provider, or a wrong token."
            raise ProblemError(ProblemType.UNKNOWN_CALLBACK_URL, detail)
        callback_settings = provider.callbacks.settings
        is_callback = request.method in callback_settings.methods
        if not is_callback and (ack := answer_probe(request, callback_settings)):
            return ack, None
        authenticator = self._context.callback_authenticator
        max_body_bytes = self._context.settings.max_body_bytes
        incoming: IncomingCallback | None = None
        try:
            if not is_callback:
                _check_method(request.method, callback_settings.all_methods)
            body = read_body(request.body, request.headers.get("content-length", ""), max_body_bytes)
            incoming = self._read(request, body)
            # First: whatever is refused later is decompressed once more when it is stored as a sample.
            _check_content_encoding(incoming, max_body_bytes)
            callback_settings.auth.check_address(incoming.caller_address)
            handshake = callback_settings.handshake
            if handshake and (ack := self._answer_handshake(provider, handshake, incoming)):
                return ack, None
            if not is_callback:
                _check_method(request.method, callback_settings.methods)
            _check_media_type(incoming, callback_settings)
        except InvalidSignature as error:
            authenticator.record_refusal(provider, incoming or self._read(request, b""), error)
            raise
        except HTTPException as error:
            if error.code in _REFUSAL_PARTS:
                if incoming is None or error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    incoming = self._read(request, b"")
                part, message = _REFUSAL_PARTS[error.code], str(error.description)
                authenticator.record_unread(provider, incoming, part, message)
            raise
        return self._receive(provider, callback_settings, incoming)

    def _receive(
        self, provider: Provider, callback_settings: CallbackSettings, incoming: IncomingCallback
    ) -> tuple[Ack, UUID]:
        """Return the acknowledgement of a callback that was read, once it is committed, and the id of its row."""
        authenticator, tracing = self._context.callback_authenticator, self._context.tracing
        started_at = time_ns() if tracing else 0
        verified = authenticator.authenticate(provider, incoming)
        try:
            parsed = receive(self._context.batcher, verified, timeout=_COMMIT_TIMEOUT_S)
        except InvalidSignature as error:  # only the transaction knows whether a nonce is new
            authenticator.record_refusal(provider, incoming, error)
            raise
        ack, echoed_header = callback_settings.ack, callback_settings.echoed_header
        if tracing:
            trace_callback(tracing, parsed, ack, started_at)
        return add_echoed_header(ack, echoed_header, incoming) if echoed_header else ack, verified.id

    def _answer_handshake(self, provider: Provider, handshake: Handshake, incoming: IncomingCallback) -> Ack | None:
        """Return the response to a handshake, or None for a callback.

        Raises:
            InvalidSignature: the handshake is forged.
            ConfirmationFailed: the URL that confirms ours cannot be called now.
        """
        authenticator = self._context.callback_authenticator
        response = handshake.respond(incoming, lambda: authenticator.verify(provider, incoming))
        if response is None:
            return None
        if response.confirm_url:
            targets = self._context.settings.notify_targets
            networks = targets.networks if targets else ()
            confirm(provider.name, response.confirm_url, networks, provider.egress)
        if response.is_kept:
            authenticator.record_unread(provider, incoming, KEPT_HANDSHAKE, _KEPT_HANDSHAKE_MESSAGE)
        return response.ack

    def _read(self, request: HttpRequest, body: bytes) -> IncomingCallback:
        """Return the callback as it was sent, received now."""
        return IncomingCallback(
            method=request.method,
            target=_read_target(request.target),
            headers=request.headers,
            body=body,
            received_at=self._context.clock.now(),
            public_url=self._context.settings.public_url,
            caller_address=self._find_caller(request),
        )

    def _find_caller(self, request: HttpRequest) -> str:
        """Return the address of the caller."""
        caller, trusted = request.peer, self._context.settings.trusted_proxies
        if trusted:
            caller = find_caller(caller, request.headers.get("x-forwarded-for", ""), trusted)
        return caller[:_MAX_ADDRESS_CHARS]


def caller_address(environ: "WSGIEnvironment", trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address of the caller of a WSGI app; see `find_caller`."""
    return find_caller(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), trusted)


def _find_base_name(name: str, configured: Container[str]) -> str | None:
    """Return the provider of an account that is not configured; None if the provider is not configured either."""
    base_name = split_account(name).provider
    return base_name if base_name in configured else None


def _find_unknown_url_reason(label: str | None, provider: Provider | None) -> UnknownUrlReason:
    """Return why a URL is not a callback URL; see `CallbackEndpoint._handle`."""
    if provider is not None:
        return UnknownUrlReason.WRONG_TOKEN if provider.callbacks else UnknownUrlReason.NO_CALLBACKS
    return UnknownUrlReason.UNKNOWN_ACCOUNT if label else UnknownUrlReason.UNKNOWN_PROVIDER


def _build_response(ack: Ack) -> HttpResponse:
    length = [] if ack.status == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(ack.body)))]
    return HttpResponse(ack.status, [*SECURITY_HEADERS, *length, *ack.headers.items()], ack.body)


def _check_method(method: str, allowed: Collection[str]) -> None:
    """Check that deliveries come by this method.

    Raises:
        MethodNotAllowed: they do not.
    """
    if method not in allowed:
        methods = sorted(allowed)
        raise MethodNotAllowed([*methods, *sorted(PROBE_METHODS)], f"Method not allowed; use {' or '.join(methods)}.")


def _check_media_type(incoming: IncomingCallback, callback_settings: CallbackSettings) -> None:
    """Check that the body can be read as the configured kind.

    Raises:
        UnsupportedMediaType: it cannot, by its media type.
    """
    kind, content_type = callback_settings.body_kind, incoming.headers.get("content-type", "")
    # Most callbacks come with the plain name of a media type.
    if content_type in USUAL_MEDIA_TYPES[kind] and kind != "multipart":
        return
    if not is_readable(kind, content_type) and incoming.method != "GET":
        boundary = " with a boundary" if kind == "multipart" else ""
        media_types = " or ".join(sorted(USUAL_MEDIA_TYPES[kind]))
        raise UnsupportedMediaType(f"Unsupported media type; send {media_types}{boundary}.")


def _check_content_encoding(incoming: IncomingCallback, max_bytes: int) -> None:
    """Check that a compressed body can be decompressed within the limit of bodies.

    Raises:
        UnsupportedMediaType: its encoding is not supported.
        RequestEntityTooLarge: it exceeds `max_bytes` when it is decompressed.
    """
    if CONTENT_ENCODING not in incoming.headers:
        return
    try:
        decode_body(incoming, max_bytes)
    except UnsupportedEncoding as error:
        raise UnsupportedMediaType(str(error)) from None
    except DecodedTooLarge as error:
        raise RequestEntityTooLarge(str(error)) from None
    except UnreadableDocument:
        return  # reported once the sender is known


def _read_target(target: str) -> str:
    """Return the path and query of a request's target, which may be a whole URL (RFC 9112, section 3.2.2)."""
    if target.startswith("/"):
        return target
    _, slash, tail = target.partition("://")[2].partition("/")
    return slash + tail


def _read_headers(environ: "WSGIEnvironment") -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers
