"""The HTTP client: one exchange under greenlets, over pooled connections to one origin.

It distinguishes requests that certainly never arrived from requests that the server may have acted on. An exchange has
one total deadline. The client verifies TLS, never sends a request again, does not follow redirects, and reads at most
`MAX_RESPONSE_BYTES` bytes of a response body. With `TargetRules` it connects to allowed addresses only.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import gevent
import gevent.socket
import geventhttpclient.client
from gevent.ssl import SSLContext, create_default_context
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPSocketPoolResponse

from receiver.domain.sending import NoResponse, Outcome, Response
from receiver.domain.targets import TargetNotAllowed, TargetRules, explain_refused_addresses
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

MAX_RESPONSE_BYTES = 1 << 20
_MAX_RECEIVED_BYTES = MAX_RESPONSE_BYTES + (256 << 10)
_MAX_BYTES_WITHOUT_YIELD = 64 << 10


class _NotConnected(Exception):
    """No connection to the server could be made."""


class BoundedSocket:
    """A connected socket that a server cannot use to starve other greenlets.

    Per request it receives at most `_MAX_RECEIVED_BYTES` bytes, headers included. After `_MAX_BYTES_WITHOUT_YIELD`
    bytes every read yields: gevent switches only when it has to wait, so that an endless response would block
    everything.
    """

    def __init__(self, connection: gevent.socket.socket) -> None:
        self._connection = connection
        self._received = 0

    def sendall(self, data: bytes) -> None:
        self._received = 0
        self._connection.sendall(data)

    def recv(self, size: int) -> bytes:
        if self._received > _MAX_RECEIVED_BYTES:
            raise ConnectionError(f"the response exceeds {_MAX_RECEIVED_BYTES} bytes")
        if self._received > _MAX_BYTES_WITHOUT_YIELD:
            gevent.sleep(0)
        data: bytes = self._connection.recv(size)
        self._received += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Client(Protocol):
    """An HTTP client; see `HttpClient`."""

    def exchange(self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None) -> Outcome: ...

    def close(self) -> None: ...


class HttpClient:
    """An HTTP client of one origin. `exchange.admission` limits how many exchanges run and when they begin.

    Args:
        origin: scheme, host and port.
        send_policy: the timeouts, and the maximum number of connections.
        max_body_bytes: the number of bytes at which a response body is cut.
        rules: the addresses that may be connected to; None for any address.
        build_tls: returns the TLS context; the shared one by default.
    """

    def __init__(
        self,
        origin: str,
        send_policy: SendPolicy,
        *,
        max_body_bytes: int = MAX_RESPONSE_BYTES,
        rules: TargetRules | None = None,
        build_tls: Callable[..., SSLContext] | None = None,
    ) -> None:
        self._max_duration = send_policy.max_duration
        self._max_body_bytes = max_body_bytes
        scheme = urlsplit(origin).scheme
        self._http = HTTPClient.from_url(
            origin,
            concurrency=send_policy.max_concurrency,
            connection_timeout=send_policy.connect_timeout,
            network_timeout=send_policy.timeout,
            ssl_context_factory=(build_tls or _get_tls_context) if scheme == "https" else None,
        )
        if rules:
            _restrict_addresses(self._http, rules, scheme)
        _bound_connections(self._http)
        _disable_automatic_retries()

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse:
        """Send a request and return its response, or how the exchange ended without one.

        Errors of the server or the network are returned, never raised. The exchange runs within `admission`, whose
        own errors are raised.
        """
        with admission or nullcontext():
            return self._perform(outgoing)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def _perform(self, outgoing: OutgoingRequest) -> Response | NoResponse:
        timer = gevent.Timeout.start_new(self._max_duration)
        try:
            response = self._http.request(outgoing.method, outgoing.target, outgoing.body, dict(outgoing.headers))
            return _read_response(response, self._max_body_bytes)
        except _NotConnected as error:
            return NoResponse(f"cannot connect: {error.__cause__}", sent=False)
        except gevent.Timeout as expired:
            # A timeout of the caller is not ours to handle.
            if expired is not timer:
                raise
            return NoResponse(f"timed out after {self._max_duration:g} s", sent=True)
        except Exception as error:
            # Whatever it is, the server may have received the request.
            return NoResponse(f"{type(error).__name__}: {error}", sent=True)
        finally:
            timer.close()


def _read_response(response: HTTPSocketPoolResponse, max_body_bytes: int) -> Response:
    try:
        headers = {name.lower(): value for name, value in response.items()}
        return Response(response.status_code, headers, bytes(response.read(max_body_bytes)))
    finally:
        response.release()


def _disable_automatic_retries() -> None:
    """Disable the library's automatic retry of GET, PUT and DELETE after a broken connection.

    A server may act on any of these methods, and the sending table decides about retries. The library has no option
    for it.
    """
    geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


def _bound_connections(http: HTTPClient) -> None:
    """Patch the client's pool to mark connection errors, name resolution included, and to bound what it reads.

    The client raises OSError before and after sending alike, and has no hook for either.
    """
    pool = http._connection_pool  # noqa: SLF001  # see above
    create_socket = pool._create_socket  # noqa: SLF001  # see above

    def create_bounded_socket() -> BoundedSocket:
        try:
            with gevent.Timeout(pool.connection_timeout, TimeoutError("timed out")):
                return BoundedSocket(create_socket())
        except Exception as error:
            raise _NotConnected from error

    pool._create_socket = create_bounded_socket  # type: ignore  # noqa: PGH003, SLF001  # see above


@cache
def _get_tls_context(cafile: str | None = None) -> SSLContext:
    """Return the TLS context that all connections share: building one takes as long as many exchanges."""
    return create_default_context(cafile=cafile)


def _restrict_addresses(http: HTTPClient, rules: TargetRules, scheme: str) -> None:
    """Patch the client's pool to connect only to allowed addresses.

    The pool connects to the addresses that its `_resolve` returns, without another lookup. It has no hook for it.
    """
    pool = http._connection_pool  # noqa: SLF001  # see above
    resolve = pool._resolve  # noqa: SLF001  # see above

    def resolve_allowed() -> list[Any]:
        infos = resolve()
        allowed = [info for info in infos if rules.allows_address(scheme, str(info[4][0]))]
        if not allowed:
            raise TargetNotAllowed(explain_refused_addresses(scheme, *dict.fromkeys(str(info[4][0]) for info in infos)))
        return allowed

    pool._resolve = resolve_allowed  # type: ignore  # noqa: PGH003, SLF001  # see above
