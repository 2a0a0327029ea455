"""Bodies: raw and capped, and JSON read strictly, so that nothing is stored or sent on other than it was given."""

import json
from typing import Any, NoReturn

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from receiver.outbound.submit import InvalidSubmission
from receiver.web.wiring import wiring

_INTEGERS = range(-(2**63), 2**63)
_LONGEST_INTEGER = len(str(_INTEGERS.start))


def raw_body() -> bytes:
    """Give the request's body, whole.

    Raises:
        RequestEntityTooLarge: it exceeds `max_body`. Of a chunked body werkzeug silently gives what it allows, so it
            must allow more than that (see `cap_bodies`).
    """
    body = request.get_data(cache=False)
    if len(body) > wiring().settings.max_body:
        raise RequestEntityTooLarge
    return body


def cap_bodies(app: Flask, max_body: int) -> None:
    """Let no more of a body be read than tells that it is too large."""
    app.config["MAX_CONTENT_LENGTH"] = max_body + 1


def json_body() -> Any:
    """Give the request's body as JSON.

    Raises:
        UnsupportedMediaType: it is declared as something else.
        InvalidSubmission: it is not JSON by RFC 8259, repeats a name in an object, is nested too deeply, or holds a
            number that 64 bits cannot.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send application/json")
    try:
        return json.loads(
            raw_body(),
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_constant,
            object_pairs_hook=_without_repeats,
        )
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidSubmission({"_body": [f"not valid JSON: {told}"]}) from None


def json_answer(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Give a JSON answer."""
    return Response(orjson.dumps(document), status, headers, content_type="application/json")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or int(text) not in _INTEGERS:
        raise ValueError("an integer exceeds 64 bits; send it as a string")
    return int(text)


def _number(text: str) -> float:
    # Postgres gives a large double back as an integer.
    if not abs(number := float(text)) < _INTEGERS.stop:
        raise ValueError("a number exceeds 64 bits; send it as a string")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("an object repeats a name")
    return given
