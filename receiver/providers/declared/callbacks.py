"""The callbacks of a declared provider: how they are authenticated, acknowledged and read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

from marshmallow import ValidationError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, Ack, IncomingCallback
from receiver.domain.jobs import StatusReport
from receiver.providers.capabilities import Callbacks, CallbackSettings, MalformedCallback, ParsedItem
from receiver.providers.declared.handshakes import DeclaredHandshakes
from receiver.providers.declared.parsing import ReportParser
from receiver.providers.json_paths import (
    JsonPath,
    ValueLocation,
    as_status,
    as_text,
    as_uuid,
    find_items,
    parse_fields,
    parse_json,
)
from receiver.schemas.coverage import list_documents
from receiver.signatures.base import CallbackAuth, Trust

_JSON_TYPES = frozenset({"application/json"})
_FORM_TYPES = frozenset({FORM_MEDIA_TYPE})
_MEDIA_TYPES = {"json": _JSON_TYPES, "form": _FORM_TYPES, "query": _JSON_TYPES | _FORM_TYPES | {"text/plain"}}


@dataclass(frozen=True, slots=True)
class DeclaredCallbacks(Callbacks):
    """Reads callbacks as the table `callback` declares; see `receiver.schemas.declared.CallbackTableSchema`."""

    body: str
    json_field: str | None
    reports: ReportParser
    event_id: ValueLocation | None
    only: Mapping[JsonPath, frozenset[str]]
    ignore: Mapping[JsonPath, frozenset[str]]
    fetch: bool
    request: ValueLocation | None

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> Self:
        """Build the callbacks from the loaded tables of `DeclaredSettingsSchema`.

        An event id that anybody could change does not identify a callback, and a request id that anybody could change
        is only believed if the sender is trusted.
        """
        callback, auth = tables["callback"], tables["signature"]
        uses_event_id = callback["event_id"] and _is_covered(auth, callback, callback["event_id"], from_document=True)
        uses_request = callback["request"] and (
            auth.trust is Trust.SENDER or _is_covered(auth, callback, callback["request"])
        )
        return cls(
            settings=build_callback_settings(tables),
            body=callback["body"],
            json_field=callback["json_field"],
            reports=ReportParser.from_table(callback),
            event_id=ValueLocation.parse(callback["event_id"]) if uses_event_id else None,
            only=_compile_filter(callback["only"]),
            ignore=_compile_filter(callback["ignore"]),
            fetch=callback["fetch"],
            request=ValueLocation.parse(callback["request"]) if uses_request else None,
        )

    def find_event_id(self, callback: IncomingCallback) -> str:
        location = self.event_id
        if location is None:
            return self.settings.auth.find_message_id(callback)
        if location.json_path is None:
            return location.find(callback, None) or ""
        try:
            return location.find(callback, self.parse_document(callback)) or ""
        except ValidationError:
            return ""

    def find_content(self, callback: IncomingCallback) -> bytes:
        auth = self.settings.auth
        return auth.normalize_query(callback) if self._reads_query(callback) else auth.normalize_body(callback)

    def _reads_query(self, callback: IncomingCallback) -> bool:
        return self.body == "query" or callback.method == "GET"

    def parse_document(self, callback: IncomingCallback) -> Any:
        """Parse the document that a callback carries in its body or its query.

        Raises:
            ValidationError: the document cannot be parsed.
        """
        if self.body == "json" and callback.method != "GET":
            return parse_json(callback.body)
        fields = parse_fields(callback.query if self._reads_query(callback) else callback.body)
        if self.json_field is None:
            return fields
        text = fields.get(self.json_field)
        if not isinstance(text, str):
            raise ValidationError({self.json_field: ["Missing data for required field."]})
        return parse_json(text.encode())

    def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
        try:
            document = self.parse_document(callback)
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        items = find_items(self.reports.items, document)
        if not items and not self._has_filter:
            raise MalformedCallback({self._items_path: ["Missing items."]})
        request_id = self._find_request_id(callback)
        for index, item in enumerate(items):
            if not self._is_selected(item, document):
                continue
            try:
                yield index, self._parse_item(item, document, request_id)
            except ValidationError as error:
                yield index, error

    def _parse_item(self, item: Any, document: Any, request_id: UUID | None) -> StatusReport:
        report = self.reports.parse(item, document, fetch=self.fetch)
        if self.request is None:
            return report
        if self.request.json_path is not None:
            request_id = as_uuid(as_text(self.request.json_path(item, document)))
        return replace(report, request_id=request_id)

    def _find_request_id(self, callback: IncomingCallback) -> UUID | None:
        """Return our id of the request if the provider sends it in a header or in the query."""
        return as_uuid(self.request.find(callback, None)) if self.request and self.request.json_path is None else None

    def _is_selected(self, item: Any, document: Any) -> bool:
        """Return whether an item passes the filters: it matches all of `only` and none of `ignore`."""

        def matches(path: JsonPath, values: frozenset[str]) -> bool:
            return as_status(path(item, document)) in values

        return all(matches(path, values) for path, values in self.only.items()) and not any(
            matches(path, values) for path, values in self.ignore.items()
        )

    @property
    def _has_filter(self) -> bool:
        return bool(self.only or self.ignore)

    @property
    def _items_path(self) -> str:
        return self.reports.items.path if self.reports.items else "_body"


def build_callback_settings(tables: Mapping[str, Any]) -> CallbackSettings:
    """Build the callback settings of a declared provider from its tables."""
    callback, auth = tables["callback"], tables["signature"]
    auth = auth.with_body_kind(callback["body"] if callback["body"] != "query" else "")
    ack = build_ack(callback["ack"])
    handshakes = DeclaredHandshakes.from_table(callback, auth, ack) if callback["handshake"] else None
    if handshakes:
        auth = replace(auth, other_secrets=handshakes.secret_locations)
    return CallbackSettings(
        auth,
        frozenset(callback["methods"]),
        _MEDIA_TYPES[callback["body"]],
        ack,
        uses_attempt_token=any(operation["callback_token"] for operation in tables["operations"].values()),
        handshake=handshakes,
        handshake_methods=handshakes.methods if handshakes else frozenset(),
        handshake_kinds=[table["kind"] for table in callback["handshake"]],
        echoed_header=callback["ack"]["echo_header"] or "",
    )


def build_ack(table: Mapping[str, Any]) -> Ack:
    """Build the acknowledgement from its loaded table."""
    body = table["body"].encode()
    media_type = table["content_type"] or (_find_media_type(body) if body else "")
    return Ack(table["status"], body, ({"content-type": media_type} if media_type else {}) | table["headers"])


def _find_media_type(body: bytes) -> str:
    try:
        is_json = isinstance(parse_json(body), dict | list)
    except ValidationError:
        is_json = False
    return "application/json" if is_json else "text/plain; charset=utf-8"


def _is_covered(auth: CallbackAuth, callback: Mapping[str, Any], location: str, *, from_document: bool = False) -> bool:
    """Return whether the signature covers the value at a location; `from_document` if its path is never an item's."""
    documents = [
        replace(document, items="") if from_document else document for document in list_documents(callback).values()
    ]
    return auth.coverage is None or auth.coverage.covers_location(documents, location)


def _compile_filter(table: Mapping[str, Sequence[str]]) -> Mapping[JsonPath, frozenset[str]]:
    return {JsonPath(path): frozenset(values) for path, values in table.items()}
