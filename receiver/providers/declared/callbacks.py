"""The callbacks of a declared provider: how they are authenticated, acknowledged and read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import JsonLines
from receiver.domain.documents.nested import NestedNames, expand_texts, find_nested_names
from receiver.domain.documents.reader import parse_document
from receiver.domain.jobs import StatusReport
from receiver.providers.capabilities import Callbacks, CallbackSettings, MalformedCallback, ParsedItem
from receiver.providers.declared.handshakes import DeclaredHandshakes
from receiver.providers.declared.parsing import ReportParser
from receiver.providers.json_paths import (
    ValueLocation,
    ValuePath,
    as_status,
    as_text,
    as_uuid,
    bind_location,
    build_body_error,
    compile_location,
    find_items,
    is_outside_document,
    leads_to_empty_list,
    parse_fields,
    parse_json,
)
from receiver.schemas.coverage import list_documents
from receiver.signatures.base import CallbackAuth, Trust


@dataclass(frozen=True, slots=True)
class DeclaredCallbacks(Callbacks):
    """Reads callbacks as the table `callback` declares; see `receiver.schemas.declared.CallbackTableSchema`."""

    body: str
    json_field: str | None
    reports: ReportParser
    event_id: ValueLocation | None
    only: Mapping[ValuePath, frozenset[str]]
    ignore: Mapping[ValuePath, frozenset[str]]
    fetch: bool
    request: ValueLocation | None
    outside: Sequence[ValuePath]
    """The values that are in headers and in the query."""
    decisive_outside: Sequence[ValuePath]
    """Those of them that decide about a job."""
    reads_document: bool
    """Whether the body must be a document, as a value is in it, or as its beginning may belong to a signed header."""
    document_names: NestedNames
    """Where the document has JSON within texts."""
    item_names: NestedNames
    """Where an item has JSON within texts."""

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
        reports = ReportParser.from_table(callback)
        event_id = ValueLocation.parse(callback["event_id"]) if uses_event_id else None
        only, ignore = _compile_filter(callback["only"]), _compile_filter(callback["ignore"])
        request = ValueLocation.parse(callback["request"]) if uses_request else None
        paths = [*reports.paths, *only, *ignore, *filter(None, [request])]
        document_names, item_names = _find_nested_names(reports, paths, event_id)
        return cls(
            settings=build_callback_settings(tables),
            body=callback["body"],
            json_field=callback["json_field"],
            reports=reports,
            event_id=event_id,
            only=only,
            ignore=ignore,
            fetch=callback["fetch"],
            request=request,
            outside=[path for path in paths if is_outside_document(path) and path is not request],
            decisive_outside=[path for path in reports.decisive_paths if is_outside_document(path)],
            reads_document=bool(auth.coverage or reports.items)
            or not all(map(is_outside_document, filter(None, [*paths, event_id]))),
            document_names=document_names,
            item_names=item_names,
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
        content = auth.normalize_query(callback) if self._reads_query(callback) else auth.normalize_body(callback)
        if not self.decisive_outside:
            return content
        values = [bind_location(path, callback)(None, None) for path in self.decisive_outside]
        return content + repr(values).encode()

    def _reads_query(self, callback: IncomingCallback) -> bool:
        return self.body == "query" or callback.method == "GET"

    def parse_document(self, callback: IncomingCallback) -> Any:
        """Parse the document that a callback carries in its body or its query; None if all is in headers.

        Raises:
            ValidationError: the document cannot be parsed.
        """
        document = self._parse_outer_document(callback)
        return expand_texts(document, self.document_names) if self.document_names else document

    def _parse_outer_document(self, callback: IncomingCallback) -> Any:
        if self._reads_query(callback):
            document = parse_fields(callback.query)
        elif self.outside and not (callback.body and self.reads_document):
            return None
        else:
            try:
                document = parse_document(self.body, callback.body, callback.headers.get("content-type", ""))
            except UnreadableDocument as error:
                raise build_body_error(error) from None
        if self.json_field is None:
            return document
        text = document.get(self.json_field)
        if not isinstance(text, str):
            raise ValidationError({self.json_field: ["Missing data for required field."]})
        return parse_json(text.encode("utf-8", "surrogateescape"))

    def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
        try:
            document = self.parse_document(callback)
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        parser = self.bind(callback) if self.outside else self
        items = self._find_items(document)
        if not items and not self._has_filter and not leads_to_empty_list(self.reports.items, document):
            raise MalformedCallback({self._items_path: ["Missing items."]})
        request_id = self._find_request_id(callback)
        for index, document_item in enumerate(items):
            item = expand_texts(document_item, self.item_names) if self.item_names else document_item
            if self._has_filter and not parser.is_selected(item, document):
                continue
            try:
                yield index, parser.parse_item(item, document, request_id)
            except ValidationError as error:
                yield index, error

    def bind(self, callback: IncomingCallback) -> Self:
        """Return the parser for one callback, with the values that are in its headers and in its query."""

        def bind_filter(table: Mapping[ValuePath, frozenset[str]]) -> Mapping[ValuePath, frozenset[str]]:
            return {bind_location(path, callback): values for path, values in table.items()}

        return replace(
            self, reports=self.reports.bind(callback), only=bind_filter(self.only), ignore=bind_filter(self.ignore)
        )

    def _find_items(self, document: Any) -> Sequence[Any]:
        if self.reports.items is None and (document == [] or isinstance(document, JsonLines)):
            return tuple(document)
        return find_items(self.reports.items, document)

    def parse_item(self, item: Any, document: Any, request_id: UUID | None) -> StatusReport:
        """Parse an item.

        Args:
            item: the item.
            document: the document that contains it.
            request_id: our id of the request, if it is in a header or in the query.

        Raises:
            ValidationError: the item is invalid.
        """
        report = self.reports.parse(item, document, fetch=self.fetch)
        if self.request is None:
            return report
        if self.request.json_path is not None:
            request_id = as_uuid(as_text(self.request.json_path(item, document)))
        return replace(report, request_id=request_id)

    def _find_request_id(self, callback: IncomingCallback) -> UUID | None:
        """Return our id of the request if the provider sends it in a header or in the query."""
        return as_uuid(self.request.find(callback, None)) if self.request and self.request.json_path is None else None

    def is_selected(self, item: Any, document: Any) -> bool:
        """Return whether an item passes the filters: it matches all of `only` and none of `ignore`."""

        def matches(path: ValuePath, values: frozenset[str]) -> bool:
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
        callback["body"],
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


def _compile_filter(table: Mapping[str, Sequence[str]]) -> Mapping[ValuePath, frozenset[str]]:
    return {compile_location(path): frozenset(values) for path, values in table.items()}


def _find_nested_names(
    reports: ReportParser, paths: Sequence[ValuePath], event_id: ValueLocation | None
) -> tuple[NestedNames, NestedNames]:
    """Return the names that paths go through in the document and in an item."""
    texts = [path.path for path in paths if not is_outside_document(path)]
    document_paths = [text.removeprefix("$.") for text in texts if text.startswith("$.")]
    item_paths = [text for text in texts if not text.startswith("$.")]
    if event_id and event_id.json_path:
        document_paths.append(event_id.name.removeprefix("$."))
    if reports.items is None:
        return find_nested_names(document_paths + item_paths), find_nested_names(item_paths)
    return find_nested_names(document_paths, [reports.items.path.removeprefix("$.")]), find_nested_names(item_paths)
