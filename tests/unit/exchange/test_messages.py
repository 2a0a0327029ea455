"""HTTP/1.1 messages: what requests consist of, and how responses are read from a connection."""

import gzip
import zlib
from collections.abc import Sequence
from functools import partial

import gevent.socket
import pytest
from geventhttpclient.response import HTTPParseError

from receiver.domain.sending import Response
from receiver.exchange.connections import HttpConnection
from receiver.exchange.messages import (
    InvalidRequest,
    ReceivedResponse,
    RequestEncoder,
    parse_keep_alive,
    read_response,
)
from receiver.providers.capabilities import OutgoingRequest

MAX_BODY_BYTES = 1_000
compress = partial(gzip.compress, mtime=0)
JSON = b'{"id":"1"}' * 10
RAW_DEFLATE = zlib.compressobj(wbits=-15)
RAW_DEFLATED = RAW_DEFLATE.compress(JSON) + RAW_DEFLATE.flush()
ENCODER = RequestEncoder("acme.example", {"accept-encoding": "gzip"})


def read(*pieces: bytes, method: str = "POST") -> ReceivedResponse:
    """Read what a server sends in pieces before it closes the connection."""
    client_socket, server_socket = gevent.socket.socketpair()

    def send(connection: gevent.socket.socket, pieces: Sequence[bytes]) -> None:
        with connection:
            for piece in pieces:
                connection.sendall(piece)
                gevent.sleep(0)

    sender = gevent.spawn(send, server_socket, pieces)
    with client_socket:
        try:
            return read_response(HttpConnection(client_socket), method, MAX_BODY_BYTES)
        finally:
            sender.kill()
            server_socket.close()


def build_response(body: bytes, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(["HTTP/1.1 202 Accepted", *lines, f"content-length: {len(body)}", "", ""]).encode() + body


def test_request_is_encoded_with_the_client_s_headers() -> None:
    outgoing = OutgoingRequest("POST", "/v1/jobs?a=1", {"content-type": "application/json"}, b"{}")
    assert ENCODER.encode(outgoing) == (
        b"POST /v1/jobs?a=1 HTTP/1.1\r\nHost: acme.example\r\naccept-encoding: gzip\r\n"
        b"content-type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_header_of_a_request_overrides_the_client_s() -> None:
    encoded = ENCODER.encode(OutgoingRequest("GET", "/", {"accept-encoding": "identity"}))
    assert encoded == b"GET / HTTP/1.1\r\nHost: acme.example\r\naccept-encoding: identity\r\n\r\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_request_without_a_body_has_the_length_zero(method: str) -> None:
    assert b"Content-Length: 0\r\n" in ENCODER.encode(OutgoingRequest(method, "/", {}))


@pytest.mark.parametrize(
    "outgoing",
    [
        OutgoingRequest("GET", "/a b", {}),
        OutgoingRequest("GET", "/\r\nx: 1", {}),
        OutgoingRequest("GET", "/\u20ac", {}),
        OutgoingRequest("GET", "/", {"x": "1\r\nevil: 2"}),
        OutgoingRequest("GET", "/", {"x": "1\r\n\r\n"}),
        OutgoingRequest("GET", "/", {"x": "1\n2"}),
        OutgoingRequest("GET", "/", {"x": "\x00"}),
        OutgoingRequest("GET", "/", {"x y": "1"}),
        OutgoingRequest("G T", "/", {}),
    ],
)
def test_request_that_http_does_not_allow_is_refused(outgoing: OutgoingRequest) -> None:
    with pytest.raises(InvalidRequest):
        ENCODER.encode(outgoing)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", compress(JSON)),
        ("x-gzip", compress(JSON)),
        ("GZIP", compress(JSON)),
        ("deflate", zlib.compress(JSON)),
        ("deflate", RAW_DEFLATED),
        ("deflate, gzip", compress(zlib.compress(JSON))),
        ("identity, gzip", compress(JSON)),
        ("identity", JSON),
    ],
)
def test_encoded_body_is_decoded(encoding: str, body: bytes) -> None:
    response = read(build_response(body, content_encoding=encoding)).response
    assert response == Response(202, {"content-length": str(len(body))}, JSON)


@pytest.mark.parametrize(
    ("encoding", "body", "problem"),
    [
        ("br", b"\x0b\x02\x80", "the response is encoded in br, which is not read"),
        ("gzip, br", b"\x0b\x02\x80", "the response is encoded in gzip, br, which is not read"),
        ("gzip, gzip, gzip, gzip", b"\x0b", "the response is encoded in gzip, gzip, gzip, gzip, which is not read"),
        ("gzip", compress(JSON)[:-4], "the response is not complete gzip"),
        ("gzip", JSON, "the response is not complete gzip"),
        ("deflate", b"x" * 10, "the response is not complete deflate"),
        ("gzip", compress(b"x" * (MAX_BODY_BYTES + 1)), "the response exceeds 1000 bytes"),
    ],
)
def test_body_that_cannot_be_decoded_stays_raw(encoding: str, body: bytes, problem: str) -> None:
    response = read(build_response(body, content_encoding=encoding)).response
    assert (response.status, response.body, response.problem) == (202, body, problem)
    assert response.headers["content-encoding"] == encoding


def test_body_beyond_the_limit_is_cut() -> None:
    received = read(build_response(b"x" * (MAX_BODY_BYTES + 1)))
    assert received.response.body == b"x" * MAX_BODY_BYTES
    assert received.response.problem == "the response exceeds 1000 bytes"
    assert read(build_response(b"x" * MAX_BODY_BYTES)).response.problem is None


@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_response_is_skipped(status: int) -> None:
    interim = f"HTTP/1.1 {status} Interim\r\nlink: </style.css>\r\n\r\n".encode()
    for pieces in ([interim, build_response(b"")[:-2], b"\r\n"], [interim + build_response(b"12")]):
        response = read(*pieces).response
        assert response.status == 202
        assert "link" not in response.headers
    split = build_response(b"1234")
    assert read(interim, split[:-2], split[-2:]).response.body == b"1234"


@pytest.mark.parametrize(
    ("response", "idle_timeout"),
    [
        (build_response(b"12"), None),
        (build_response(b"12", keep_alive="timeout=5, max=100"), 4.0),
        (build_response(b"12", keep_alive="timeout=5", connection="close"), 0.0),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=9\r\ncontent-length: 0\r\n\r\n", 0.0),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 0.0),
        (build_response(b"x" * (50 * MAX_BODY_BYTES)), 0.0),
    ],
    ids=["unannounced", "announced", "close", "HTTP 1.0", "until the end", "cut"],
)
def test_response_tells_how_long_its_connection_lasts(response: bytes, idle_timeout: float | None) -> None:
    assert read(response).idle_timeout == idle_timeout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("timeout=5", 4.0),
        ("timeout=60, max=1000", 48.0),
        ("Timeout = 2", 1.0),
        ("timeout=1", 0.0),
        ("timeout=0", -1.0),
        ("timeout=5, max=0", 0.0),
        ("max=5", None),
        ("300", None),
        ("timeout=soon", None),
    ],
)
def test_keep_alive_is_taken_with_a_margin(text: str, seconds: float | None) -> None:
    assert parse_keep_alive(text) == seconds


@pytest.mark.parametrize(
    "pieces",
    [[b""], [b"HTTP/1.1 202 Accepted\r\ncontent-"], [build_response(b"1234")[:-2]], [b"HTTP/1.1 100 C\r\n\r\n"]],
)
def test_response_that_ends_early_is_an_error(pieces: list[bytes]) -> None:
    with pytest.raises((ConnectionResetError, HTTPParseError)):
        read(*pieces)


def test_second_response_is_an_error() -> None:
    """Which of them belongs to the request is not known."""
    with pytest.raises(HTTPParseError, match="more than one response"):
        read(build_response(b"") + build_response(b""))


def test_values_of_a_repeated_header_are_joined() -> None:
    body = compress(RAW_DEFLATED)
    headers = b"content-encoding: deflate\r\nContent-Encoding: gzip\r\nretry-after: 1\r\nretry-after: 30\r\n"
    headers += b"location: /1\r\nLocation: /2\r\n"
    received = read(b"HTTP/1.1 202 Accepted\r\n" + headers + f"content-length: {len(body)}\r\n\r\n".encode() + body)
    assert received.response.body == JSON
    assert (received.response.headers["retry-after"], received.response.headers["location"]) == ("1, 30", "/1")
