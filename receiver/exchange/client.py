"""The one HTTP client: an exchange with a provider under greenlets, over kept connections to its origin.

It tells apart what certainly never arrived from what may have been acted on. Nothing is ever sent again here, redirects
are not followed, and no more of an answer is read than `MAX_RESPONSE_BYTES` bytes.
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
_LARGEST = MAX_RESPONSE_BYTES + (256 << 10)
_AT_ONCE = 64 << 10


class _NotConnected(Exception):
    """No connection to the provider could be made."""


class BoundedSocket:
    """A connected socket that a provider cannot use to starve the others.

    At most `_LARGEST` bytes, headers and all, are received for each request, and beyond `_AT_ONCE` every read lets the
    other greenlets run: gevent switches only when it has to wait, so that an endless answer would hold up everything.
    """

    def __init__(self, connected: gevent.socket.socket) -> None:
        self._connected = connected
        self._received = 0

    def sendall(self, data: bytes) -> None:
        self._received = 0
        self._connected.sendall(data)

    def recv(self, size: int) -> bytes:
        if self._received > _LARGEST:
            raise ConnectionError(f"the answer exceeds {_LARGEST} bytes")
        if self._received > _AT_ONCE:
            gevent.sleep(0)
        data: bytes = self._connected.recv(size)
        self._received += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected, name)


class Client(Protocol):
    """What exchanges; see `ProviderClient`."""

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse: ...

    def close(self) -> None: ...


class ProviderClient:
    """Exchanges with one provider. How many at once, and when, is for its gate to say (`exchange.admission`)."""

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
        """Send a request and give its answer, or how the exchange ended without one; never raises on what they do.

        It takes place within `admission`, and whatever that raises to refuse it passes.
        """
        with admission or nullcontext():
            return perform_exchange(self._http, outgoing, self._timeout)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def perform_exchange(
    http: HTTPClient, outgoing: OutgoingRequest, limit: float, most: int = MAX_RESPONSE_BYTES
) -> Response | NoResponse:
    """Exchange once within `limit` seconds; gives at most `most` bytes of the answer's body.

    The client's connections must be guarded, see `bound_connections`.
    """
    timer = gevent.Timeout.start_new(limit)
    try:
        response = http.request(outgoing.method, outgoing.target, outgoing.body, dict(outgoing.headers))
        return _answer(response, most)
    except _NotConnected as error:
        return NoResponse(f"cannot connect: {error.__cause__}", sent=False)
    except gevent.Timeout as timeout:
        if timeout is not timer:
            raise
        return NoResponse(f"no answer within {limit:g} s", sent=True)
    except Exception as error:
        return NoResponse(f"{type(error).__name__}: {error}", sent=True)
    finally:
        timer.close()


def _answer(response: HTTPSocketPoolResponse, most: int) -> Response:
    try:
        headers = {name.lower(): value for name, value in response.items()}
        return Response(response.status_code, headers, bytes(response.read(most)))
    finally:
        response.release()


def disable_automatic_retries() -> None:
    """Keep the library from sending GET, PUT and DELETE again when a connection breaks.

    A provider may act on any of them, and whether to send again is decided by the sending table. There is no option.
    """
    geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


def bound_connections(http: HTTPClient) -> None:
    """Make the pool say when it could not connect, name resolution included, and guard what it reads.

    The client raises OSError before and after sending alike, and offers no hook for either.
    """
    pool = http._connection_pool  # noqa: SLF001  # see above
    create_socket = pool._create_socket  # noqa: SLF001  # see above

    def create_guarded() -> BoundedSocket:
        try:
            with gevent.Timeout(pool.connection_timeout, TimeoutError("timed out")):
                return BoundedSocket(create_socket())
        except Exception as error:
            raise _NotConnected from error

    pool._create_socket = create_guarded  # type: ignore  # noqa: PGH003, SLF001  # see above
