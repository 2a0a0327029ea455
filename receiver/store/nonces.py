"""The nonces of callbacks: each is used for one callback only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import derive_id
from receiver.store.connections import Connection, as_jsonb
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class UsedNonce:
    """A nonce and the callback that it is used for.

    Args:
        provider: the provider's name.
        id: derived from the nonce.
        digest: derived from the callback, see `build`.
        used_at: when the callback was received, UTC.
    """

    provider: str
    id: UUID
    digest: UUID
    used_at: datetime

    @classmethod
    def build(cls, provider: str, nonce: str, content: Iterable[bytes], used_at: datetime) -> "UsedNonce":
        """Build it for a callback; `content` is all that the callback is read from."""
        return cls(provider, derive_id(nonce.encode(errors="surrogateescape")), derive_id(*content), used_at)


def find_reused_nonces(connection: Connection, nonces: Iterable[UsedNonce]) -> set[UsedNonce]:
    """Store new nonces, and return those of `nonces` that have been used for another callback.

    Call it within the transaction that stores the callbacks: if that is rolled back, nothing is used up. Of several
    callbacks with one new nonce, the first of `nonces` uses it.
    """
    all_nonces = list(nonces)
    first_uses: dict[tuple[str, UUID], UsedNonce] = {}
    for nonce in all_nonces:
        first_uses.setdefault((nonce.provider, nonce.id), nonce)
    params = {"nonces": as_jsonb(list(first_uses.values()))}
    rows = connection.execute(load_statement("save_nonces"), params).fetchall()
    digests: Mapping[tuple[str, UUID], UUID] = {(provider, nonce_id): digest for provider, nonce_id, digest in rows}
    return {nonce for nonce in all_nonces if digests[nonce.provider, nonce.id] != nonce.digest}
