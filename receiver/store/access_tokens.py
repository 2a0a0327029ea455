"""Access tokens that all workers share: encrypted, one for each provider and credentials, renewed by one worker."""

from dataclasses import dataclass, field
from uuid import UUID

from receiver.domain.access_tokens import REFUSAL_WINDOW_S, TokenFailure, TokenLifetime
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Whose token it is: the provider's name, and the fingerprint of the credentials."""

    provider: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RenewalLease:
    """The right to renew a token, for `seconds`."""

    key: TokenKey
    id: UUID
    seconds: float


@dataclass(frozen=True, slots=True)
class StoredToken:
    """The state of a token; times are seconds from now, negative for those that have passed.

    Args:
        version: the number of the token; 0 before the first one.
        token: the encrypted token.
        renew_in, valid_for: until the token is to be renewed, and until it expires.
        failure, is_refusal: why the last renewal failed, see `TokenFailure`.
        failures: how many renewals in a row failed.
        retry_in: until the next renewal may be tried after a failure.
    """

    version: int = 0
    token: bytes | None = field(default=None, repr=False)
    renew_in: float = 0.0
    valid_for: float = 0.0
    failure: str | None = None
    is_refusal: bool = False
    failures: int = 0
    retry_in: float = 0.0


def find_access_token(connection: Connection, key: TokenKey) -> StoredToken:
    """Return the state of a token, also of one that was never requested."""
    cursor = connection.cursor(row_factory=row_factory(StoredToken))
    return cursor.execute(load_statement("find_access_token"), _as_params(key)).fetchone() or StoredToken()


def lease_token_renewal(connection: Connection, lease: RenewalLease, version: int) -> bool:
    """Lease the renewal of the token of this version; return whether the caller is the one who renews it."""
    params = {**_as_params(lease.key), "lease_id": lease.id, "lease": lease.seconds, "version": version}
    return connection.execute(load_statement("lease_token_renewal"), params).fetchone() is not None


def save_access_token(
    connection: Connection, lease: RenewalLease, token: bytes, lifetime: TokenLifetime, age: float
) -> int | None:
    """Store an encrypted token that was requested `age` seconds ago, and end the lease.

    Returns:
        The version of the token; None if another worker has taken over the lease, so that nothing is stored.
    """
    params = {
        **_as_params(lease.key),
        "lease_id": lease.id,
        "token": token,
        "renew_in": lifetime.renew_after - age,
        "valid_for": lifetime.usable_for - age,
    }
    connection.execute(load_statement("delete_unused_access_tokens"))
    row = connection.execute(load_statement("save_access_token"), params).fetchone()
    return int(row[0]) if row else None


def save_token_failure(connection: Connection, lease: RenewalLease, failure: TokenFailure, retry_in: float) -> None:
    """Store why a renewal failed, and end the lease; the next renewal may be tried in `retry_in` seconds."""
    params = {
        **_as_params(lease.key),
        "lease_id": lease.id,
        "failure": failure.error,
        "is_refusal": failure.is_refusal,
        "retry_in": retry_in,
    }
    connection.execute(load_statement("save_token_failure"), params)


def discard_access_token(connection: Connection, key: TokenKey, version: int) -> bool:
    """Discard a token that the provider refused; return whether another token may be accepted.

    False if one was refused within `REFUSAL_WINDOW_S` before, and none was confirmed since: the credentials are wrong.
    """
    params = {**_as_params(key), "version": version, "window": REFUSAL_WINDOW_S}
    row = connection.execute(load_statement("discard_access_token"), params).fetchone()
    return row is not None and bool(row[0])


def confirm_access_token(connection: Connection, key: TokenKey, version: int) -> None:
    """Note that the provider accepted a token, so that the next refused one may be replaced, too."""
    connection.execute(load_statement("confirm_access_token"), {**_as_params(key), "version": version})


def _as_params(key: TokenKey) -> dict[str, object]:
    return {"provider": key.provider, "fingerprint": key.fingerprint}
