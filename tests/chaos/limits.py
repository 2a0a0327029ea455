"""`limits`: two worker processes and one provider's `max_per_second`, over requests and polls together.

There is always more due than may be sent. The provider notes when each exchange arrives: in no second, wherever it
begins, may there be more than the limit and one, and of what the limit allows nearly all must be used.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from receiver.store.database import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.fake import counting, request_to
from tests.processes import declared, running_worker, wait_for

LIMIT = 20
TOLERATED = 1
LEAST_USED = 0.95
_LANE = "limited"
_MORE = f"""
max_per_second = {LIMIT}
max_concurrency = 16
poll = {{{{ first_after = {{first_after}}, max_interval = {{first_after}} }}}}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: when each exchange arrived after the first, in seconds, and how many of them were polls.

    At least the share `least_used` of the limit must have been used.
    """

    times: Sequence[float]
    polls: int
    seconds: float
    least_used: float = LEAST_USED

    @property
    def most(self) -> int:
        """How many arrived in the fullest second."""
        return most_in(self.times, 1.0)

    @property
    def used(self) -> float:
        """How much of the allowance was used."""
        return len(self.times) / (LIMIT * self.seconds)

    @property
    def violations(self) -> list[str]:
        """Tell everything that must not be."""
        found = []
        if self.most > LIMIT + TOLERATED:
            found.append(f"{self.most} arrived within a second")
        if self.used <= self.least_used:
            found.append(f"only {self.used:.1%} of the allowance was used")
        if not 0 < self.polls < len(self.times):
            found.append(f"{self.polls} of {len(self.times)} were polls; there must be both")
        return found

    def told(self) -> str:
        """Tell it in lines."""
        return (
            f"limit                  {LIMIT} a second, two workers\n"
            f"seconds                {self.seconds:g}\n"
            f"exchanges              {len(self.times)}, of them {self.polls} polls\n"
            f"most in any second     {self.most}\n"
            f"of the allowance used  {self.used:.1%}"
        )


def most_in(times: Sequence[float], span: float) -> int:
    """Give the most that lie in any half-open interval so long; `times` are in order."""
    return max((bisect_left(times, at + span) - index for index, at in enumerate(times)), default=0)


def run(dsn: str, directory: Path, *, seconds: float, least_used: float = LEAST_USED) -> Trial:
    """Let two workers send as much as they may for so long, on an empty, migrated database."""
    with counting(directory) as fake, closing(connect(dsn)) as connection:
        config = declared(_LANE, f"{fake.url}/{_LANE}", _MORE.format(first_after=min(5.0, seconds / 4)))
        with running_worker(directory, dsn, config, "one"), running_worker(directory, dsn, config, "two"):
            _submit(connection, round(LIMIT * seconds * 2))
            first = wait_for(fake.arrivals)[0].at
            time.sleep(max(first + seconds - time.monotonic(), 0.0))
        arrivals = [arrival for arrival in fake.arrivals() if arrival.at < first + seconds]
        polls = sum(arrival.method == "GET" for arrival in arrivals)
        return Trial([arrival.at - first for arrival in arrivals], polls, seconds, least_used)


def _submit(connection: Connection, number: int) -> None:
    """Queue requests whose jobs are never done, all at once."""
    submit_requests(connection, [request_to(_LANE, f"never-{each}") for each in range(number)])
