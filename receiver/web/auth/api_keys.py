"""Authentication by API key, and the rate limit of each key.

Keys are stored in the database as hashes, and their rate limits too, so that all processes share them. A process caches
a key for a second, which is how long a revoked key remains valid, and leases the calls of its rate limit in batches; a
call in between costs no query. Keys that are not cached are first checked for existence, all that come at the same time
by one query, so that callers who guess keys occupy one database connection at most and nobody waits behind them.
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from receiver.domain.access import BOOTSTRAP_NAME, Caller, Scope
from receiver.domain.errors import ReceiverError
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from receiver.store.keys import authenticate_key, find_active_caller, find_active_hashes, lease_tokens
from receiver.web.auth.failures import FailureLimiter
from receiver.web.auth.rate_limit import RateLimit, RateLimitExceeded

BOOTSTRAP_ID = UUID(int=0)
_PREFIX = "rcv_"
_SHOWN_LENGTH = len(_PREFIX) + 6
_INVALID = "Invalid API key: unknown, revoked or expired."
_CACHE_S = 1.0
_BATCHES_PER_MINUTE = 100
_MAX_BATCH_SIZE = 100

T = TypeVar("T")


class InvalidApiKey(ReceiverError):
    """A call was made with an API key that is not valid."""


def generate_key() -> str:
    """Generate an API key: 256 random bits behind a prefix that scanners for leaked secrets can recognize."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Return the hash that is stored of a key; its bits are random, so no slow hash is needed."""
    return sha256(key.encode(errors="surrogateescape")).digest()


def shorten_key(key: str) -> str:
    """Return the start of a key, which is shown in lists."""
    return key[:_SHOWN_LENGTH]


@dataclass(slots=True)
class _CachedKey:
    """A valid key in the cache of this process; `tokens` are leased calls, times are of the monotonic clock."""

    caller: Caller
    looked_up_at: float
    refresh_lock: threading.Lock
    tokens: int = 0
    remaining: int = 0
    resets_at: float = 0.0

    @property
    def rate_limit(self) -> RateLimit:
        return RateLimit(self.caller.per_minute, self.tokens + self.remaining, self.resets_at - time.monotonic())

    @property
    def needs_refresh(self) -> bool:
        """Whether the database has to be asked before the next call."""
        now = time.monotonic()
        is_used_up = self.tokens < 1 and self.remaining > 0
        return now - self.looked_up_at >= _CACHE_S or now >= self.resets_at or is_used_up


@dataclass(slots=True)
class _ExistenceBatch:
    """Hashes of keys that are checked by one query; `active` are those of active keys, once it was executed."""

    hashes: set[bytes] = field(default_factory=set)
    active: frozenset[bytes] | None = None


class _ExistenceCheck:
    """Finds out whether keys exist, many by one query; only one query is executed at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._query_lock = threading.Lock()
        self._batch_lock = threading.Lock()
        self._batch = _ExistenceBatch()

    def exists(self, key_hash: bytes) -> bool:
        """Return whether there is an active key with this hash.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        with self._batch_lock:
            batch = self._batch
            batch.hashes.add(key_hash)
        with self._query_lock:
            if batch.active is None:
                with self._batch_lock:
                    self._batch = _ExistenceBatch()  # what comes from now on needs another query
                with self._database.connection() as connection:
                    batch.active = find_active_hashes(connection, batch.hashes)
        return key_hash in batch.active


class ApiKeyAuthenticator:
    """Authenticates the callers of one process; `admin_key` is the bootstrap key, if any, and has all scopes."""

    def __init__(self, database: Database, admin_key: str | None, per_minute: int) -> None:
        self._database = database
        self._admin_hash = hash_key(admin_key) if admin_key else None
        self._admin = Caller(BOOTSTRAP_ID, BOOTSTRAP_NAME, BOOTSTRAP_NAME, frozenset(Scope), None, per_minute)
        self._cache: dict[bytes, _CachedKey] = {}
        self._new_key_lock = threading.Lock()
        self._existence_check = _ExistenceCheck(database)
        self._failures = FailureLimiter()
        self._unavailable_until = 0.0

    def authenticate(self, key: str, address: str = "") -> tuple[Caller, RateLimit]:
        """Authenticate one call and count it.

        Args:
            key: the API key.
            address: the address of the caller, for which failures are counted.

        Returns:
            The caller, and the rate limit of the key after this call.

        Raises:
            InvalidApiKey: the key is unknown, revoked or expired.
            TooManyInvalidKeys: it is, and so were many others from this address.
            RateLimitExceeded: the key has used all its calls of this minute.
            StoreUnavailable: the key cannot be looked up now.
        """
        key_hash = hash_key(key)
        try:
            cached = self._find(key_hash)
            while cached.tokens < 1 and cached.needs_refresh:  # others used the leased calls while this one waited
                cached = self._find(key_hash)
        except InvalidApiKey:
            self._failures.record(address)
            raise
        if cached.tokens < 1:
            raise RateLimitExceeded(cached.rate_limit, cached.caller)
        cached.tokens -= 1
        return cached.caller, cached.rate_limit

    def find_caller(self, key_id: UUID) -> Caller | None:
        """Return the caller for an active API key by the id of the key, or None; its rate limit does not count.

        Raises:
            StoreUnavailable: the key cannot be looked up now.
        """
        if key_id == BOOTSTRAP_ID:
            return self._admin if self._admin_hash else None
        with self._database.connection() as connection:
            return find_active_caller(connection, key_id)

    def _find(self, key_hash: bytes) -> _CachedKey:
        cached = self._cache.get(key_hash)
        if cached is None:
            if not self._is_admin(key_hash) and not self._exists(key_hash):
                raise InvalidApiKey(_INVALID)
            with self._new_key_lock:
                cached = self._cache.get(key_hash)
                if cached is None:
                    return self._refresh(key_hash, None)
        if not cached.needs_refresh:
            return cached
        # Each key has a lock of its own, so that its refresh does not wait for those of others. All refreshes of a key
        # take this lock: a second one at the same time would lose the calls that the first one leased.
        with cached.refresh_lock:
            current = self._cache.get(key_hash)
            return self._refresh(key_hash, current) if current is None or current.needs_refresh else current

    def _exists(self, key_hash: bytes) -> bool:
        """Return whether a key exists; while the store is unavailable, fail without another try."""
        return self._try_store(lambda: self._existence_check.exists(key_hash))

    def _refresh(self, key_hash: bytes, cached: _CachedKey | None) -> _CachedKey:
        """Look a key up; while the store is unavailable, calls that waited for the lock fail without another try."""
        if cached is not None and self._database.health.problem is not None:
            return self._try_store(lambda: self._extend(key_hash, cached))
        self._database.health.require_writable()
        return self._try_store(lambda: self._look_up(key_hash, cached))

    def _try_store(self, read: Callable[[], T]) -> T:
        if time.monotonic() < self._unavailable_until:
            raise StoreUnavailable("keys cannot be looked up now")
        try:
            return read()
        except StoreUnavailable:
            self._unavailable_until = time.monotonic() + _CACHE_S
            raise

    def _look_up(self, key_hash: bytes, cached: _CachedKey | None) -> _CachedKey:
        with self._database.connection() as connection:
            caller = self._find_caller(connection, key_hash)
            now = time.monotonic()
            if caller is None:
                self._cache.pop(key_hash, None)
                raise InvalidApiKey(_INVALID)
            if cached is None or now >= cached.resets_at:
                cached = _CachedKey(caller, now, cached.refresh_lock if cached else threading.Lock())
            cached.caller, cached.looked_up_at = caller, now
            if cached.tokens < 1:
                batch_size = min(max(caller.per_minute // _BATCHES_PER_MINUTE, 1), _MAX_BATCH_SIZE)
                lease = lease_tokens(connection, caller.id, caller.per_minute, batch_size)
                cached.tokens, cached.remaining, cached.resets_at = (
                    lease.granted,
                    lease.remaining,
                    now + lease.resets_in,
                )
            # Last: a key in the cache without calls would be refreshed by another call meanwhile, under another lock.
            self._cache[key_hash] = cached
        return cached

    def _extend(self, key_hash: bytes, cached: _CachedKey) -> _CachedKey:
        """Allow another call of a key in the cache that is still active, without counting it.

        While commits fail, the use of a key cannot be stored, but reads go on.
        """
        if not self._is_admin(key_hash):
            with self._database.connection() as connection:
                if not find_active_hashes(connection, [key_hash]):
                    self._cache.pop(key_hash, None)
                    raise InvalidApiKey(_INVALID)
        cached.looked_up_at = time.monotonic()
        cached.resets_at = max(cached.resets_at, cached.looked_up_at + _CACHE_S)
        cached.tokens = max(cached.tokens, 1)
        return cached

    def _find_caller(self, connection: Connection, key_hash: bytes) -> Caller | None:
        return self._admin if self._is_admin(key_hash) else authenticate_key(connection, key_hash)

    def _is_admin(self, key_hash: bytes) -> bool:
        return self._admin_hash is not None and hmac.compare_digest(key_hash, self._admin_hash)
