"""API keys, which are stored as hashes, their rate limits, and idempotency keys with their responses."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.access import Caller, Scope
from receiver.domain.paging import Cursor, Page, PageRequest
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import build_page_parameters, load_statement


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key to store. `hash` is its SHA-256, `prefix` its beginning, which lists show; `expires_at` is UTC."""

    id: UUID
    client: str
    name: str
    hash: bytes
    prefix: str
    scopes: Sequence[Scope]
    providers: Sequence[str] | None
    per_minute: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key; times are UTC."""

    id: UUID
    client: str
    name: str
    prefix: str
    scopes: Sequence[Scope]
    providers: Sequence[str] | None
    per_minute: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class TokenLease:
    """A number of calls that one process may accept within the current minute.

    `remaining` calls are left for all processes together; the minute ends in `resets_in` seconds.
    """

    granted: int
    remaining: int
    resets_in: float


@dataclass(frozen=True, slots=True)
class IdempotentResponse:
    """The response to a request with an idempotency key; `fingerprint` identifies the request."""

    fingerprint: bytes
    status: int
    response: bytes
    location: str | None


def create_key(connection: Connection, key: NewApiKey) -> None:
    """Store a new key."""
    params = {
        "id": key.id,
        "client": key.client,
        "name": key.name,
        "hash": key.hash,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "providers": None if key.providers is None else list(key.providers),
        "per_minute": key.per_minute,
        "expires_at": key.expires_at,
    }
    connection.execute(load_statement("create_key"), params)


def find_key(connection: Connection, key_id: UUID) -> ApiKey | None:
    """Return the key with this id, or None."""
    cursor = connection.cursor(row_factory=row_factory(ApiKey, scopes=_parse_scopes))
    return cursor.execute(load_statement("find_key"), {"id": key_id}).fetchone()


def list_keys(connection: Connection, page: PageRequest[Cursor]) -> Page[ApiKey]:
    """Return a page of keys, newest first, including revoked and expired keys."""
    cursor = connection.cursor(row_factory=row_factory(ApiKey, scopes=_parse_scopes))
    keys = cursor.execute(load_statement("list_keys"), build_page_parameters(page), prepare=False).fetchall()
    return Page.from_rows(keys, page.limit, lambda key: Cursor(key.created_at, key.id))


def revoke_key(connection: Connection, key_id: UUID) -> bool:
    """Revoke a key; return False if it was already revoked or does not exist."""
    return connection.execute(load_statement("revoke_key"), {"id": key_id}).rowcount == 1


def authenticate_key(connection: Connection, key_hash: bytes) -> Caller | None:
    """Return the caller for an active API key and update its `last_used_at`; None for any other hash."""
    cursor = connection.cursor(row_factory=row_factory(Caller, scopes=_parse_scope_set))
    return cursor.execute(load_statement("authenticate_key"), {"hash": key_hash}).fetchone()


def find_active_caller(connection: Connection, key_id: UUID) -> Caller | None:
    """Return the caller for the active API key with this id, or None."""
    cursor = connection.cursor(row_factory=row_factory(Caller, scopes=_parse_scope_set))
    return cursor.execute(load_statement("find_active_caller"), {"id": key_id}).fetchone()


def find_active_hashes(connection: Connection, hashes: Collection[bytes]) -> frozenset[bytes]:
    """Return those of the hashes that are hashes of active API keys."""
    rows = connection.execute(load_statement("find_active_hashes"), {"hashes": list(hashes)})
    return frozenset(bytes(key_hash) for (key_hash,) in rows)


def lease_tokens(connection: Connection, key_id: UUID, per_minute: int, count: int) -> TokenLease:
    """Lease up to `count` calls of a key's rate limit in the current minute, which all processes share."""
    cursor = connection.cursor(row_factory=row_factory(TokenLease))
    params = {"key_id": key_id, "per_minute": per_minute, "count": count}
    lease = cursor.execute(load_statement("lease_tokens"), params).fetchone()
    if lease is None:
        raise AssertionError("lease_tokens returns a row")
    return lease


def reserve_idempotency_key(
    connection: Connection, client: str, key: str, fingerprint: bytes
) -> IdempotentResponse | None:
    """Reserve an idempotency key within this transaction; wait for another transaction that is reserving it.

    Returns:
        None if the key is new, otherwise the response to the request that used the key first.
    """
    params = {"client": client, "key": key}
    reserved = connection.execute(
        load_statement("reserve_idempotency_key"), {**params, "fingerprint": fingerprint}
    ).fetchone()
    return None if reserved else find_idempotent_response(connection, client, key)


def find_idempotent_response(connection: Connection, client: str, key: str) -> IdempotentResponse | None:
    """Return the response to the call that used an idempotency key, or None if no call did."""
    cursor = connection.cursor(row_factory=row_factory(IdempotentResponse))
    params = {"client": client, "key": key}
    return cursor.execute(load_statement("find_idempotent_response"), params).fetchone()


def list_idempotent_responses(
    connection: Connection, key: str, *, client: str | None, limit: int
) -> list[IdempotentResponse]:
    """Return the responses to the calls that used an idempotency key, newest first.

    Args:
        connection: any connection.
        key: the idempotency key.
        client: the client whose calls alone are returned; None for those of all clients.
        limit: the maximum number of responses.
    """
    cursor = connection.cursor(row_factory=row_factory(IdempotentResponse))
    params = {"key": key, "client": client, "limit": limit}
    return cursor.execute(load_statement("list_idempotent_responses"), params, prepare=False).fetchall()


def save_response(
    connection: Connection, client: str, key: str, response: bytes, location: str | None, *, status: int = 202
) -> None:
    """Store the response for repetitions of an idempotency key; call in the transaction that reserved the key."""
    params = {"client": client, "key": key, "status": status, "response": response, "location": location}
    connection.execute(load_statement("save_response"), params)


def _parse_scopes(names: Sequence[str]) -> list[Scope]:
    return [Scope(name) for name in names]


def _parse_scope_set(names: Sequence[str]) -> frozenset[Scope]:
    return frozenset(_parse_scopes(names))
