"""`/v1/callbacks`: what providers delivered, as it came, and what became of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from werkzeug.exceptions import NotFound

from receiver.domain.access import Scope
from receiver.domain.errors import StateConflict
from receiver.domain.paging import Page
from receiver.inbound.explain import explain, find_named_jobs, redact_callback, redact_explanation
from receiver.inbound.replay import parse_again, record_replay
from receiver.schemas.api import callbacks as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.actions import find_actions
from receiver.store.callbacks import (
    CallbackSummary,
    StoredCallback,
    Verdict,
    find_callback,
    find_first_delivery,
    list_callbacks,
)
from receiver.store.database import Connection
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields, filter_providers
from receiver.web.v1.blueprint import api

_CALLBACK = schemas.CallbackSchema()
_UNKNOWN = "no callback has this id"


@api.operation(
    "GET", "/callbacks", Scope.READ, list_of(schemas.CallbackSummarySchema)(), query=schemas.CallbackQuerySchema()
)
def browse_callbacks(query: dict[str, Any]) -> Page[CallbackSummary]:
    """List callbacks, the newest first; of those that were refused, a sample is kept."""
    providers = filter_providers(query.pop("provider"))
    with current_context().database.connection() as connection:
        return list_callbacks(connection, providers=providers, **query)


@api.operation("GET", "/callbacks/<uuid:callback_id>", Scope.READ, _CALLBACK, refusals={404: _UNKNOWN})
def show_callback(callback_id: UUID) -> Mapping[str, Any]:
    """Show a callback, and explain its verdict; `admin` is shown it as it came, secrets left out."""
    return _story(callback_id)


@api.operation(
    "POST",
    "/callbacks/<uuid:callback_id>/replay",
    Scope.ADMIN,
    _CALLBACK,
    body=ReasonSchema(),
    optional_body=True,
    refusals={404: _UNKNOWN, 409: "it is still refused, or its provider is unknown"},
)
def replay_callback(callback_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Read a callback again by the settings of now, as after a mapping or a secret was corrected.

    It weighs as of the time at which it came. One that was taken is not verified again; one that was refused must pass
    now. Of a duplicate, the delivery that it repeats is read.
    """
    context = current_context()
    with context.database.connection() as connection:
        found = _found(connection, callback_id)
        if found.verdict is Verdict.DUPLICATE:
            first = find_first_delivery(connection, callback_id)
            if first is None:
                raise StateConflict("the delivery that it repeats is not kept any more; there is nothing to read")
            found = _found(connection, first)
    received = parse_again(
        found, context.providers.get(found.provider), context.guardian.documents, context.settings.public_url
    )
    with context.database.transaction() as connection:
        record_replay(connection, received, current_caller().name, body["reason"])
    return _story(found.id)


def _found(connection: Connection, callback_id: UUID) -> StoredCallback:
    found = find_callback(connection, callback_id)
    if found is None or not current_caller().sees(found.provider):
        raise NotFound(_UNKNOWN)
    return found


def _story(callback_id: UUID) -> Mapping[str, Any]:
    """Give a callback with all that belongs to it, for its schema."""
    context = current_context()
    with context.database.connection() as connection:
        found = _found(connection, callback_id)
        actions = find_actions(connection, callback_id)
    # Without a connection: to explain may take a document of the provider's, which may take long.
    provider = context.providers.get(found.provider)
    shown, admin = redact_callback(found, provider), current_caller().may(Scope.ADMIN)
    explanation = explain(found, provider, context.guardian.documents, context.settings.public_url)
    detail = extend_fields(
        shown,
        explanation=redact_explanation(
            explanation, found.target, shown.target if admin else f"/callbacks/{found.provider}/…"
        ),
        jobs=find_named_jobs(found, provider, context.settings.public_url),
        actions=actions,
        body=found.body.decode("utf-8", "backslashreplace"),
    )
    return detail if admin else detail | {"target": None, "headers": None, "body": None}
