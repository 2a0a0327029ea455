"""Access tokens for providers with OAuth 2.0: requested when needed, shared by all workers, renewed by one of them.

A token is stored encrypted, and renewed before it expires. The right to renew it is a lease in Postgres, and no
connection is held during the request. Meanwhile the others use the token that they have, or wait for the new one.

After a 401 the token is discarded, and the request returns to the queue as not sent: with the next token it takes its
turn within the limits again. If that token is refused before it was ever accepted, the response counts, which pauses
the provider. A provider that accepts tokens for some requests and refuses them for others is paused, too: how often an
accepted token makes up for a refused one is limited.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from uuid import uuid4

import gevent
import structlog
from gevent.lock import BoundedSemaphore

from receiver.domain.access_tokens import IssuedToken, TokenFailure, TokenLifetime
from receiver.domain.buckets import TokenBucket
from receiver.domain.sending import NoResponse, NotSent, Outcome, Response
from receiver.exchange.client import Client
from receiver.exchange.token_cipher import TokenCipher
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.token_requests import TokenRequest
from receiver.store.access_tokens import (
    RenewalLease,
    StoredToken,
    TokenKey,
    confirm_access_token,
    discard_access_token,
    find_access_token,
    lease_token_renewal,
    save_access_token,
    save_token_failure,
)
from receiver.store.database import Database
from receiver.store.errors import StoreError

_LEASE_MARGIN_S = 5.0
_WAIT_INTERVAL_S = 0.1
_POSTPONEMENT_S = 1.0
_CONFIRMATION_BURST, _CONFIRMATIONS_PER_S = 3, 1 / 60
_NO_TOKEN = "no access token"  # noqa: S105  # the beginning of a message
_REDACTED = "[redacted]"

_random = Random()  # noqa: S311  # spreads renewals; not for security
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that can be used until `expires_at`, by `time.monotonic`; `version` numbers the provider's tokens."""

    text: str = field(repr=False)
    version: int
    expires_at: float

    @property
    def is_valid(self) -> bool:
        """Whether the token has not expired."""
        return time.monotonic() < self.expires_at


def request_token(client: Client, token_request: TokenRequest) -> IssuedToken | TokenFailure:
    """Request a token from the token endpoint, which is the origin of `client`."""
    outcome = client.exchange(token_request.outgoing)
    if isinstance(outcome, Response):
        return token_request.parse(outcome, datetime.now(UTC))
    return TokenFailure(f"no response from the token endpoint: {outcome.error}")


class AccessTokens:
    """The access tokens of one provider, in one process.

    Args:
        build_client: opens an HTTP client for the token endpoint.
    """

    def __init__(
        self,
        database: Database,
        provider: Provider,
        token_request: TokenRequest,
        cipher: TokenCipher,
        build_client: Callable[[], Client],
    ) -> None:
        self._database = database
        self._key = TokenKey(provider.name, provider.fingerprint)
        self._token_request = token_request
        self._cipher = cipher
        self._build_client = build_client
        self._lease_s = provider.send_policy.max_duration + _LEASE_MARGIN_S
        self._lock = BoundedSemaphore()
        self._token: AccessToken | None = None
        self._renew_at = 0.0
        self._confirmed_version = 0
        self._confirmations = TokenBucket(_CONFIRMATION_BURST, _CONFIRMATIONS_PER_S)

    @property
    def current(self) -> AccessToken | None:
        """The token that this process used last, if it is valid."""
        return self._token if self._token and self._token.is_valid else None

    def get(self) -> AccessToken | NoResponse | NotSent:
        """Return a token, a new one if necessary, or the outcome of an exchange that cannot begin without."""
        token = self.current
        if token and (time.monotonic() < self._renew_at or self._lock.locked()):
            return token
        with self._lock:
            token = self.current  # another greenlet may have renewed it
            if token and time.monotonic() < self._renew_at:
                return token
            try:
                return self._obtain()
            except StoreError as error:
                self._renew_at = time.monotonic() + _POSTPONEMENT_S
                return token or NotSent(f"{_NO_TOKEN}: {error}")

    def discard(self, token: AccessToken) -> bool:
        """Discard a token that the provider refused; return whether another one may be accepted."""
        if self._token == token:
            self._token = None
        try:
            with self._database.connection() as connection:
                return discard_access_token(connection, self._key, token.version)
        except StoreError:
            return True

    def confirm(self, token: AccessToken) -> None:
        """Note that the provider accepted a token; only the first time, and not too often."""
        if token.version == self._confirmed_version or not self._confirmations.take(1, time.monotonic()):
            return
        try:
            with self._database.connection() as connection:
                confirm_access_token(connection, self._key, token.version)
        except StoreError:
            return
        self._confirmed_version = token.version

    def _obtain(self) -> AccessToken | NoResponse | NotSent:
        """Return the stored token. If it is due, renew it, or wait until another worker has renewed it."""
        give_up_at = time.monotonic() + self._lease_s
        while True:
            stored = self._load()
            token = self.current
            if token and stored.renew_in > 0:
                self._renew_at = time.monotonic() + stored.renew_in
                return token
            self._renew_at = time.monotonic() + _POSTPONEMENT_S
            if stored.failure and stored.retry_in > 0:
                # The refusal has paused the provider. If it was resumed since, that stands until the next renewal.
                error = f"{_NO_TOKEN}: {stored.failure}"
                return token or (NotSent(error) if stored.is_refusal else NoResponse(error, sent=False))
            lease = RenewalLease(self._key, uuid4(), self._lease_s)
            with self._database.connection() as connection:
                is_leased = lease_token_renewal(connection, lease, stored.version)
            if is_leased:
                renewed = self._renew(lease, stored.failures)
                if isinstance(renewed, TokenFailure):
                    return token or _build_outcome(renewed)
                if renewed:
                    return renewed
            elif token:
                return token
            if time.monotonic() > give_up_at:
                return NotSent(f"{_NO_TOKEN}: another worker does not finish its renewal")
            gevent.sleep(_WAIT_INTERVAL_S)

    def _load(self) -> StoredToken:
        """Read the stored token, and use it if it is valid."""
        with self._database.connection() as connection:
            stored = find_access_token(connection, self._key)
        text = self._cipher.decrypt(self._key, stored.token) if stored.token and stored.valid_for > 0 else None
        self._token = AccessToken(text, stored.version, time.monotonic() + stored.valid_for) if text else None
        return stored

    def _renew(self, lease: RenewalLease, failures: int) -> AccessToken | TokenFailure | None:
        """Request a token, store the token or the failure, and return it; None if another worker took over the lease.

        The token is returned even if it has expired by now: a shorter lifetime than the request needs is the
        provider's to decide.
        """
        started_at = time.monotonic()
        with closing(self._build_client()) as client:
            issued = request_token(client, self._token_request)
        provider = self._key.provider
        if isinstance(issued, TokenFailure):
            retry_in = issued.compute_retry_delay(failures + 1, _random.random())
            _log.warning("access_token.renewal_failed", provider=provider, error=issued.error)
            with self._database.connection() as connection:
                save_token_failure(connection, lease, issued, retry_in)
            return issued
        encrypted = self._cipher.encrypt(self._key, issued.text)
        lifetime = TokenLifetime.plan(issued.expires_in, _random.random())
        with self._database.connection() as connection:
            version = save_access_token(connection, lease, encrypted, lifetime, time.monotonic() - started_at)
        if version is None:
            return None
        _log.info("access_token.renewed", provider=provider, version=version, renew_in=round(lifetime.renew_after))
        self._renew_at = started_at + lifetime.renew_after
        self._token = AccessToken(issued.text, version, started_at + lifetime.usable_for)
        return self._token


class TokenClient:
    """An HTTP client that authenticates its requests with access tokens.

    The request for a token is not subject to the provider's limits.
    """

    def __init__(self, client: Client, tokens: AccessTokens, token_request: TokenRequest) -> None:
        self._client = client
        self._tokens = tokens
        self._token_request = token_request

    def exchange(self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None) -> Outcome:
        """Send a request with a token and return its outcome; see `HttpClient.exchange`."""
        token = self._tokens.get()
        if not isinstance(token, AccessToken):
            return token
        with admission or nullcontext():
            # The token may have been renewed during the wait for the admission.
            token = self._tokens.current or token
            outcome = self._client.exchange(self._token_request.authorize(outgoing, token.text))
        if isinstance(outcome, Response):
            if outcome.status == 401 and self._tokens.discard(token):
                return NotSent("401: the provider refused the access token; the next attempt has a new one")
            if 200 <= outcome.status < 300:
                self._tokens.confirm(token)
            return _redact(outcome, token.text)
        return outcome

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()


def _build_outcome(failure: TokenFailure) -> NoResponse | NotSent:
    """Return the outcome of an exchange without a token: a failure like that of a connection, or a refusal."""
    error = f"{_NO_TOKEN}: {failure.error}"
    return NotSent(error, refusal=error) if failure.is_refusal else NoResponse(error, sent=False)


def _redact(response: Response, token: str) -> Response:
    """Return a response without the token, in case that the provider sends it back."""
    if token.encode() not in response.body and not any(token in value for value in response.headers.values()):
        return response
    headers = {name: value.replace(token, _REDACTED) for name, value in response.headers.items()}
    return replace(response, headers=headers, body=response.body.replace(token.encode(), _REDACTED.encode()))
