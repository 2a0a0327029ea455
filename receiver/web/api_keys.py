"""Whose key a call came with, and whether the key's allowance of calls still holds.

Keys live in the database by their hashes, allowances as well, so that all processes share them. A process looks a key
up again after a second at most, which is how long a revoked key is still good, and takes its allowance in portions; in
between a call costs no query. Guesses are looked up one after the other: strangers occupy one connection at most.
"""

import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from receiver.domain.access import BOOTSTRAP_NAME, Caller, Scope
from receiver.domain.errors import ReceiverError
from receiver.store.database import Connection, Database, StoreUnavailable
from receiver.store.keys import authenticate_key, lease_tokens

BOOTSTRAP_ID = UUID(int=0)
_PREFIX = "rcv_"
_SHOWN = len(_PREFIX) + 6
_FRESH = 1.0
_PORTIONS = 100
_LARGEST_PORTION = 100


class InvalidApiKey(ReceiverError):
    """A call has no key, or one that is not good; the message tells the remedy."""


class ScopeMissing(ReceiverError):
    """A key lacks the scope, or the provider, that a call needs."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of a key's `per_minute` calls, and in how many seconds they are all there again."""

    per_minute: int
    remaining: int
    resets_in: float

    @property
    def headers(self) -> dict[str, str]:
        """Tell it as the IETF draft `RateLimit header fields for HTTP` does."""
        return {
            "RateLimit-Policy": f'"key";q={self.per_minute};w=60',
            "RateLimit": f'"key";r={self.remaining};t={max(round(self.resets_in), 1)}',
        }


class RateLimitExceeded(ReceiverError):
    """A key has made all the calls it may make in this minute."""

    def __init__(self, allowance: RateLimit) -> None:
        super().__init__(f"the key may be used {allowance.per_minute} times in a minute; wait as Retry-After says")
        self.allowance = allowance


def generate_key() -> str:
    """Make a key: 256 random bits behind a prefix that scanners for leaked secrets can look for."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Give what is stored of a key. Its bits are random, so that no slow hash is needed."""
    return sha256(key.encode(errors="surrogateescape")).digest()


def shorten_key(key: str) -> str:
    """Give what is shown of a key in lists."""
    return key[:_SHOWN]


@dataclass(slots=True)
class _CachedKey:
    """A good key as this process knows it; times are of the monotonic clock."""

    caller: Caller
    looked_up_at: float
    renewing: threading.Lock
    in_hand: int = 0
    remaining: int = 0
    resets_at: float = 0.0

    @property
    def allowance(self) -> RateLimit:
        return RateLimit(self.caller.per_minute, self.in_hand + self.remaining, self.resets_at - time.monotonic())


class ApiKeyAuthenticator:
    """The keys of one process; `admin_key` is the bootstrap key, if there is one, and has all scopes."""

    def __init__(self, database: Database, admin_key: str | None, per_minute: int) -> None:
        self._database = database
        self._admin_hash = hash_key(admin_key) if admin_key else None
        self._admin = Caller(BOOTSTRAP_ID, BOOTSTRAP_NAME, BOOTSTRAP_NAME, frozenset(Scope), None, per_minute)
        self._known: dict[bytes, _CachedKey] = {}
        self._guessing = threading.Lock()
        self._away_until = 0.0

    def admit(self, key: str) -> tuple[Caller, RateLimit]:
        """Let one call pass; gives whose it is, and what is left of the key's allowance.

        Raises:
            KeyRefused: the key is not good, or not any more.
            AllowanceUsedUp: it was used too often in this minute.
            StoreUnavailable: it cannot be looked up now.
        """
        hashed = hash_key(key)
        known = self._known.get(hashed)
        if known is None or not self._good_for_a_call(known):
            # Who renews a known key does not queue behind strangers' guesses.
            with known.renewing if known else self._guessing:
                known = self._known.get(hashed)
                if known is None or not self._good_for_a_call(known):
                    known = self._look_up_or_fail_together(hashed, known)
        if known.in_hand < 1:
            raise RateLimitExceeded(known.allowance)
        known.in_hand -= 1
        return known.caller, known.allowance

    def _good_for_a_call(self, known: _CachedKey) -> bool:
        now = time.monotonic()
        used_up = known.in_hand < 1 and known.remaining > 0
        return now - known.looked_up_at < _FRESH and now < known.resets_at and not used_up

    def _look_up_or_fail_together(self, hashed: bytes, known: _CachedKey | None) -> _CachedKey:
        """Look a key up; while the store is away those who queue are told so at once, and do not wait one by one."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("keys cannot be looked up now")
        try:
            return self._look_up(hashed, known)
        except StoreUnavailable:
            self._away_until = time.monotonic() + _FRESH
            raise

    def _look_up(self, hashed: bytes, known: _CachedKey | None) -> _CachedKey:
        with self._database.connection() as connection:
            caller = self._caller(connection, hashed)
            now = time.monotonic()
            if caller is None:
                self._known.pop(hashed, None)
                raise InvalidApiKey("the key is not good; it is unknown, revoked or has expired")
            if known is None or now >= known.resets_at:
                known = _CachedKey(caller, now, known.renewing if known else threading.Lock())
                self._known[hashed] = known
            known.caller, known.looked_up_at = caller, now
            if known.in_hand < 1:
                portion = min(max(caller.per_minute // _PORTIONS, 1), _LARGEST_PORTION)
                grant = lease_tokens(connection, caller.id, caller.per_minute, portion)
                known.in_hand, known.remaining, known.resets_at = grant.granted, grant.remaining, now + grant.resets_in
        return known

    def _caller(self, connection: Connection, hashed: bytes) -> Caller | None:
        if self._admin_hash is not None and hmac.compare_digest(hashed, self._admin_hash):
            return self._admin
        return authenticate_key(connection, hashed)
