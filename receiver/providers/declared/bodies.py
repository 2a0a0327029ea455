"""How the fields of a request are placed and encoded: as JSON, as a form, in the query, or as multipart."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

import orjson

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.places import EVERY_ITEM, Step, set_at
from receiver.domain.documents.writer import write_multipart

_STEPS = re.compile(r"(.*?)((?:\[(?:[0-9]|\*)?\])*)")
_INDEX = re.compile(r"\[([^\]]*)\]")


class OwnText(str):
    """A value that we send, and that no field of a payload replaces."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form, of a query or of multipart; `is_own` if its value is ours, or contains one of ours."""

    name: str
    text: str
    is_own: bool = False


def place_value(
    location: str, value: str, headers: dict[str, str], query: dict[str, str], body: dict[str, Any]
) -> None:
    """Put a value of ours in a header, in the query, or in the body.

    A place in the body is a path of names; `name[0]` is the first item of a list, and `name[]` or `name[*]` every item.
    What is missing on the way is created: of a list, the next item.
    """
    kind, colon, name = location.partition(":")
    if colon and kind == "header":
        headers[name.lower()] = value
    elif colon and kind == "query":
        query[name] = value
    elif len(steps := parse_steps(location)) == 1:
        body[str(steps[0])] = OwnText(value)
    else:
        body |= set_at(body, steps, OwnText(value))


@cache
def parse_steps(path: str) -> Sequence[Step]:
    """Parse the path of a place in a body; paths are configured, so that each is parsed once."""
    steps: list[Step] = []
    for part in path.split("."):
        match = _STEPS.fullmatch(part)
        name, indexes = (match[1], match[2]) if match and match[1] else (part, "")
        steps.append(name)
        steps += [int(index) if index.isdecimal() else EVERY_ITEM for index in _INDEX.findall(indexes)]
    return steps


def encode_body(
    kind: str, body: Mapping[str, Any] | Sequence[Any], style: str = "repeat", boundary: str = ""
) -> tuple[bytes, str]:
    """Return the encoded body and its media type; both empty for a body that is sent in the query.

    Args:
        kind: `json`, `form`, `multipart` or `query`.
        body: the fields; for JSON any value.
        style: how lists and objects are written in a form or multipart, see `build_fields`.
        boundary: of multipart, a text that no value contains.
    """
    if kind == "json" or not isinstance(body, Mapping):
        return (orjson.dumps(body), "application/json") if kind == "json" else (b"", "")
    if kind == "form":
        return urlencode([(field.name, field.text) for field in build_fields(body, style)]).encode(), FORM_MEDIA_TYPE
    if kind == "multipart":
        fields = [(field.name, field.text) for field in build_fields(body, style)]
        return write_multipart(fields, boundary), f"multipart/form-data; boundary={boundary}"
    return b"", ""


def build_fields(body: Mapping[str, Any], style: str, own_names: Collection[str] = ()) -> list[Field]:
    """Return the fields of a form; text and numbers are unchanged.

    Servers read `name[]` and `name[x]` as parts of `name`. Where we send a field ourselves, such fields are left out.

    Args:
        body: the values by name.
        style: `repeat`: lists as repeated fields, any other value as JSON; `comma`: lists joined by commas;
            `brackets`: `name[]` for the texts and numbers of a list, `name[0]` for its other items, `name[member]` for
            the members of an object.
        own_names: the names of fields that we send elsewhere in the same query.
    """
    fields = [field for name, value in body.items() for field in _flatten(name, value, style)]
    own = {field.name.removesuffix("[]") for field in fields if field.is_own} | set(own_names)
    return [field for field in fields if field.is_own or not is_part_of_any(field.name, own)]


def is_part_of_any(name: str, own_names: Collection[str]) -> bool:
    """Return whether a field is one of these, or a part of one, such as `name[]` or `name[x]` of `name`."""
    return name in own_names or any(name.startswith(f"{own}[") for own in own_names)


def _flatten(name: str, value: Any, style: str) -> Iterator[Field]:
    if style == "brackets" and isinstance(value, Mapping):
        for member, inner in value.items():
            yield from _flatten(f"{name}[{member}]", inner, style)
    elif style == "brackets" and isinstance(value, list):
        for index, item in enumerate(value):
            is_nested = isinstance(item, Mapping | list)
            yield from _flatten(f"{name}[{index}]" if is_nested else f"{name}[]", item, style)
    elif style == "comma" and isinstance(value, list):
        yield Field(name, ",".join(map(_format_value, value)), contains_own(value))
    elif isinstance(value, list):
        is_own = contains_own(value)
        for item in value:
            yield Field(name, _format_value(item), is_own)
    else:
        yield Field(name, _format_value(value), contains_own(value))


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def contains_own(value: Any) -> bool:
    """Return whether a value is ours, or has one of ours in it."""
    inner_values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return isinstance(value, OwnText) or any(map(contains_own, inner_values))


def add_query(target: str, query: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    """Return a target with more parameters in its query."""
    if not query:
        return target or "/"
    return f"{target or '/'}{'&' if '?' in target else '?'}{urlencode(query)}"
