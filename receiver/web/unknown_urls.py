"""The log of callbacks to URLs that do not exist, because the name of the provider or the URL token is wrong.

Anybody can send any number of them, so the lines are limited. A line contains nothing of the URL but a configured name.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from receiver.domain.buckets import TokenBucket

_BURST_LINES = 10
_LINES_PER_S = 0.2

_log = structlog.get_logger(__name__)


class UnknownUrlReason(StrEnum):
    """Why a URL is not that of a provider's callbacks; a token that is missing is wrong, too."""

    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_ACCOUNT = "unknown_account"
    NO_CALLBACKS = "no_callbacks"
    WRONG_TOKEN = "wrong_token"  # noqa: S105  # a reason, no token


@dataclass(slots=True)
class _Lines:
    """The lines about one provider; `unlogged` is the number of callbacks since the last one."""

    bucket: TokenBucket = field(default_factory=lambda: TokenBucket(_BURST_LINES, _LINES_PER_S))
    unlogged: int = 0


class UnknownUrlLog:
    """The lines of one process: some for each configured provider, and some for all other names together."""

    def __init__(self) -> None:
        self._lines: defaultdict[str | None, _Lines] = defaultdict(_Lines)

    def record(self, provider: str | None, reason: UnknownUrlReason, caller: str, now: float) -> None:
        """Log a callback within the limits.

        Args:
            provider: a configured name; None for all others.
            reason: why the URL does not exist.
            caller: the address of the caller.
            now: the time by `time.monotonic`.
        """
        lines = self._lines[provider]
        lines.unlogged += 1
        if lines.bucket.take(1, now):
            _log.info("callback.not_found", provider=provider, reason=reason.value, caller=caller, count=lines.unlogged)
            lines.unlogged = 0
