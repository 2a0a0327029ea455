"""`limits`: two worker processes share one provider's `max_per_second`, over requests and polls together.

More is due than may be sent at any time. The provider records when each exchange arrives: no second, wherever it
starts, may contain more exchanges than the limit allows, and nearly all of the limit must be used.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from receiver.store.connections import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.counting_provider import build_request, run_counting_provider
from tests.support.processes import build_provider_toml, running_worker, wait_for

LIMIT_PER_S = 20
MAX_JITTER_S = 0.05
"""How much later an exchange may arrive than its slot begins, on a busy machine."""
MIN_USED = 0.95
_PROVIDER = "limited"
_SETTINGS = f"""
max_per_second = {LIMIT_PER_S}
max_concurrency = 16
poll = {{{{ first_after = {{first_after}}, max_interval = {{first_after}} }}}}
"""


@dataclass(frozen=True, slots=True)
class LimitsTrial:
    """The result of a trial.

    Args:
        times: when each exchange arrived, in seconds after the first.
        polls: how many of the exchanges were polls.
        seconds: how long the trial lasted.
        min_used: the share of the limit that must be used.
    """

    times: Sequence[float]
    polls: int
    seconds: float
    min_used: float = MIN_USED

    @property
    def max_per_second(self) -> int:
        """How many exchanges arrived in the busiest second."""
        return count_busiest(self.times, 1.0)

    @property
    def used(self) -> float:
        """The share of the limit that was used."""
        return len(self.times) / (LIMIT_PER_S * self.seconds)

    @property
    def violations(self) -> list[str]:
        """Each violation as one line."""
        violations = []
        if self.max_per_second > compute_max_busiest(LIMIT_PER_S):
            violations.append(f"{self.max_per_second} exchanges arrived within a second")
        if self.used <= self.min_used:
            violations.append(f"only {self.used:.1%} of the limit was used")
        if not 0 < self.polls < len(self.times):
            violations.append(f"{self.polls} of {len(self.times)} exchanges were polls; both kinds must occur")
        return violations

    def summary(self) -> str:
        """Return the result as text for people."""
        return (
            f"limit           {LIMIT_PER_S} per second, two workers\n"
            f"seconds         {self.seconds:g}\n"
            f"exchanges       {len(self.times)}, of which {self.polls} polls\n"
            f"busiest second  {self.max_per_second}\n"
            f"limit used      {self.used:.1%}"
        )


def count_busiest(times: Sequence[float], span: float) -> int:
    """Return the highest number of times within any half-open interval of `span` seconds; `times` are in order."""
    return max((bisect_left(times, at + span) - index for index, at in enumerate(times)), default=0)


def compute_max_busiest(limit: int) -> int:
    """Return the most exchanges that may arrive within a second, each delayed by at most `MAX_JITTER_S`."""
    return limit + round(limit * MAX_JITTER_S)


def run(dsn: str, directory: Path, *, seconds: float, min_used: float = MIN_USED) -> LimitsTrial:
    """Run two workers at their limit for some seconds, on an empty, migrated database."""
    with run_counting_provider(directory) as provider, closing(connect(dsn)) as connection:
        settings = _SETTINGS.format(first_after=min(5.0, seconds / 4))
        config = build_provider_toml(_PROVIDER, f"{provider.url}/{_PROVIDER}", settings)
        with running_worker(directory, dsn, config, "one"), running_worker(directory, dsn, config, "two"):
            _submit(connection, round(LIMIT_PER_S * seconds * 2))
            first = wait_for(provider.find_arrivals)[0].at
            time.sleep(max(first + seconds - time.monotonic(), 0.0))
        arrivals = [arrival for arrival in provider.find_arrivals() if arrival.at < first + seconds]
        polls = sum(arrival.method == "GET" for arrival in arrivals)
        return LimitsTrial([arrival.at - first for arrival in arrivals], polls, seconds, min_used)


def _submit(connection: Connection, count: int) -> None:
    """Submit requests whose jobs never finish, all at once."""
    submit_requests(connection, [build_request(_PROVIDER, f"never-{number}") for number in range(count)])
