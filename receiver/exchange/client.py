"""The HTTP client: one exchange under greenlets, over pooled connections to one origin.

It distinguishes requests that certainly never arrived from requests that the server may have acted on. Opening a
connection and the exchange on it have one deadline each. The client verifies TLS, never sends a request again, does not
follow redirects, and reads at most `MAX_RESPONSE_BYTES` bytes of a response body. With `TargetRules` it connects to
allowed addresses only.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from ssl import SSLError
from typing import Protocol
from urllib.parse import urlsplit

import gevent
from geventhttpclient.response import HTTPParseError

from receiver.domain.egress import Egress
from receiver.domain.sending import MAX_RESPONSE_BYTES, NoResponse, Outcome, Response
from receiver.domain.targets import TargetRules
from receiver.exchange.connections import ConnectionPool, Connector, HttpConnection, NotConnected
from receiver.exchange.messages import (
    ACCEPT_ENCODING,
    InvalidRequest,
    ReceivedResponse,
    RequestEncoder,
    read_response,
)
from receiver.exchange.tls import build_tls_context, refuses_certificate
from receiver.providers.base import SendPolicy, canonical_origin
from receiver.providers.capabilities import OutgoingRequest

_PROXY_AUTHENTICATION_REQUIRED = 407


class Client(Protocol):
    """An HTTP client; see `HttpClient`."""

    def exchange(self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None) -> Outcome: ...

    def close(self) -> None: ...


class HttpClient:
    """An HTTP client of one origin. `exchange.admission` limits how many exchanges run and when they begin.

    Args:
        origin: scheme, host and port.
        send_policy: the timeouts of exchanges, and how long connections idle.
        max_body_bytes: the number of bytes at which a response body is cut.
        rules: the addresses that may be connected to; None for any address.
        egress: the proxy, the certificates and the name of the client.
    """

    def __init__(
        self,
        origin: str,
        send_policy: SendPolicy,
        *,
        max_body_bytes: int = MAX_RESPONSE_BYTES,
        rules: TargetRules | None = None,
        egress: Egress | None = None,
    ) -> None:
        self._timeout = send_policy.timeout
        self._max_body_bytes = max_body_bytes
        egress = egress or Egress()
        url, proxy = urlsplit(canonical_origin(urlsplit(origin))), egress.proxy
        connector = Connector(
            url.geturl(),
            send_policy.connect_timeout,
            tls=build_tls_context(egress.tls) if url.scheme == "https" else None,
            rules=rules,
            proxy=proxy,
        )
        self._pool = ConnectionPool(connector.connect, send_policy.idle_timeout)
        headers = {"user-agent": egress.user_agent, "accept-encoding": ACCEPT_ENCODING}
        if not send_policy.idle_timeout:
            headers["connection"] = "close"
        # A proxy forwards requests by http itself; those by https are sent through a tunnel.
        self._forwarder = proxy if url.scheme == "http" else None
        if self._forwarder and self._forwarder.authorization:
            headers["proxy-authorization"] = self._forwarder.authorization
        self._encoder = RequestEncoder(url.netloc, headers, url.geturl() if self._forwarder else "")

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
        self._pool.close()

    def _perform(self, outgoing: OutgoingRequest) -> Response | NoResponse:
        try:
            message = self._encoder.encode(outgoing)
            connection = self._pool.acquire()
        except (InvalidRequest, NotConnected) as error:
            return NoResponse(str(error), sent=False)
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            return self._exchange_on(connection, message, outgoing.method)
        except gevent.Timeout as expired:
            # A timeout of the caller is not ours to handle.
            if expired is not timer:
                raise
            return NoResponse(f"timed out after {self._timeout:g} s", sent=True)
        finally:
            timer.close()

    def _exchange_on(self, connection: HttpConnection, message: bytes, method: str) -> Response | NoResponse:
        """Send a request and read its response; the connection is released then, or closed."""
        is_fresh = connection.is_fresh
        try:
            received = _send_and_read(connection, message, method, self._max_body_bytes)
        except Exception as error:
            connection.close()
            if is_fresh and refuses_certificate(error):
                return NoResponse(f"the server refused our certificate: {error}", sent=False)
            # Whatever it is, the server may have received the request.
            place = "" if is_fresh else ", on a connection that was used before"
            return NoResponse(f"{type(error).__name__}: {error}{place}", sent=True)
        except BaseException:
            connection.close()
            raise
        self._pool.release(connection, received.idle_timeout)
        if self._forwarder and received.response.status == _PROXY_AUTHENTICATION_REQUIRED:
            return NoResponse(f"the proxy {self._forwarder} requires credentials", sent=False)
        return received.response


def _send_and_read(connection: HttpConnection, message: bytes, method: str, max_body_bytes: int) -> ReceivedResponse:
    try:
        connection.sendall(message)
    except (BrokenPipeError, ConnectionResetError, SSLError) as error:
        # The server may have responded before it had read the whole request, and closed the connection.
        try:
            return replace(read_response(connection, method, max_body_bytes), idle_timeout=0.0)
        except (OSError, HTTPParseError) as ending:
            raise ending if refuses_certificate(ending) else error from None
    return read_response(connection, method, max_body_bytes)
