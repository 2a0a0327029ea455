"""Bodies: raw and capped, and JSON read strictly, so that nothing is stored or sent on other than it was given."""

import json
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from flask import Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from receiver.outbound.submit import InvalidSubmission
from receiver.web.context import current_context

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_INTEGERS = range(-(2**63), 2**63)
_LONGEST_INTEGER = len(str(_INTEGERS.start))


def read_body(environ: "WSGIEnvironment", cap: int) -> bytes:
    """Give a request's body, whole.

    It is taken from gunicorn as it is: werkzeug's own way costs more and cuts a chunked body at a cap in silence.

    Raises:
        RequestEntityTooLarge: it exceeds `cap` bytes; a declared length is believed before anything is read.
        BadRequest: the client hung up, or the body is not framed as RFC 9112 demands.
    """
    declared = int(environ.get("CONTENT_LENGTH") or -1)  # gunicorn lets only digits pass
    if declared > cap:
        raise RequestEntityTooLarge
    try:
        body: bytes = environ["wsgi.input"].read(cap + 1)
    except (OSError, ParseException) as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    if len(body) > cap:
        raise RequestEntityTooLarge
    if len(body) < declared:
        raise BadRequest("the body is shorter than its Content-Length")
    return body


def parse_json_body(times_cap: int = 1, *, optional: bool = False) -> Any:
    """Give the request's body as JSON; it may be `times_cap` times `RECEIVER_MAX_BODY` large.

    Where it is `optional`, no body is an empty object.

    Raises:
        UnsupportedMediaType: it is declared as something else.
        InvalidSubmission: it is not JSON by RFC 8259, repeats a name in an object, is nested too deeply, or holds a
            number that 64 bits cannot.
    """
    body = read_body(request.environ, times_cap * current_context().settings.max_body)
    if optional and not body:
        return {}
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send application/json")
    try:
        return json.loads(
            body.decode(),  # or UTF-16 would be taken as well
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_constant,
            object_pairs_hook=_without_repeats,
        )
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidSubmission({"_body": [f"not valid JSON: {told}"]}) from None


def json_response(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Give a JSON answer."""
    return Response(orjson.dumps(document), status, headers, content_type="application/json")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or int(text) not in _INTEGERS:
        raise ValueError("an integer exceeds 64 bits; send it as a string")
    return int(text)


def _number(text: str) -> float:
    # Postgres gives a large double back as an integer.
    if not _INTEGERS.start <= (number := float(text)) < _INTEGERS.stop:
        raise ValueError("a number exceeds 64 bits; send it as a string")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("an object repeats a name")
    return given
