"""Calls with invalid API keys, by the address of the caller: counted, logged, and refused early if there are many.

Only failures are limited. A valid key works from any address and is not slowed: it may share its address, such as that
of a company's router, with a caller that guesses.
"""

import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog

from receiver.domain.addresses import group_address
from receiver.domain.buckets import TokenBucket
from receiver.domain.errors import ReceiverError

BURST_FAILURES = 200
FAILURES_PER_S = 2.0
_MAX_ADDRESSES = 10_000
_LOG_BURST_LINES = 3
_LOG_LINES_PER_S = 0.1

_log = structlog.get_logger(__name__)


class TooManyInvalidKeys(ReceiverError):
    """Too many calls from an address had an invalid API key; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many calls from this address had an invalid API key. Check the key, and wait.")
        self.retry_after = retry_after


@dataclass(slots=True)
class _Caller:
    """The failures of one address; `unlogged` is their number since the last line of the log."""

    failures: TokenBucket = field(default_factory=lambda: TokenBucket(BURST_FAILURES, FAILURES_PER_S))
    log_lines: TokenBucket = field(default_factory=lambda: TokenBucket(_LOG_BURST_LINES, _LOG_LINES_PER_S))
    unlogged: int = 0


class FailureLimiter:
    """The failures of one process, by address or network of /64; of many addresses, the latest are remembered."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Caller] = OrderedDict()

    def record(self, address: str) -> None:
        """Count a call with an invalid key.

        Raises:
            TooManyInvalidKeys: the address has used up its failures.
        """
        name, now = group_address(address), time.monotonic()
        caller = self._callers.setdefault(name, _Caller())
        self._callers.move_to_end(name)
        if len(self._callers) > _MAX_ADDRESSES:
            self._callers.popitem(last=False)
        is_allowed = caller.failures.take(1, now)
        caller.unlogged += 1
        if caller.log_lines.take(1, now):
            _log.warning("api_key.rejected", caller=name, count=caller.unlogged, throttled=not is_allowed)
            caller.unlogged = 0
        if not is_allowed:
            raise TooManyInvalidKeys(math.ceil((1 - caller.failures.tokens) / FAILURES_PER_S))
