"""`/v1/keys`: create, list and revoke API keys."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.domain.access import Scope
from receiver.domain.accounts import list_base_names
from receiver.domain.paging import Page
from receiver.outbound.submit import InvalidSubmission
from receiver.schemas.api import keys as schemas
from receiver.schemas.api.common import list_of
from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.keys import ApiKey, NewApiKey, create_key, find_key, list_keys, revoke_key
from receiver.web.auth.api_keys import generate_key, hash_key, shorten_key
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.blueprint import api

_NOT_FOUND = "No such API key."


@api.operation("GET", "/keys", Scope.ADMIN, list_of(schemas.KeySchema)(), query=schemas.KeyQuerySchema())
def browse_keys(query: dict[str, Any]) -> Page[ApiKey]:
    """List API keys, newest first, including revoked and expired ones."""
    _require_unrestricted_key()
    with current_context().database.connection() as connection:
        return list_keys(connection, query["page"])


@api.operation("POST", "/keys", Scope.ADMIN, schemas.CreatedKeySchema(), status=201, body=schemas.NewKeySchema())
def create_api_key(body: dict[str, Any]) -> Mapping[str, Any]:
    """Create an API key; only this response contains it."""
    _require_unrestricted_key()
    _validate_key(body)
    key = generate_key()
    body["client"] = body["client"] or body["name"]
    per_minute = body.pop("per_minute") or current_context().settings.rate_limit_per_minute
    new_key = NewApiKey(id=uuid7(), hash=hash_key(key), prefix=shorten_key(key), per_minute=per_minute, **body)
    with current_context().database.transaction() as connection:
        create_key(connection, new_key)
        record_action(connection, new_key.id, "create", current_caller().name, None)
        return extend_fields(_find_key(connection, new_key.id), key=key)


@api.action(
    "/keys/<uuid:key_id>/revoke",
    Scope.ADMIN,
    schemas.KeySchema(),
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def revoke_api_key(key_id: UUID, body: dict[str, Any]) -> ApiKey:
    """Revoke an API key for good; within a second every process refuses it."""
    _require_unrestricted_key()
    with current_context().database.transaction() as connection:
        if revoke_key(connection, key_id):
            record_action(connection, key_id, "revoke", current_caller().name, body["reason"])
        return _find_key(connection, key_id)


def load_key(connection: Connection, key_id: UUID) -> ApiKey:
    """Return a key, for a caller who may administer keys.

    Raises:
        ProblemError: there is no such key, or the caller's key is restricted to some providers.
    """
    _require_unrestricted_key()
    return _find_key(connection, key_id)


def _find_key(connection: Connection, key_id: UUID) -> ApiKey:
    key = find_key(connection, key_id)
    if key is None:
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return key


def _require_unrestricted_key() -> None:
    """Check that the caller's key is not restricted to providers: it could create a key with more rights than its own.

    Raises:
        ProblemError: the caller's key is restricted to some providers.
    """
    if current_caller().providers is not None:
        detail = "The API key is restricted to some providers. Use a key without restriction to administer keys."
        raise ProblemError(ProblemType.PROVIDER_NOT_ALLOWED, detail)


def _validate_key(body: Mapping[str, Any]) -> None:
    """Check what a schema cannot check of a new key.

    Raises:
        InvalidSubmission: a provider is not configured, or the key has expired already.
    """
    errors: dict[str, list[str]] = {}
    providers = current_context().providers
    base_names = list_base_names(providers)
    unknown = sorted(set(body["providers"] or ()) - providers.keys() - set(base_names))
    if unknown:
        configured = ", ".join(base_names) or "none"
        errors["providers"] = [f"Not configured: {', '.join(unknown)}. Must be one of: {configured}."]
    if body["expires_at"] is not None and body["expires_at"] <= current_context().clock.now():
        errors["expires_at"] = ["Must be in the future."]
    if errors:
        raise InvalidSubmission(errors)
