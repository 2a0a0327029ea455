"""Checks that the signature covers everything that decides about a job.

What decides is where the items are, and each item's reference, status, code and request id. What only describes a job
(`detail`, `occurred_at`) need not be covered. A filter (`only`, `ignore`) need not be either: an item that it lets pass
is covered, and an item that it leaves out is stored and changes nothing.
"""

from collections.abc import Mapping
from typing import Any

from receiver.schemas.signing_oracles import find_oracle_errors
from receiver.signatures.base import CallbackAuth, Trust
from receiver.signatures.coverage import CallbackDocument, Coverage, is_outside_document

_DECISIVE_KEYS = ("reference", "status", "code")
_ADVICE = (
    "Set signature.trust to confirm, with a poll that decides, or to sender, if it is enough that whoever sends a "
    "callback holds a secret or has seen a callback."
)

Errors = dict[str, Any]


def find_body_errors(auth: CallbackAuth) -> Errors:
    """Return the errors of a provider whose callbacks are read from the whole body."""
    coverage = auth.coverage
    if coverage is None or coverage.body or auth.trust is not Trust.SIGNATURE:
        return {}
    return _build_trust_error("the body")


def find_callback_errors(auth: CallbackAuth, callback: Mapping[str, Any]) -> Errors:
    """Return the errors of a signature that does not cover what the table `callback` reads.

    Keys that are missing from the table, because they have errors of their own, are left out.
    """
    coverage = auth.coverage
    if coverage is None:
        return {}
    errors: Errors = {}
    signature_errors: Errors = {}
    if auth.trust is Trust.SIGNATURE:
        documents = list_documents(callback)
        for key, document in documents.items() if _reads_document(callback) else ():
            if document.kind != "query" and not (coverage.has_body_parts or coverage.covers_document(document)):
                signature_errors = _build_trust_error("the body")
            else:
                errors |= _find_document_errors(coverage, callback, key, document)
        for name in _DECISIVE_KEYS:
            uncovered = [
                location
                for location in callback.get(name) or ()
                if is_outside_document(location) and not coverage.covers_location((), location)
            ]
            if uncovered and name not in errors:
                errors[name] = [_format_error(", ".join(uncovered))]
        request = callback.get("request")
        if request and not signature_errors and not coverage.covers_location(documents.values(), request):
            errors["request"] = [_format_error(_name_location(request))]
    if (errors or signature_errors) and coverage.unseparated:
        signature_errors = {"signature": signature_errors.get("signature", {}) | _build_separator_error(coverage)}
    errors = {**find_oracle_errors(auth, callback), **errors}
    return signature_errors | ({"callback": errors} if errors else {})


def list_documents(callback: Mapping[str, Any]) -> dict[str, CallbackDocument]:
    """Return the documents that the table `callback` reads, by the key that decides about them."""
    documents: dict[str, CallbackDocument] = {}
    json_field, items = callback.get("json_field") or "", callback.get("items") or ""
    methods, body = callback.get("methods", ()), callback.get("body")
    if body and set(methods) != {"GET"}:
        documents["body"] = CallbackDocument(body, json_field, items)
    if "GET" in methods:
        documents["methods"] = CallbackDocument("query", json_field, items)
    return documents


def _find_document_errors(
    coverage: Coverage, callback: Mapping[str, Any], key: str, document: CallbackDocument
) -> Errors:
    if coverage.covers_document(document):
        return {}
    if document.kind == "query" and not coverage.parameters:
        return {key: [_format_error("the query")]}
    if coverage.form and not coverage.fields:
        return {key: ["Must be form: the signature covers no other body."]}
    signed_items = "" if document.kind == "query" else coverage.items
    if document.items != signed_items and not coverage.covers_items(document):
        message = f"Must be {signed_items}, the items that are signed." if signed_items else _format_error("the items")
        return {"items": [message]}
    uncovered_paths = {
        name: [
            path
            for path in callback.get(name) or ()
            if not is_outside_document(path) and not coverage.covers_path(document, path)
        ]
        for name in _DECISIVE_KEYS
    }
    return {name: [_format_error(", ".join(paths))] for name, paths in uncovered_paths.items() if paths}


def _reads_document(callback: Mapping[str, Any]) -> bool:
    """Return whether anything that decides is read from the body or the query as a document."""
    locations = [location for name in _DECISIVE_KEYS for location in callback.get(name) or ()]
    return bool(callback.get("items")) or not locations or not all(map(is_outside_document, locations))


def _build_trust_error(part: str) -> Errors:
    return {"signature": {"trust": [_format_error(part)]}}


def _build_separator_error(coverage: Coverage) -> Errors:
    names = " and ".join(f"{{{token}}}" for token in coverage.unseparated)
    return {"signed": [f"Nothing separates {names}, so that the end of one could be moved into the next."]}


def _format_error(part: str) -> str:
    return f"The signature does not cover {part}, so that a value in it could be forged. {_ADVICE}"


def _name_location(location: str) -> str:
    return f"the {location.partition(':')[0]}" if is_outside_document(location) else location
