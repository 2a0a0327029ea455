"""`X-Request-Id`: every response has it, whoever answers and whatever is wrong with the request."""

import re

import pytest

from tests.integration.web.server.clients import build_request, open_clients
from tests.support.http import build_report, sign_callback
from tests.support.processes import Web

CLOSE = "Connection: close"
CALLBACK = build_request("POST", "/callbacks/sandbox", "Content-Length: 2", CLOSE) + b"{}"
SUBMISSION = build_request("POST", "/v1/requests", "Content-Length: 2", CLOSE) + b"{}"
ALL = [
    build_request("GET", "/healthz", CLOSE),
    build_request("GET", "/readyz", CLOSE),
    build_request("GET", "/metrics", CLOSE),
    build_request("GET", "/openapi.json", CLOSE),
    build_request("HEAD", "/v1/jobs", CLOSE),
    build_request("GET", "/v1/nothing", CLOSE),
    build_request("GET", "//nothing", CLOSE),
    build_request("PUT", "/v1/requests", CLOSE),
    build_request("OPTIONS", "/callbacks/sandbox", CLOSE),
    build_request("POST", "/callbacks/nobody", CLOSE),
    CALLBACK,
    SUBMISSION,
    build_request("POST", "/callbacks/sandbox", "Content-Length: 9999999", CLOSE),
    build_request("GET", "/" + "a" * 9_000),
    build_request("GET", "/healthz", "Bad Header: 1"),
    build_request("GET", "/healthz", "Expect: zzz"),
    b"GET / HT",
]


def find_request_ids(response: bytes) -> list[str]:
    head = response.partition(b"\r\n\r\n")[0].decode()
    return re.findall(r"\r\nX-Request-Id: (\S*)", head, re.IGNORECASE)


def test_every_response_has_an_id_of_its_own(limited: Web) -> None:
    ids = []
    for data in ALL:
        with open_clients(limited, ["127.0.0.1"], data) as (client,):
            response = client.read_all()
            [request_id] = find_request_ids(response)
            ids.append(request_id)
    assert len(set(ids)) == len(ALL)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request_id) for request_id in ids)


@pytest.mark.parametrize("own", ["a", "A.b_c-9", "x" * 128])
@pytest.mark.parametrize("path", ["/healthz", "/callbacks/sandbox", "/callbacks/nobody", "/v1/requests", "/v1/jobs"])
def test_valid_id_of_the_caller_is_used(limited: Web, path: str, own: str) -> None:
    assert limited.call("POST", path, b"{}", {"X-Request-Id": own}).headers["x-request-id"] == own


@pytest.mark.parametrize("own", ["", "x" * 129, "a b", "a;b", "ä".encode().decode("latin-1"), "a,b"])
@pytest.mark.parametrize("path", ["/healthz", "/callbacks/sandbox", "/v1/requests"])
def test_other_id_of_the_caller_is_replaced(limited: Web, path: str, own: str) -> None:
    response = limited.call("POST", path, b"{}", {"X-Request-Id": own})
    assert re.fullmatch(r"[0-9a-f]{12}-\d+", response.headers["x-request-id"])


def test_id_belongs_to_one_request_of_connection(limited: Web) -> None:
    body = build_report("ref-of-ids")
    headers = [f"{name}: {value}" for name, value in sign_callback(body).items()]
    first = build_request("POST", "/callbacks/sandbox", "X-Request-Id: first", f"Content-Length: {len(body)}", *headers)
    malformed = build_request("GET", "/healthz", "Bad Header: 1")
    with open_clients(limited, ["127.0.0.1"], first + body + malformed) as (client,):
        responses = client.read_all().split(b"HTTP/1.1 ")
    assert find_request_ids(responses[1]) == ["first"]
    assert find_request_ids(responses[2]) != ["first"]


def test_timed_out_body_has_the_id_of_its_request(limited: Web) -> None:
    data = build_request("POST", "/v1/requests", "X-Request-Id: slow", "Content-Length: 9", CLOSE) + b"{"
    with open_clients(limited, ["127.0.0.1"], data) as (client,):
        assert find_request_ids(client.read_all()) == ["slow"]
