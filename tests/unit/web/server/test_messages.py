"""The bytes of responses that the worker itself sends, and the headers of requests."""

from email.utils import parsedate_to_datetime

from receiver.web.server.messages import HttpResponse, join_headers


def test_response_is_encoded_with_the_usual_headers() -> None:
    response = HttpResponse(200, [("Content-Length", "2"), ("X-Echo", "ÿ")], b"ok")
    head, _, body = response.encode((1, 1), "r-1", is_kept=True).partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)

    assert (status_line, body) == ("HTTP/1.1 200 OK", b"ok")
    assert parsedate_to_datetime(headers.pop("Date")).tzinfo is not None
    assert headers == {
        "Server": "gunicorn",
        "Connection": "keep-alive",
        "X-Request-Id": "r-1",
        "Content-Length": "2",
        "X-Echo": "ÿ",
    }


def test_response_to_head_has_no_body() -> None:
    response = HttpResponse(200, [("Content-Length", "2")], b"ok")
    encoded = response.encode((1, 0), "r-1", is_kept=False, has_body=False)

    assert encoded.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in encoded
    assert encoded.endswith(b"\r\nContent-Length: 2\r\n\r\n")


def test_repeated_headers_are_joined() -> None:
    assert join_headers([("X-A", "1"), ("HOST", "h"), ("x-a", "2")]) == {"x-a": "1,2", "host": "h"}
