"""The text of a member of a JSON object exactly as it stands in the body, for signatures of only that member."""

import json
import re

_WHITE_SPACE = re.compile(r"[ \t\n\r]*")
_MAX_MEMBERS = 10_000
# Numbers are skipped, however long they are; line breaks in texts are accepted, as when callbacks are read.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, strict=False)
_BYTE_ORDER_MARK = "\ufeff"


def find_raw_member(body: bytes, name: str) -> bytes | None:
    """Return the JSON text of a top-level member; None if the object has no such member.

    Raises:
        ValueError: the body is not a JSON object, has the member more than once, or too many members.
    """
    # Bytes that are no text do not matter, unless the name itself could be written in another charset.
    text = body.decode(errors="surrogateescape" if name.isascii() else "strict").removeprefix(_BYTE_ORDER_MARK)
    found: bytes | None = None
    try:
        position = _expect(text, 0, "{")
        if text[position : position + 1] == "}":
            _check_end(text, position + 1)
            return None
        for _ in range(_MAX_MEMBERS):
            key, position = _DECODER.raw_decode(text, position)
            start = _expect(text, position, ":")
            _, end = _DECODER.raw_decode(text, start)
            if not isinstance(key, str):
                raise ValueError("a name must be a string")  # noqa: TRY004  # malformed text, not a wrong argument
            if key == name:
                if found is not None:
                    raise ValueError(f"{name} occurs more than once")
                found = text[start:end].encode(errors="surrogateescape")
            position = _skip_white_space(text, end)
            if text[position : position + 1] == "}":
                _check_end(text, position + 1)
                return found
            position = _expect(text, position, ",")
        raise ValueError(f"more than {_MAX_MEMBERS} members")
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _skip_white_space(text: str, position: int) -> int:
    match = _WHITE_SPACE.match(text, position)
    return match.end() if match else position


def _expect(text: str, position: int, character: str) -> int:
    """Return the position of what follows a character, with white space skipped on either side of the character."""
    position = _skip_white_space(text, position)
    if text[position : position + 1] != character:
        raise ValueError(f"{character} expected at {position}")
    return _skip_white_space(text, position + 1)


def _check_end(text: str, position: int) -> None:
    if _skip_white_space(text, position) != len(text):
        raise ValueError("text after the object")
