"""Values of a delivery that may be a handshake, in its headers, query and body, each parsed when first needed."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.domain.documents.encodings import decode_body
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import parse_json
from receiver.domain.documents.reader import parse_document
from receiver.providers.json_paths import ValueLocation, parse_query

MAX_HANDSHAKE_BYTES = 64 << 10
"""The size of a body up to which it may be a handshake: anybody could otherwise have large bodies parsed unsigned."""


class Delivery:
    """A delivery to a callback URL.

    Args:
        callback: the delivery as received.
        body_kind: how the bodies of callbacks are read: `json`, `form`, `multipart` or `xml`. A form is read as a form
            all the same: a provider that calls back with JSON may check the URL with a form.
        json_field: the form field of callbacks that contains JSON; "" for none.
    """

    def __init__(self, callback: IncomingCallback, body_kind: str, json_field: str = "") -> None:
        self.callback = callback
        self._body_kind = body_kind
        self._json_field = json_field

    def find(self, location: ValueLocation) -> Any:
        """Return the value at a location, or None if there is none."""
        if location.kind == "header":
            return self.callback.headers.get(location.name)
        if location.kind == "query":
            return self._query.get(location.name)
        return location.json_path(self._document, self._document) if location.json_path else None

    @cached_property
    def _query(self) -> Mapping[str, Any]:
        return parse_query(self.callback)

    @cached_property
    def _document(self) -> Any:
        """The document in the query of a GET or in the body; None if the body cannot be parsed, or is too large."""
        if self.callback.method == "GET":
            return self._query
        try:
            return self._parse_body()
        except UnreadableDocument:
            return None

    def _parse_body(self) -> Any:
        callback = decode_body(self.callback, MAX_HANDSHAKE_BYTES)
        if len(callback.body) > MAX_HANDSHAKE_BYTES:
            return None
        kind = "form" if callback.media_type == FORM_MEDIA_TYPE else self._body_kind
        document = parse_document(kind, callback.body, callback.headers.get("content-type", ""))
        text = document.get(self._json_field) if isinstance(document, dict) and self._json_field else None
        return parse_json(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else document
