"""Search: one box for ids, references, idempotency keys and metadata. A single result is shown at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Scope
from receiver.outbound.submit import InvalidSubmission
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.keys import IdempotentResponse, find_key, list_idempotent_responses
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.lists import METADATA_PREFIX
from receiver.web.context import current_context
from receiver.web.operations import current_caller
from receiver.web.problems import ProblemError, ProblemType

MAX_RESULTS = 10
"""How many results of a kind are shown; the lists have all."""
_MAX_LENGTH = 1_000
_HEX_ID = re.compile(r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}")
_LOCATION = re.compile(r"/(requests|jobs)/([0-9a-f-]{36})$")


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that a search found.

    Attributes:
        kind: `request`, `job`, `callback`, `notification` or `key`.
        item: the object as the API returns it.
        url: the page of the object.
    """

    kind: str
    item: Mapping[str, Any]
    url: str


_OBJECTS: Mapping[str, tuple[str, str]] = {
    "request": ("show_request", "request_id"),
    "job": ("show_job", "job_id"),
    "callback": ("show_callback", "callback_id"),
    "notification": ("show_notification", "notification_id"),
}
"""The operation that shows an object of each kind, which is the endpoint of its page too, and its variable."""


@admin.get("/search")
def search() -> ResponseReturnValue:
    """Redirect to the only object that the text names; otherwise show those that it may mean, by kind."""
    text = request.args.get("q", "").strip()
    hits = list(_find(text)) if text and len(text) <= _MAX_LENGTH and text.isprintable() else []
    if len(hits) == 1:
        return redirect(hits[0].url)
    return render_template(
        "search.html",
        section="Search",
        search_text=text,
        hits={kind: [hit for hit in hits if hit.kind == kind] for kind in dict.fromkeys(hit.kind for hit in hits)},
        limit=MAX_RESULTS,
        metadata=_parse_metadata(text),
    )


def _find(text: str) -> Iterator[Hit]:
    """Yield what a text may name, each object once."""
    urls = set()
    for hit in (*_find_by_id(text), *_find_by_metadata(text), *_find_by_idempotency_key(text), *_find_jobs(text)):
        if hit.url not in urls:
            urls.add(hit.url)
            yield hit


def _find_by_id(text: str) -> Iterator[Hit]:
    if not _HEX_ID.fullmatch(text):
        return
    object_id = UUID(text)
    for kind in _OBJECTS:
        yield from _show(kind, object_id)
    caller = current_caller()
    if caller.has_scope(Scope.ADMIN) and caller.providers is None:
        with current_context().database.connection() as connection:
            key = find_key(connection, object_id)
        if key is not None:
            item = {"name": key.name, "client": key.client, "id": str(key.id)}
            yield Hit("key", item, url_for("admin.show_key", key_id=key.id))


def _show(kind: str, object_id: UUID) -> Iterator[Hit]:
    """Yield the object of a kind with an id, unless there is none or the caller may not see it."""
    operation, variable = _OBJECTS[kind]
    if not can_call(operation):
        return
    try:
        item = call(operation, None, None, **{variable: object_id})
    except ProblemError as error:
        if error.problem_type is not ProblemType.NOT_FOUND:
            raise
        return
    if kind != "request" or item["provider"] != PROVIDER_NAME:  # the request of a notification is shown as such
        yield _build_hit(kind, item)


def _build_hit(kind: str, item: Mapping[str, Any]) -> Hit:
    operation, variable = _OBJECTS[kind]
    return Hit(kind, item, url_for(f"admin.{operation}", **{variable: item["id"]}))


def _find_by_metadata(text: str) -> Iterator[Hit]:
    metadata = _parse_metadata(text)
    if metadata is not None:
        name, value = metadata
        yield from _list("request", "browse_requests", {name: value})


def _parse_metadata(text: str) -> tuple[str, str] | None:
    """Return the filter that `metadata.KEY=value` or `KEY=value` names, and its value."""
    key, separator, value = text.partition("=")
    key = key.strip().removeprefix(METADATA_PREFIX)
    return (f"{METADATA_PREFIX}{key}", value.strip()) if separator and key else None


def _find_jobs(reference: str) -> Iterator[Hit]:
    yield from _list("job", "browse_jobs", {"reference": reference})


def _list(kind: str, operation: str, query: Mapping[str, str]) -> Iterator[Hit]:
    try:
        items: Sequence[Mapping[str, Any]] = call(operation, {**query, "limit": str(MAX_RESULTS)})["items"]
    except InvalidSubmission:  # the text can be none of these
        return
    for item in items:
        yield _build_hit(kind, item)


def _find_by_idempotency_key(key: str) -> Iterator[Hit]:
    with current_context().database.connection() as connection:
        client = current_caller().own_client
        responses = list_idempotent_responses(connection, key, client=client, limit=MAX_RESULTS)
    for response in responses:
        for kind, object_id in _list_objects(response):
            yield from _show(kind, object_id)


def _list_objects(response: IdempotentResponse) -> Iterator[tuple[str, UUID]]:
    """Yield the kinds and ids of what a call created: of a batch, the first requests."""
    location = _LOCATION.search(response.location or "")
    if location:
        yield location[1].removesuffix("s"), UUID(location[2])
        return
    document = orjson.loads(response.response)
    for item in document.get("items", [document])[:MAX_RESULTS]:
        yield "request", UUID(item["id"])
