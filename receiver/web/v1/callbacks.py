"""`/v1/callbacks`: what providers delivered, as it came, and what became of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from werkzeug.exceptions import NotFound

from receiver.domain.access import Scope
from receiver.domain.errors import StateConflict
from receiver.domain.paging import Page
from receiver.inbound.explain import explain, jobs_named, redacted, without
from receiver.inbound.replay import replay, reread
from receiver.schemas.api import callbacks as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.actions import actions_of
from receiver.store.callbacks import Callback, CallbackSummary, Verdict, find_callback, first_delivery, list_callbacks
from receiver.store.database import Connection
from receiver.web.operations import caller, extended, seen_providers
from receiver.web.v1.blueprint import api
from receiver.web.wiring import wiring

_CALLBACK = schemas.CallbackSchema()
_UNKNOWN = "no callback has this id"


@api.operation(
    "GET", "/callbacks", Scope.READ, list_of(schemas.CallbackSummarySchema)(), query=schemas.CallbackQuerySchema()
)
def browse_callbacks(query: dict[str, Any]) -> Page[CallbackSummary]:
    """List callbacks, the newest first; of those that were refused, a sample is kept."""
    providers = seen_providers(query.pop("provider"))
    with wiring().database.connection() as connection:
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
    wired = wiring()
    with wired.database.connection() as connection:
        found = _found(connection, callback_id)
        if found.verdict is Verdict.DUPLICATE:
            first = first_delivery(connection, callback_id)
            if first is None:
                raise StateConflict("the delivery that it repeats is not kept any more; there is nothing to read")
            found = _found(connection, first)
    received = reread(found, wired.providers.get(found.provider), wired.guardian.documents, wired.settings.public_url)
    with wired.database.transaction() as connection:
        replay(connection, received, caller().name, body["reason"])
    return _story(found.id)


def _found(connection: Connection, callback_id: UUID) -> Callback:
    found = find_callback(connection, callback_id)
    if found is None or not caller().sees(found.provider):
        raise NotFound(_UNKNOWN)
    return found


def _story(callback_id: UUID) -> Mapping[str, Any]:
    """Give a callback with all that belongs to it, for its schema."""
    wired = wiring()
    with wired.database.connection() as connection:
        found = _found(connection, callback_id)
        actions = actions_of(connection, callback_id)
    # Without a connection: to explain may take a document of the provider's, which may take long.
    provider = wired.providers.get(found.provider)
    shown, admin = redacted(found, provider), caller().may(Scope.ADMIN)
    explanation = explain(found, provider, wired.guardian.documents, wired.settings.public_url)
    story = extended(
        shown,
        explanation=without(explanation, found.target, shown.target if admin else f"/callbacks/{found.provider}/…"),
        jobs=jobs_named(found, provider, wired.settings.public_url),
        actions=actions,
        body=found.body.decode("utf-8", "backslashreplace"),
    )
    return story if admin else story | {"target": None, "headers": None, "body": None}
