"""The parser of a declared provider's responses: their items, and the references of the jobs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from marshmallow import ValidationError

from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.json_paths import (
    BoundValue,
    JsonPath,
    ValueLocation,
    ValuePath,
    as_text,
    compile_location,
    compile_locations,
    compile_optional_path,
    compile_paths,
    find_first_text,
    find_items,
    join_texts,
    parse_json,
)
from receiver.providers.unreadable import build_unreadable_response
from receiver.schemas.declared import REQUEST_ID, sends_request_id
from receiver.schemas.paths import PLACEHOLDER, find_meaning

LOCATION_HEADERS = ("Location", "Operation-Location", "Content-Location")
"""Headers whose value is a URL, whatever it looks like."""
_LOCATION_NAMES = frozenset(name.lower() for name in LOCATION_HEADERS)
_URL = re.compile(r"(https?:/)?/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """Parses responses to requests; see `receiver.schemas.declared.ResponseTableSchema`.

    `uses_request_id`: the provider knows the job by the id of the request.
    """

    items: JsonPath | None
    reference: Sequence[ValuePath]
    reference_template: str | None
    uses_request_id: bool
    code: Sequence[JsonPath]
    codes: Mapping[str, ItemStatus]
    detail: Sequence[JsonPath]
    location: ValuePath | None

    @classmethod
    def from_table(cls, table: Mapping[str, Any], operations: Mapping[str, Any]) -> Self:
        """Build the parser from a loaded table `response`, or one with the same keys, and the table `operations`."""
        uses_request_id = table["reference"] == [REQUEST_ID] and any(map(sends_request_id, operations.values()))
        return cls(
            items=compile_optional_path(table["items"]),
            reference=() if uses_request_id else compile_locations(table["reference"]),
            reference_template=table["reference_template"],
            uses_request_id=uses_request_id,
            code=compile_paths(table["code"]),
            codes=table["codes"],
            detail=compile_paths(table["detail"]),
            location=compile_location(table["location"]) if table["location"] else None,
        )

    def parse(self, response: Response) -> ParsedResponse:
        """Parse the items of a response.

        If the reference is not in the body, the body of an accepted request may be empty, or anything if nothing else
        is read from it.
        """
        try:
            document = parse_json(response.body)
        except ValidationError as error:
            needs_body = response.body.strip() and (self.items or self.code)
            if self._is_reference_in_body or needs_body:
                unreadable = build_unreadable_response(response, error)
                hint = self._suggest_header(response.headers)
                return replace(unreadable, problem=f"{unreadable.problem}; {hint}") if hint else unreadable
            return ParsedResponse((self._parse_item(None, None, response.headers, is_only=True),))
        try:
            items = find_items(self.items, document)
            is_only = len(items) == 1
            return ParsedResponse(
                tuple(self._parse_item(item, document, response.headers, is_only=is_only) for item in items)
            )
        except ValidationError as error:
            return build_unreadable_response(response, error)

    def find_location(self, item: Any, document: Any, headers: Mapping[str, str]) -> str | None:
        """Return the URL at which the job of an item is polled, as the provider sends it; None if there is none."""
        if self.location:
            return as_text(_bind(self.location, headers)(item, document))
        values = (headers.get(path.name) for path in self.reference if isinstance(path, ValueLocation))
        return next((value for value in values if value and _URL.match(value)), None)

    @property
    def _is_reference_in_body(self) -> bool:
        return not self.uses_request_id and not any(isinstance(path, ValueLocation) for path in self.reference)

    def _parse_item(self, item: Any, document: Any, headers: Mapping[str, str], *, is_only: bool) -> ResponseItem:
        reference = self._find_reference(item, document, headers, is_only=is_only)
        uses_request_id = self.uses_request_id and is_only
        has_reference = reference is not None or uses_request_id
        item_status, code = ItemStatus.ACCEPTED if has_reference else ItemStatus.UNKNOWN, None
        problem = None if has_reference else self._describe_missing_reference(headers, is_only=is_only)
        if self.code and document is not None:
            code = find_first_text(self.code, item, document)
            item_status = find_meaning(self.codes, code) or ItemStatus.UNKNOWN
            problem = problem if code else f"no code at {_quote_paths(self.code)}"
        return ResponseItem(
            item_status=item_status,
            reference=reference,
            provider_status=code,
            code=code,
            detail=find_first_text(self.detail, item, document),
            location=self.find_location(item, document, headers),
            problem=problem,
            uses_request_id=uses_request_id,
        )

    def _find_reference(self, item: Any, document: Any, headers: Mapping[str, str], *, is_only: bool) -> str | None:
        """Return the reference of an item's job; a reference that is in headers alone is that of the only item."""
        if not is_only and not any(isinstance(path, JsonPath) for path in self.reference):
            return None
        cut = None if self.reference_template else _cut_location
        text = join_texts([_bind(path, headers, cut) for path in self.reference], item, document)
        return _match_template(self.reference_template, text) if text and self.reference_template else text

    def _describe_missing_reference(self, headers: Mapping[str, str], *, is_only: bool) -> str:
        if not self.reference and not self.uses_request_id:
            problem = "no reference, as response.reference is not set"
        elif not is_only and not any(isinstance(path, JsonPath) for path in self.reference):
            problem = "no reference, as the response has several items"
        else:
            template = f" that matches {self.reference_template}" if self.reference_template else ""
            problem = f"no reference{template} at {_quote_paths(self.reference)}"
        hint = self._suggest_header(headers)
        return f"{problem}; {hint}" if hint else problem

    def _suggest_header(self, headers: Mapping[str, str]) -> str | None:
        """Return what to configure if the reference is not in the body, but the response has a location."""
        name = next((name for name in LOCATION_HEADERS if headers.get(name.lower())), None)
        if name is None or not self._is_reference_in_body:
            return None
        return f'the response has the header {name}: set response.reference = "header:{name}"'


def _bind(
    path: ValuePath, headers: Mapping[str, str], cut: Callable[[str, str], str | None] | None = None
) -> ValuePath:
    """Return a path for one response: a path into the body, or the value of a header, cut if it is a location."""
    if not isinstance(path, ValueLocation):
        return path
    value = headers.get(path.name)
    return BoundValue(path.path, cut(path.name, value) if cut and value else value)


def _cut_location(name: str, value: str) -> str | None:
    """Return the last segment of the path of a URL in a header; any other value as it is."""
    if name not in _LOCATION_NAMES and not _URL.match(value):
        return value
    try:
        path = urlsplit(value).path
    except ValueError:
        return None
    return unquote(path.rstrip("/").rpartition("/")[2]) or None


def _match_template(template: str, location: str) -> str | None:
    """Return the value of `{reference}` in the template of a path, with which the path of a location ends."""
    parts = PLACEHOLDER.split(template)
    pattern = "".join(
        re.escape(part) if index % 2 == 0 else ("([^/?&#]+)" if part == "reference" else "[^/?&#]+")
        for index, part in enumerate(parts)
    )
    match = re.search(rf"{pattern}/?(?=[?&#]|$)", location)
    return unquote(match[1]) if match else None


def _quote_paths(paths: Sequence[ValuePath]) -> str:
    return ", ".join(f"`{path.path}`" for path in paths)
