"""What a signature covers: the parts of a callback that cannot be changed without the change being detected.

What a signature does not cover is not believed. Each scheme declares its `Coverage`, and the configuration is checked
against it: every value that decides about a job must be covered (see `receiver.schemas.coverage`).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jmespath

# Functions whose result is the same for values that have the same signed text. `||` and comparisons are left out: they
# distinguish `true` from "true" and null from "", for which a signature over fields is the same.
_TEXT_FUNCTIONS = frozenset({"join", "to_string"})
# Expressions that read all they read from the value of their first part.
_LEFT_TO_RIGHT = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "flatten", "pipe"}
)
_UNEXTENDABLE_KINDS = frozenset({"json", "xml"})


def is_outside_document(location: str) -> bool:
    """Return whether a location is `header:NAME` or `query:NAME`, and not a path."""
    return location.startswith(("header:", "query:"))


@dataclass(frozen=True, slots=True)
class CallbackDocument:
    """The document that a callback is read from.

    Args:
        kind: `query` for the query, any other kind for the body.
        json_field: the form field or query parameter that contains the document as JSON.
        items: the JMESPath of the items; "" if the document itself is the only item.
    """

    kind: str
    json_field: str = ""
    items: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The parts of a callback that a signature covers.

    Args:
        body: the whole body.
        form: the names and values of the form in the body; a body of another kind is rejected.
        query: the names and values of all query parameters.
        fields: JMESPaths of single values in the body, relative to an item.
        items: JMESPath of the items if each item has its own signature, else "".
        headers: names of headers, in lower case.
        parameters: names of query parameters.
        members: `form`, `query`, `json` or `xml` if the values of all parameters or top-level members are covered, but
            for those in `excluded`; else "".
        excluded: the names that `members` leaves out.
        raw_members: names of top-level members of a JSON body that are covered with everything in them.
        fields_kind: the kind of body in which `fields` are verified, whatever the kind as which callbacks are read; ""
            if they are read alike.
        is_extendable: whether bytes can be appended to the body, or moved between the body and what is signed beside
            it. No JSON or XML document stays one with them; a form does, so that `body` covers no form.
        unseparated: the tokens of the signed content that are not covered because nothing separates them.
    """

    body: bool = False
    form: bool = False
    query: bool = False
    fields: tuple[str, ...] = ()
    items: str = ""
    headers: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    members: str = ""
    excluded: frozenset[str] = frozenset()
    raw_members: tuple[str, ...] = ()
    fields_kind: str = ""
    is_extendable: bool = False
    unseparated: tuple[str, ...] = ()

    @property
    def has_body_parts(self) -> bool:
        """Whether a part of the body is covered, if not the whole."""
        return bool(self.form or self.fields or self.raw_members or self.members in {"form", "json", "xml"})

    def covers_header(self, name: str) -> bool:
        """Return whether the value of a header is covered."""
        return name.lower() in self.headers

    def covers_parameter(self, name: str) -> bool:
        """Return whether the value of a query parameter is covered."""
        is_member = self.members == "query" and name not in self.excluded
        return self.query or name in self.parameters or is_member

    def covers_document(self, document: CallbackDocument) -> bool:
        """Return whether all values of a document are covered."""
        if document.kind == "query":
            return self.query or (bool(document.json_field) and self.covers_parameter(document.json_field))
        if self.body and (not self.is_extendable or document.kind in _UNEXTENDABLE_KINDS):
            return True
        if self.form and document.kind == "form":
            return True
        if not document.json_field or self.items:
            return False
        is_member = self.members == document.kind and document.json_field not in self.excluded
        return is_member or _is_read_from(_quote(document.json_field), self._find_fields(document))

    def covers_items(self, document: CallbackDocument) -> bool:
        """Return whether the items of a document are covered as a whole, if not the document."""
        is_raw = document.kind == "json" and self._covers_raw("@", document.items or "@")
        return is_raw or self._covers_nested_items(document)

    def covers_location(self, documents: Iterable[CallbackDocument], location: str) -> bool:
        """Return whether the value at a location is covered: `header:NAME`, `query:NAME` or a path of each document."""
        if is_outside_document(location):
            kind, _, name = location.partition(":")
            return self.covers_header(name) if kind == "header" else self.covers_parameter(name)
        return all(self.covers_path(document, location) for document in documents)

    def covers_path(self, document: CallbackDocument, path: str) -> bool:
        """Return whether the value at a path is covered; a path that begins with `$.` is relative to the document.

        Where single fields are signed, a path may name them, may join them to one text, and may go on below them, into
        JSON within the signed text. Any other expression could distinguish values that have the same signed text.
        """
        if self.covers_document(document):
            return True
        if not document.json_field and not path.startswith("$.") and self._covers_nested_items(document):
            return True
        if document.kind == "json" and self._covers_raw(document.items or "@", path):
            return True
        if self.members == document.kind and not document.json_field and not document.items:
            return _reads_only(_parse(path.removeprefix("$.")), self._is_member)
        if document.json_field or document.items != (self.items if document.kind != "query" else ""):
            return False
        if path.startswith("$.") and document.items:
            return False
        names = map(_quote, self.parameters) if document.kind == "query" else self._find_fields(document)
        return _is_read_from(path.removeprefix("$."), names)

    def _covers_nested_items(self, document: CallbackDocument) -> bool:
        """Return whether all items are within the text of a single covered value."""
        if not document.items or document.json_field:
            return False
        names: Iterable[str] = () if self.items else self._find_fields(document)
        if document.kind == "query":
            names = map(_quote, self.parameters)
        items = _parse(document.items.removeprefix("$."))
        return any(_reads_below(items, _parse(name)) for name in names)

    def _find_fields(self, document: CallbackDocument) -> tuple[str, ...]:
        return self.fields if self.fields_kind in {"", document.kind} else ()

    def _is_member(self, node: Any) -> bool:
        return node["type"] == "field" and node["value"] not in self.excluded

    def _covers_raw(self, items: str, path: str) -> bool:
        """Return whether a path of an item reads only what is within the raw members."""
        if path.startswith("$."):
            return _starts_within(_parse(path.removeprefix("$.")), self.raw_members)
        return _starts_within(_parse(path if items == "@" else items), self.raw_members)


def _quote(name: str) -> str:
    """Return the JMESPath of a member with this name."""
    return json.dumps(name)


def _is_read_from(path: str, covered_paths: Iterable[str]) -> bool:
    """Return whether an expression reads nothing but covered values, and only their text."""
    covered_nodes = [_parse(covered_path) for covered_path in covered_paths]

    def is_covered(node: Any) -> bool:
        return any(node == covered_node or _reads_below(node, covered_node) for covered_node in covered_nodes)

    return _reads_only(_parse(path), is_covered)


def _parse(path: str) -> Any:
    """Return the syntax tree of an expression: dicts with `type`, `value` and `children`."""
    return jmespath.compile(path).parsed


def _reads_only(node: Any, is_covered: Callable[[Any], bool]) -> bool:
    if is_covered(node) or node["type"] == "literal":
        return True
    is_text = node["type"] == "function_expression" and node["value"] in _TEXT_FUNCTIONS
    if not is_text and node["type"] != "multi_select_list":
        return False
    return all(_reads_only(child, is_covered) for child in node["children"])


def _reads_below(node: Any, covered_node: Any) -> bool:
    """Return whether an expression reads only from JSON within the text of a covered value."""
    if node["type"] not in _LEFT_TO_RIGHT:
        return False
    if covered_node["type"] == node["type"] == "subexpression":
        names = covered_node["children"]
        if node["children"][: len(names)] == names and len(node["children"]) > len(names):
            return True
    first = node["children"][0]
    return bool(first == covered_node) or _reads_below(first, covered_node)


def _starts_within(node: Any, members: Iterable[str]) -> bool:
    """Return whether an expression reads only what is within the members of these names."""
    if node["type"] == "field":
        return node["value"] in members
    if node["type"] == "literal":
        return True
    if node["type"] in _LEFT_TO_RIGHT:  # what follows is relative to what comes first
        return bool(node["children"]) and _starts_within(node["children"][0], members)
    return bool(node["children"]) and all(_starts_within(child, members) for child in node["children"])
