"""Sample callbacks that have nothing but the values that a provider's settings read from them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.places import Step, parse_plain_path, set_at
from receiver.domain.documents.writer import CONTENT_TYPES, write_document, write_fields
from receiver.domain.times import format_time
from receiver.providers.capabilities import NoSample, Samples

_DOCUMENT = "$."
"""The beginning of a path that is relative to the whole document, and not to the item."""
_XML_TEXT = "#text"
"""The text of an XML element that has attributes, which a path does not name."""
_ROOT = "callback"
"""The root element of a sample in XML whose paths do not name it."""


@dataclass(frozen=True, slots=True)
class LocatedSamples(Samples):
    """Samples that are built from the locations of values; see `receiver.schemas.declared.CallbackTableSchema`."""

    reference: Sequence[str] = ("id",)
    status: Sequence[str] = ("status",)
    items: str | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    occurred_at: str | None = None
    time_unit: str = "iso"
    event_id: str | None = None
    method: str = "POST"
    body: str = "json"
    json_field: str | None = None

    @classmethod
    def from_table(cls, callback: Mapping[str, Any]) -> Self:
        """Build the samples of a loaded table `callback`."""
        names = ("reference", "status", "items", "only", "occurred_at", "time_unit", "event_id", "body", "json_field")
        return cls(callback["status_names"], method=callback["methods"][0], **{name: callback[name] for name in names})

    def build(self, target: str, reference: str, status: str, now: datetime, unique_id: str) -> IncomingCallback:
        sample, item = _Sample(), _parse_path(self.items or "@")
        with suppress(NoSample):  # a callback needs no id
            sample.put(self.event_id, unique_id)
        with suppress(NoSample):
            sample.put(self.occurred_at, format_time(now, self.time_unit), item)
        for location, values in self.only.items():
            sample.put(location, values[0], item)
        parts = reference.split("/", len(self.reference) - 1)
        if len(parts) < len(self.reference):
            raise NoSample(f"The reference must have {len(self.reference)} parts, separated by slashes.")
        for location, part in zip(self.reference, parts, strict=True):
            sample.put(location, part, item)
        sample.put(self.status[0] if self.status else None, status, item)
        return self._encode(sample, target, now)

    def _encode(self, sample: "_Sample", target: str, now: datetime) -> IncomingCallback:
        document = sample.document
        if self.json_field is not None:
            document = {self.json_field: json.dumps(document)}
        query, headers, body = sample.query, sample.headers, b""
        if self.body == "query" or self.method == "GET":
            query = {**query, **(document or {})}
        elif document is not None:
            content_type = CONTENT_TYPES[self.body]
            headers = {"content-type": content_type, **headers}
            body = write_document(self.body, _add_root(document) if self.body == "xml" else document, content_type)
        return IncomingCallback(self.method, f"{target}?{write_fields(query)}" if query else target, headers, body, now)


class _Sample:
    """The values of a callback."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.query: dict[str, str] = {}
        self.document: Any = None

    def put(self, location: str | None, value: str, item: Sequence[Step] = ()) -> None:
        """Add a value at its location, if it has one; the path of an item is that in the document.

        Raises:
            NoSample: the location is not a plain path.
        """
        kind, colon, name = (location or "").partition(":")
        if colon and kind == "header":
            self.headers[name.lower()] = value
        elif colon and kind == "query":
            self.query[name] = value
        elif location:
            steps = _parse_path(location)
            self.document = set_at(self.document, steps if location.startswith(_DOCUMENT) else [*item, *steps], value)


def _parse_path(path: str) -> Sequence[Step]:
    steps = parse_plain_path(path.removeprefix(_DOCUMENT))
    if steps is None or _XML_TEXT in steps:
        raise NoSample(f"No sample can be built for the path {path}, which does not consist of names alone.")
    return steps


def _add_root(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document of XML with its root element by its name, at which all paths may begin."""
    has_root = len(document) == 1 and all(isinstance(value, Mapping) for value in document.values())
    return document if has_root else {_ROOT: document}
