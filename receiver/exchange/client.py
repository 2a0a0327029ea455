"""The HTTP client for providers: one exchange under greenlets, over pooled connections to the provider's origin.

It distinguishes requests that certainly never arrived from requests that the provider may have acted on. It never sends
a request again, does not follow redirects, and reads at most `MAX_RESPONSE_BYTES` bytes of a response body.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import gevent
import gevent.socket
import geventhttpclient.client
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPSocketPoolResponse

from receiver.domain.sending import NoResponse, Response
from receiver.providers.base import OutgoingRequest, Provider

MAX_RESPONSE_BYTES = 1 << 20
_MAX_RECEIVED_BYTES = MAX_RESPONSE_BYTES + (256 << 10)
_MAX_BYTES_WITHOUT_YIELD = 64 << 10


class _NotConnected(Exception):
    """No connection to the provider could be made."""


class BoundedSocket:
    """A connected socket that a provider cannot use to starve other greenlets.

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
    """An HTTP client; see `ProviderClient`."""

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse: ...

    def close(self) -> None: ...


class ProviderClient:
    """The HTTP client of one provider. `exchange.admission` limits how many exchanges run and when they begin."""

    def __init__(self, provider: Provider) -> None:
        send_policy = provider.send_policy
        self._timeout = send_policy.connect_timeout + send_policy.timeout
        self._http = HTTPClient.from_url(
            provider.origin,
            concurrency=send_policy.max_concurrency,
            connection_timeout=send_policy.connect_timeout,
            network_timeout=send_policy.timeout,
        )
        bound_connections(self._http)
        disable_automatic_retries()

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse:
        """Send a request and return its response, or how the exchange ended without one.

        Errors of the provider or the network are returned, never raised. The exchange runs within `admission`, whose
        own errors are raised.
        """
        with admission or nullcontext():
            return perform_exchange(self._http, outgoing, self._timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()


def perform_exchange(
    http: HTTPClient, outgoing: OutgoingRequest, timeout: float, max_body_bytes: int = MAX_RESPONSE_BYTES
) -> Response | NoResponse:
    """Perform one exchange within `timeout` seconds; the response body is cut at `max_body_bytes` bytes.

    The client's connections must be bounded, see `bound_connections`.
    """
    timer = gevent.Timeout.start_new(timeout)
    try:
        response = http.request(outgoing.method, outgoing.target, outgoing.body, dict(outgoing.headers))
        return _read_response(response, max_body_bytes)
    except _NotConnected as error:
        return NoResponse(f"cannot connect: {error.__cause__}", sent=False)
    except gevent.Timeout as expired:
        # A timeout of the caller is not ours to handle.
        if expired is not timer:
            raise
        return NoResponse(f"timed out after {timeout:g} s", sent=True)
    except Exception as error:
        # Whatever it is, the provider may have received the request.
        return NoResponse(f"{type(error).__name__}: {error}", sent=True)
    finally:
        timer.close()


def _read_response(response: HTTPSocketPoolResponse, max_body_bytes: int) -> Response:
    try:
        headers = {name.lower(): value for name, value in response.items()}
        return Response(response.status_code, headers, bytes(response.read(max_body_bytes)))
    finally:
        response.release()


def disable_automatic_retries() -> None:
    """Disable the library's automatic retry of GET, PUT and DELETE after a broken connection.

    A provider may act on any of these methods, and the sending table decides about retries. The library has no option
    for it.
    """
    geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


def bound_connections(http: HTTPClient) -> None:
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
