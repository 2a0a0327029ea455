"""HTTP/1.1 messages: encoding requests, and reading responses from a connection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from geventhttpclient.response import HTTPProtocolViolationError, HTTPResponse

from receiver.domain.documents.encodings import CONTENT_ENCODING, DecodedTooLarge, UnsupportedEncoding, decode_content
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.errors import ReceiverError
from receiver.domain.records import record
from receiver.domain.sending import Response
from receiver.exchange.connections import HttpConnection
from receiver.providers.capabilities import OutgoingRequest

ACCEPT_ENCODING = "gzip, deflate"
_BLOCK_BYTES = 16 << 10
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_HEAD = re.compile(r"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.1\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*\r\n)+\r\n")
_LINES_BESIDE_HEADERS = 2
_SINGLE_HEADERS = frozenset({"content-location", "content-type", "date", "location", "operation-location"})
_KEEP_ALIVE_PARAMETER = re.compile(r"(timeout|max)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_MAX_QUOTED_CHARS = 60
_KEEP_ALIVE_SHARE, _KEEP_ALIVE_MARGIN_S = 0.8, 1.0


class InvalidRequest(ReceiverError):
    """A request cannot be encoded: its target or a header has a character that HTTP does not allow there."""


@dataclass(frozen=True, slots=True)
class RequestEncoder:
    """Encodes requests to one origin.

    Args:
        host: the value of `Host`.
        headers: headers of every request, by lower-case name; a request's own headers override them.
        target_prefix: what a target begins with: the origin where a proxy is to forward requests, else "".
    """

    host: str
    headers: Mapping[str, str] = field(repr=False)
    target_prefix: str = ""

    def encode(self, outgoing: OutgoingRequest) -> bytes:
        """Return the bytes of a request.

        Raises:
            InvalidRequest: the request cannot be sent.
        """
        headers = {"Host": self.host, **self.headers, **outgoing.headers}
        if outgoing.body or outgoing.method in _METHODS_WITH_BODY:
            headers["Content-Length"] = str(len(outgoing.body))
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{outgoing.method} {self.target_prefix}{outgoing.target} HTTP/1.1\r\n{lines}\r\n"
        # The second condition: a value must not add a header.
        if not _HEAD.fullmatch(head) or head.count("\n") != len(headers) + _LINES_BESIDE_HEADERS:
            raise InvalidRequest("the target or a header has a character that HTTP does not allow")
        return head.encode("latin-1") + outgoing.body


class _Parser(HTTPResponse):
    """A parser of a response that collects its body; interim responses are skipped.

    The library's readers release a connection at the end of an interim response, and another exchange could take it.
    """

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.body = bytearray()

    @property
    def is_complete(self) -> bool:
        return self.message_complete and self.get_code() >= 200

    def _on_message_begin(self) -> None:
        if self.is_complete:
            raise HTTPProtocolViolationError("the server sent more than one response")
        super()._on_message_begin()

    def _on_body(self, buf: bytearray) -> None:
        self.body += buf


@record(frozen=True, slots=True)
class ReceivedResponse:
    """A response.

    `idle_timeout` is for how many seconds its connection can be used again, 0 for not at all, None if the server does
    not say.
    """

    response: Response
    idle_timeout: float | None


def read_response(connection: HttpConnection, method: str, max_body_bytes: int) -> ReceivedResponse:
    """Read the response to a request, with its body decompressed and cut at `max_body_bytes`.

    Raises:
        ConnectionError: the connection ended before the response did, or the server sends too much.
        HTTPParseError: what the server sends is not HTTP.
    """
    parser = _Parser(method)
    while not parser.is_complete and len(parser.body) <= max_body_bytes:
        data = connection.recv(_BLOCK_BYTES)
        if not data and not parser.message_begun:
            raise ConnectionResetError("the connection was closed without a response")
        # At the end of the connection the parser is fed with b"": a response without a length is complete then.
        parser.feed(data)
        if not data and not parser.is_complete:
            raise ConnectionResetError("the connection was closed before the end of the response")
    headers = _join_headers(parser)
    response = _decode(Response(parser.get_code(), headers, bytes(parser.body)), max_body_bytes)
    if parser.should_close() or parser.get_http_version() == "HTTP/1.0":
        return ReceivedResponse(response, 0.0)
    announced = headers.get("keep-alive")
    return ReceivedResponse(response, parse_keep_alive(announced) if announced else None)


def _join_headers(parser: HTTPResponse) -> dict[str, str]:
    """Return the headers by lower-case name; the values of a repeated header are joined (RFC 9110, section 5.3).

    Of a header that has one value by definition, the first one counts.
    """
    headers: dict[str, str] = {}
    for name, value in parser.items():
        key = name.lower()
        if key not in headers:
            headers[key] = value
        elif key not in _SINGLE_HEADERS:
            headers[key] += f", {value}"
    return headers


def parse_keep_alive(text: str) -> float | None:
    """Return for how many seconds a connection can be used again by its header `Keep-Alive`; None without a time.

    The time is shorter than the announced one: the server began to count when it sent its response, and must still wait
    when the next request arrives.
    """
    parameters = {name.lower(): int(value) for name, value in _KEEP_ALIVE_PARAMETER.findall(text)}
    if parameters.get("max", 1) < 1:
        return 0.0
    timeout = parameters.get("timeout")
    return None if timeout is None else min(timeout * _KEEP_ALIVE_SHARE, timeout - _KEEP_ALIVE_MARGIN_S)


def _decode(response: Response, max_body_bytes: int) -> Response:
    """Return a response with its body decompressed; if that is impossible, as it is, with the reason."""
    body, encoding = response.body, response.headers.get(CONTENT_ENCODING)
    if len(body) > max_body_bytes:
        return replace(response, body=body[:max_body_bytes], problem=_explain_excess(max_body_bytes))
    if not encoding or not body:
        return response
    try:
        body = decode_content(body, encoding, max_body_bytes)
    except UnsupportedEncoding:
        return replace(response, problem=f"the response is encoded in {_quote(encoding)}, which is not read")
    except DecodedTooLarge:
        return replace(response, problem=_explain_excess(max_body_bytes))
    except UnreadableDocument:
        return replace(response, problem=f"the response is not complete {_quote(encoding)}")
    headers = {name: value for name, value in response.headers.items() if name != CONTENT_ENCODING}
    return replace(response, headers=headers, body=body)


def _explain_excess(max_body_bytes: int) -> str:
    return f"the response exceeds {max_body_bytes} bytes"


def _quote(encoding: str) -> str:
    return encoding.strip()[:_MAX_QUOTED_CHARS]
