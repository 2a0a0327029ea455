"""HTTP as it should not be: refused with a problem document, or served in one way only."""

import socket
from contextlib import closing

import pytest

from receiver.web.problems import ProblemType
from tests.integration.web.server.clients import RawClient, assert_problem, build_request, open_clients, parse_status
from tests.integration.web.server.conftest import MAX_BODY
from tests.support.http import build_report, exchange, sign_callback
from tests.support.processes import Web

CLOSE = "Connection: close"


def call(limited: Web, data: bytes) -> bytes:
    with open_clients(limited, ["127.0.0.1"], data) as (client,):
        return client.read_all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (build_request("GET", "/healthz", "Expect: zzz"), ProblemType.EXPECTATION_FAILED),
        (build_request("POST", "/healthz", "Content-Length: -1"), ProblemType.MALFORMED_REQUEST),
        (build_request("POST", "/healthz", "Content-Length: 1", "Content-Length: 1"), ProblemType.MALFORMED_REQUEST),
        (build_request("POST", "/healthz", "Transfer-Encoding: zzz"), ProblemType.UNSUPPORTED_TRANSFER_CODING),
        (build_request("GET", "/healthz", "Bad Header: 1"), ProblemType.MALFORMED_REQUEST),
        (build_request("GET", "/healthz", version="9.9"), ProblemType.MALFORMED_REQUEST),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", ProblemType.MALFORMED_REQUEST),
        (build_request("GET", "metrics"), ProblemType.MALFORMED_REQUEST),
        (build_request("GET", "/" + "a" * 9_000), ProblemType.URI_TOO_LONG),
        (build_request("GET", "/healthz", "A: " + "a" * 9_000), ProblemType.HEADERS_TOO_LARGE),
        (build_request("GET", "/healthz", *["A: b"] * 101), ProblemType.HEADERS_TOO_LARGE),
        (build_request("GET", "/healthz", *["A: " + "a" * 8_000] * 9), ProblemType.HEADERS_TOO_LARGE),
    ],
)
def test_what_http_forbids_is_problem(limited: Web, data: bytes, expected: ProblemType) -> None:
    assert_problem(call(limited, data), expected)


def test_headers_of_64_kib_are_served(limited: Web) -> None:
    assert parse_status(call(limited, build_request("GET", "/healthz", CLOSE, *["A: " + "a" * 8_000] * 7))) == 200


def test_trailers_are_limited(limited: Web) -> None:
    head = build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked", CLOSE)
    trailers = b"".join(b"A: %b\r\n" % (b"a" * 8_000) for _ in range(12))
    assert_problem(call(limited, head + b"1\r\nx\r\n0\r\n" + trailers), ProblemType.UNREADABLE_BODY)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/docs"])
def test_upgrade_is_ignored(limited: Web, path: str) -> None:
    data = build_request("GET", path, "Upgrade: websocket", "Connection: Upgrade", version="1.0")
    assert parse_status(call(limited, data)) == 200


@pytest.mark.parametrize(
    "target",
    [
        "//metrics",
        "///metrics",
        "/%6detrics",
        "/%6Detrics",
        "/metrics%2f",
        "/metrics#x",
        "/metrics/",
        "/./metrics",
        "/x/../metrics",
        "/metrics%00",
        "/metrics;x",
        "//evil.example/metrics",
        "http://receiver.example//metrics",
        "http://receiver.example/%6detrics",
        "/docs/",
        "//docs",
        "//v1/jobs",
        "/v1//jobs",
        "/%63allbacks/sandbox",
        "/callbacks/%73andbox",
        "/callbacks/sandbox#x",
        "//callbacks/sandbox",
        "http://receiver.example/callbacks/%73andbox",
    ],
)
def test_path_has_one_spelling(limited: Web, target: str) -> None:
    response = call(limited, build_request("GET", target, CLOSE))
    assert_problem(response, ProblemType.NOT_FOUND)
    assert b"\r\nLocation:" not in response


@pytest.mark.parametrize("target", ["/metrics", "/metrics?x=%6d//", "http://evil.example/metrics"])
def test_path_is_served_in_its_spelling(limited: Web, target: str) -> None:
    assert parse_status(call(limited, build_request("GET", target, CLOSE))) == 200


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /x",
        "PATH_INFO: /metrics",
        "Script-Name: /x",
        "X-Forwarded-Prefix: /x",
        "X-Script-Name: /x",
        "X-Original-URL: /metrics",
        "X-Rewrite-URL: /metrics",
    ],
)
def test_no_header_changes_the_path(limited: Web, header: str) -> None:
    assert parse_status(call(limited, build_request("GET", "/x/metrics", header, CLOSE))) == 404
    assert parse_status(call(limited, build_request("GET", "/healthz", header, CLOSE))) == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/nothing", "/v1/jobs"])
def test_responses_are_neither_stored_nor_guessed(limited: Web, path: str) -> None:
    response = limited.call("GET", path)
    assert (response.headers["cache-control"], response.headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_acknowledgement_is_neither_stored_nor_guessed(limited: Web) -> None:
    for response in (
        limited.call_back(build_report("headers")),
        limited.call("POST", "/callbacks/sandbox", b"{}"),
    ):
        assert (response.headers["cache-control"], response.headers["x-content-type-options"]) == (
            "no-store",
            "nosniff",
        )


@pytest.mark.parametrize("path", ["/callbacks/nobody", "/nothing"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_unread_body_is_skipped(limited: Web, path: str, *, is_chunked: bool) -> None:
    body = b"GET /metrics HTTP/1.1\r\n\r\n" * 10_000
    with closing(limited.connect()) as connection:
        for _ in range(2):
            response = exchange(connection, "POST", path, [body] if is_chunked else body)
            assert response.status == 404
        callback = build_report("after an unread body")
        assert exchange(connection, "POST", "/callbacks/sandbox", callback, sign_callback(callback)).status == 200


def test_too_large_body_is_refused_although_it_is_sent_whole(limited: Web) -> None:
    response = limited.call("POST", "/callbacks/sandbox", b"x" * (4 * MAX_BODY), {"content-type": "application/json"})
    assert response.status == 413


def test_endless_unread_body_is_cut(limited: Web) -> None:
    client = RawClient(limited)
    with closing(client.socket):
        client.send(build_request("POST", "/nothing", "Content-Length: 999999999999"))
        with pytest.raises(ConnectionError):
            client.send(b"x" * (64 << 20))


def test_half_closed_connection_is_answered(limited: Web) -> None:
    client = RawClient(limited)
    with closing(client.socket):
        client.send(build_request("GET", "/healthz"))
        client.socket.shutdown(socket.SHUT_WR)
        assert parse_status(client.read_all()) == 200


@pytest.mark.parametrize("data", [b"", b"GET /heal", build_request("POST", "/v1/requests", "Content-Length: 9") + b"{"])
def test_connection_that_client_closes_is_forgotten(limited: Web, data: bytes) -> None:
    client = RawClient(limited)
    client.send(data)
    client.socket.close()
    assert limited.call("GET", "/healthz").status == 200


def test_continue_is_sent_before_the_body(limited: Web) -> None:
    body = build_report("expect")
    headers = [f"{name}: {value}" for name, value in sign_callback(body).items()]
    client = RawClient(limited)
    with closing(client.socket):
        head = build_request(
            "POST", "/callbacks/sandbox", *headers, f"Content-Length: {len(body)}", "Expect: 100-continue", CLOSE
        )
        client.send(head)
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert parse_status(client.read_all()) == 200


@pytest.mark.parametrize("path", ["/callbacks/sandbox", "/callbacks/nobody", "/healthz"])
@pytest.mark.parametrize(("headers", "version"), [((), "1.0"), ((CLOSE,), "1.1")])
def test_connection_ends_after_the_response(limited: Web, path: str, headers: tuple[str, ...], version: str) -> None:
    response = call(limited, build_request("HEAD", path, *headers, version=version))
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/{version} ".encode())
    assert b"\r\nConnection: close" in head
    assert body == b""
