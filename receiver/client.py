"""The one HTTP client: an exchange with a provider under greenlets, over kept connections to its origin.

It tells apart what certainly never arrived from what may have been acted on. POST is never sent again here, redirects
are not followed, and no more of an answer is read than `MAX_ANSWER` bytes.
"""

import gevent
import gevent.socket
from gevent.lock import BoundedSemaphore
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPSocketPoolResponse

from receiver.domain.sending import Answer, NoAnswer
from receiver.providers.base import Outgoing, Provider

MAX_ANSWER = 1 << 20


class _NotConnected(Exception):
    """No connection to the provider could be made."""


class ProviderClient:
    """Exchanges with one provider, as many at once as it allows."""

    def __init__(self, provider: Provider) -> None:
        dispatching = provider.dispatching
        self._slots = BoundedSemaphore(dispatching.max_concurrency)
        self._timeout = dispatching.connect_timeout + dispatching.timeout
        self._http = HTTPClient.from_url(
            provider.origin,
            concurrency=dispatching.max_concurrency,
            connection_timeout=dispatching.connect_timeout,
            network_timeout=dispatching.timeout,
        )
        _mark_failed_connects(self._http)

    def exchange(self, outgoing: Outgoing) -> Answer | NoAnswer:
        """Send a request and give its answer, or how the exchange ended without one; never raises on what they do.

        Waits for a free slot first; the time limit covers the exchange alone.
        """
        with self._slots:
            return self._exchange(outgoing)

    def _exchange(self, outgoing: Outgoing) -> Answer | NoAnswer:
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            response = self._http.request(outgoing.method, outgoing.target, outgoing.body, dict(outgoing.headers))
            return _answer(response)
        except _NotConnected as error:
            return NoAnswer(f"cannot connect: {error.__cause__}", sent=False)
        except gevent.Timeout as timeout:
            if timeout is not timer:
                raise
            return NoAnswer(f"no answer within {self._timeout:g} s", sent=True)
        except Exception as error:
            return NoAnswer(f"{type(error).__name__}: {error}", sent=True)
        finally:
            timer.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _answer(response: HTTPSocketPoolResponse) -> Answer:
    try:
        headers = {name.lower(): value for name, value in response.items()}
        return Answer(response.status_code, headers, bytes(response.read(MAX_ANSWER)))
    finally:
        response.release()


def _mark_failed_connects(http: HTTPClient) -> None:
    """Make the pool say when it could not connect: the client raises OSError before and after sending alike."""
    pool = http._connection_pool  # noqa: SLF001  # the client offers no hook
    create_socket = pool._create_socket  # noqa: SLF001  # as above

    def create_marked() -> gevent.socket.socket:
        try:
            return create_socket()
        except Exception as error:
            raise _NotConnected from error

    pool._create_socket = create_marked  # type: ignore[method-assign]  # noqa: SLF001  # as above
