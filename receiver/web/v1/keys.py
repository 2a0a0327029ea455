"""`/v1/keys`: who may use the API."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7
from werkzeug.exceptions import NotFound

from receiver.domain.access import BOOTSTRAP_NAME, Scope
from receiver.domain.paging import Page
from receiver.outbound.submit import InvalidSubmission
from receiver.schemas.api import keys as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.actions import record_action
from receiver.store.database import Connection
from receiver.store.keys import ApiKey, NewApiKey, create_key, find_key, list_keys, revoke_key
from receiver.web.api_keys import ScopeMissing, generate_key, hash_key, shorten_key
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields
from receiver.web.v1.blueprint import api

_UNKNOWN = "no key has this id"


@api.operation("GET", "/keys", Scope.ADMIN, list_of(schemas.KeySchema)(), query=schemas.KeyQuerySchema())
def browse_keys(query: dict[str, Any]) -> Page[ApiKey]:
    """List keys, the newest first, those that are good no longer included."""
    _demand_unbound()
    with current_context().database.connection() as connection:
        return list_keys(connection, **query)


@api.operation("POST", "/keys", Scope.ADMIN, schemas.CreatedKeySchema(), status=201, body=schemas.NewKeySchema())
def make_key(body: dict[str, Any]) -> Mapping[str, Any]:
    """Make a key; the answer is the only place where it is shown."""
    _demand_unbound()
    _demand_sound(body)
    key = generate_key()
    body["client"] = body["client"] or body["name"]
    limit = body.pop("per_minute") or current_context().settings.rate_limit
    made = NewApiKey(id=uuid7(), hash=hash_key(key), prefix=shorten_key(key), per_minute=limit, **body)
    with current_context().database.transaction() as connection:
        create_key(connection, made)
        record_action(connection, made.id, "create", current_caller().name, None)
        return extend_fields(_found(connection, made.id), key=key)


@api.operation(
    "POST",
    "/keys/<uuid:key_id>/revoke",
    Scope.ADMIN,
    schemas.KeySchema(),
    body=ReasonSchema(),
    optional_body=True,
    refusals={404: _UNKNOWN},
)
def end_key(key_id: UUID, body: dict[str, Any]) -> ApiKey:
    """Let a key be good no longer; within a second no process takes it any more."""
    _demand_unbound()
    with current_context().database.transaction() as connection:
        if revoke_key(connection, key_id):
            record_action(connection, key_id, "revoke", current_caller().name, body["reason"])
        return _found(connection, key_id)


def _found(connection: Connection, key_id: UUID) -> ApiKey:
    found = find_key(connection, key_id)
    if found is None:
        raise NotFound(_UNKNOWN)
    return found


def _demand_unbound() -> None:
    """Let nobody administer keys that are good for more than their own.

    Raises:
        ScopeMissing: the caller's key is bound to providers.
    """
    if current_caller().providers is not None:
        raise ScopeMissing("this key is bound to providers; keys are administered with one that is not")


def _demand_sound(body: Mapping[str, Any]) -> None:
    """Let no key be made that is good for nothing.

    Raises:
        InvalidSubmission: it is for providers that are not configured, or has expired already.
    """
    errors: dict[str, list[str]] = {
        field: [f"{BOOTSTRAP_NAME} is reserved for RECEIVER_ADMIN_KEY."]
        for field in ("name", "client")
        if body[field] == BOOTSTRAP_NAME
    }
    unknown = sorted(set(body["providers"] or ()) - current_context().providers.keys())
    if unknown:
        known = ", ".join(sorted(current_context().providers)) or "none"
        errors["providers"] = [f"not configured: {', '.join(unknown)}; known: {known}"]
    if body["expires_at"] is not None and body["expires_at"] <= current_context().clock.now():
        errors["expires_at"] = ["has passed already"]
    if errors:
        raise InvalidSubmission(errors)
