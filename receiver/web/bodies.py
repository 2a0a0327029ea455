"""Request bodies, raw and limited in size, and strict JSON.

JSON is parsed so that a value is stored and sent exactly as the client wrote it, or refused.
"""

import json
import re
from typing import Any, NoReturn

import orjson
from flask import Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from receiver.outbound.submit import InvalidSubmission
from receiver.web.context import current_context
from receiver.web.server.messages import BodyStream

_INT64 = range(-(2**63), 2**63)
_MAX_INTEGER_LENGTH = len(str(_INT64.start))
_EXPONENT, _NUMBER_WITH_EXPONENT = re.compile(rb"e[-+]"), re.compile(rb"(?:^|[\[:,])-?[0-9][0-9.]*e")
"""Match what a number with an exponent contains in JSON of orjson, quickly, and such a number itself."""


def read_body(stream: BodyStream, content_length: str, max_bytes: int) -> bytes:
    """Return a request's whole body.

    The body is read from gunicorn's own stream: werkzeug's stream costs more, and silently truncates a chunked body at
    its size limit.

    Args:
        stream: gunicorn's stream.
        content_length: the header, of which gunicorn lets only digits pass; "" for a chunked body.
        max_bytes: the limit.

    Raises:
        RequestEntityTooLarge: the body exceeds `max_bytes`; a larger Content-Length is refused before anything is read.
        BadRequest: the client disconnected, or the body is not framed as RFC 9112 requires.
    """
    length = int(content_length or -1)
    if length > max_bytes:
        raise _build_too_large(max_bytes)
    try:
        body = stream.read(max_bytes + 1)
    except (OSError, ParseException):
        raise BadRequest("The body ended early, or is not framed as HTTP requires.") from None
    if len(body) > max_bytes:
        raise _build_too_large(max_bytes)
    if len(body) < length:
        raise BadRequest("The body is shorter than its Content-Length.")
    return body


def parse_json_body(size_factor: int = 1, *, optional: bool = False) -> Any:
    """Parse the body of the current request as JSON; raises what `read_body` and `parse_json` raise.

    Args:
        size_factor: the body may have this many times `RECEIVER_MAX_BODY` bytes.
        optional: whether a missing body is an empty object.
    """
    environ, max_bytes = request.environ, size_factor * current_context().settings.max_body_bytes
    body = read_body(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""), max_bytes)
    return {} if optional and not body else parse_json(body, request.mimetype)


def parse_json(body: bytes, media_type: str) -> Any:
    """Parse a body as JSON.

    Raises:
        UnsupportedMediaType: the body has another media type.
        InvalidSubmission: the body is not JSON as RFC 8259 defines it, repeats a name in an object, is nested too
            deeply, or has a number that 64 bits cannot hold.
    """
    if media_type != "application/json":
        raise UnsupportedMediaType("Unsupported media type; send application/json.")
    try:
        return _parse_quickly(body)
    except (ValueError, orjson.JSONEncodeError):
        return _parse_strictly(body)


def json_response(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with a JSON document."""
    return Response(orjson.dumps(document), status, headers, content_type="application/json")


def _parse_quickly(body: bytes) -> Any:
    """Parse what orjson is known to parse as `_parse_strictly` does.

    orjson takes the last of several equal names, and large integers as floats. JSON without equal names has as many
    colons as the document that was parsed: one for each name and those in texts, unless a text has an escaped one.
    orjson writes large numbers with an exponent.

    Raises:
        ValueError, orjson.JSONEncodeError: only `_parse_strictly` can tell.
    """
    if b"\\u" in body:
        raise ValueError("a character is escaped")
    document = orjson.loads(body)
    text = orjson.dumps(document, option=orjson.OPT_STRICT_INTEGER)  # which refuses integers of more than 53 bits
    if text.count(b":") != body.count(b":"):
        raise ValueError("a name is repeated")
    if _EXPONENT.search(text) and _NUMBER_WITH_EXPONENT.search(text):
        raise ValueError("a number may exceed 64 bits")
    return document


def _parse_strictly(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode(),  # json.loads would accept UTF-16 too
            parse_int=_parse_integer,
            parse_float=_parse_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_build_object,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidSubmission({"_body": [f"Not valid JSON: {reason}."]}) from None


def _build_too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"The body must not exceed {max_bytes} bytes.")


def _parse_integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_LENGTH or int(text) not in _INT64:
        raise ValueError("an integer exceeds 64 bits; send it as a string")
    return int(text)


def _parse_number(text: str) -> float:
    # Postgres returns a large double in jsonb as an integer, which could then not be read back.
    if not _INT64.start <= (number := float(text)) < _INT64.stop:
        raise ValueError("a number exceeds 64 bits; send it as a string")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The JSON parsers of clients and providers disagree on which of two equal names counts.
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("an object repeats a name")
    return document
