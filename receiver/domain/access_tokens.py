"""Access tokens (OAuth 2.0, RFC 6749): how long one is used, and when a failed renewal is repeated."""

from dataclasses import dataclass, field

from receiver.domain.backoff import compute_poll_interval

DEFAULT_LIFETIME_S = 3_600.0
"""The lifetime of a token whose response does not contain it."""
REFUSAL_WINDOW_S = 3_600.0
"""If a token is refused, and no other was accepted since one was refused in this time, the credentials are wrong."""

_MAX_LIFETIME_S = 30 * 86_400.0
_MAX_STATED_LIFETIME_S = 3 * 366 * 86_400.0
_MAX_EXPIRY_MARGIN_S = 30.0
_MAX_RENEWAL_MARGIN_S = 300.0
_FIRST_RETRY_S, _MAX_RETRY_S = 1.0, 60.0
_REFUSAL_RETRY_S = 1.0
_MAX_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class TokenLifetime:
    """How many seconds a new token is used, and after how many it is renewed."""

    usable_for: float
    renew_after: float

    @classmethod
    def plan(cls, expires_in: float, jitter: float) -> "TokenLifetime":
        """Plan the use of a token that expires in so many seconds.

        It is not used in the last tenth of its life (30 seconds at most), as a request takes time to arrive. It is
        renewed before, while it is still usable; `jitter`, drawn evenly from 0 to 1, spreads the renewals.
        """
        lifetime = min(expires_in, _MAX_LIFETIME_S)
        usable_for = lifetime - min(lifetime * 0.1, _MAX_EXPIRY_MARGIN_S)
        return cls(usable_for, usable_for - min(usable_for * 0.2, _MAX_RENEWAL_MARGIN_S) * (0.5 + jitter / 2))


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that a token endpoint issued, and the seconds until it expires."""

    text: str = field(repr=False)
    expires_in: float


@dataclass(frozen=True, slots=True)
class TokenFailure:
    """Why there is no token. `is_refusal`: the token endpoint refused our credentials, or our request as a whole.

    `retry_after` is how many seconds the token endpoint asks to wait.
    """

    error: str
    is_refusal: bool = False
    retry_after: float = 0.0

    def compute_retry_delay(self, failures: int, jitter: float) -> float:
        """Return the seconds until the renewal is tried again, after `failures` failures in a row (1 or more).

        After a refusal the provider is paused; when its pause ends, the credentials are tried at once.
        """
        if self.is_refusal:
            return _REFUSAL_RETRY_S
        delay = compute_poll_interval(_FIRST_RETRY_S, _MAX_RETRY_S, failures - 1, jitter)
        return max(delay, min(self.retry_after, _MAX_RETRY_AFTER_S))


def parse_expires_in(text: str | None) -> float:
    """Return the lifetime of a token in seconds; the default for an absent or malformed one.

    More than three years is no lifetime, but a time since 1970, for example.
    """
    try:
        seconds = float(text or "")
    except ValueError:
        return DEFAULT_LIFETIME_S
    return seconds if 0 < seconds <= _MAX_STATED_LIFETIME_S else DEFAULT_LIFETIME_S
