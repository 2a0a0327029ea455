"""API keys, known by their hashes; the allowances of each; and idempotency keys with the answers that were given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.access import Caller, Scope
from receiver.domain.paging import Cursor, Page
from receiver.store.database import Connection
from receiver.store.paging import build_page_parameters
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key to keep. `hash` is its SHA-256, `prefix` what is shown of it in lists."""

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
    """An API key as it is listed; times are UTC."""

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
    """Calls that one process may let pass; `remaining` are left for all, and in `resets_in` seconds it begins anew."""

    granted: int
    remaining: int
    resets_in: float


@dataclass(frozen=True, slots=True)
class IdempotentResponse:
    """What an idempotency key was used for, and the answer that was given."""

    fingerprint: bytes
    response: bytes
    location: str | None


def create_key(connection: Connection, key: NewApiKey) -> None:
    """Keep a new key."""
    given = {
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
    connection.execute(load_statement("create_key"), given)


def find_key(connection: Connection, key_id: UUID) -> ApiKey | None:
    """Give one key."""
    cursor = connection.cursor(row_factory=row_factory(ApiKey, scopes=_listed))
    return cursor.execute(load_statement("find_key"), {"id": key_id}).fetchone()


def list_keys(connection: Connection, *, cursor: Cursor | None, limit: int) -> Page[ApiKey]:
    """Give keys, the newest first, those that are good no longer included."""
    rows = connection.cursor(row_factory=row_factory(ApiKey, scopes=_listed))
    found = rows.execute(load_statement("list_keys"), build_page_parameters(cursor, limit), prepare=False).fetchall()
    return Page.of(found, limit, lambda key: Cursor(key.created_at, key.id))


def revoke_key(connection: Connection, key_id: UUID) -> bool:
    """Let a key be good no longer; False if it was not any more, or does not exist."""
    return connection.execute(load_statement("revoke_key"), {"id": key_id}).rowcount == 1


def authenticate_key(connection: Connection, key_hash: bytes) -> Caller | None:
    """Give whose key has this hash, if it is good now, and note that it is used."""
    cursor = connection.cursor(row_factory=row_factory(Caller, scopes=_scopes))
    return cursor.execute(load_statement("authenticate_key"), {"hash": key_hash}).fetchone()


def lease_tokens(connection: Connection, key_id: UUID, per_minute: int, wanted: int) -> TokenLease:
    """Take up to `wanted` calls of a key's allowance of this minute, which all processes share."""
    cursor = connection.cursor(row_factory=row_factory(TokenLease))
    given = {"key_id": key_id, "per_minute": per_minute, "wanted": wanted}
    grant = cursor.execute(load_statement("lease_tokens"), given).fetchone()
    if grant is None:
        raise AssertionError("take_allowance gives a row")
    return grant


def reserve_idempotency_key(
    connection: Connection, client: str, key: str, fingerprint: bytes
) -> IdempotentResponse | None:
    """Claim an idempotency key for this transaction, waiting for a twin that is under way.

    Gives None to the first; to all others what it was used for.
    """
    named = {"client": client, "key": key}
    first = connection.execute(
        load_statement("reserve_idempotency_key"), {**named, "fingerprint": fingerprint}
    ).fetchone()
    if first:
        return None
    cursor = connection.cursor(row_factory=row_factory(IdempotentResponse))
    return cursor.execute(load_statement("find_idempotent_response"), named).fetchone()


def save_response(connection: Connection, client: str, key: str, response: bytes, location: str | None) -> None:
    """Keep the answer for those who repeat an idempotency key; in the transaction that claimed it."""
    given = {"client": client, "key": key, "response": response, "location": location}
    connection.execute(load_statement("save_response"), given)


def _scopes(given: Sequence[str]) -> frozenset[Scope]:
    return frozenset(map(Scope, given))


def _listed(given: Sequence[str]) -> list[Scope]:
    return [Scope(scope) for scope in given]
