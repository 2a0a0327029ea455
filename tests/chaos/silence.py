"""`silence`: thousands of silent jobs of one provider come due at once, and another provider is to notice nothing.

They are polled at their provider's limit, some of them twice; meanwhile the other provider gets a request every 100 ms,
which must arrive there within a second. The worker must not grow with what is due.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.reconcile import reconcile
from receiver.store.database import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.fake import Fake, counting, request_to
from tests.chaos.limits import most_in
from tests.factories import provider
from tests.processes import Process, declared, running_worker

CONCURRENCY = 16
TOLERATED = 1
LONGEST_DELAY = 1.0
MOST_MEMORY = 150.0
LEAST_USED = 0.9
_SILENT, _OTHER = "silent", "other"
_EVERY = 0.1
_ASKED_TWICE = 10
_SLOWEST = 3.0
_AT_ONCE = 1_000
_LEFT = "SELECT count(*) FROM jobs WHERE provider = %s AND finished_at IS NULL"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Args:
        limit: `max_per_second` of the provider that is silent.
        jobs: how many came due at once.
        left: how many of them have no final word at the end.
        polls: when each poll arrived, in order.
        delays: of the other provider's requests, the seconds from being submitted to arriving; infinite if one did not.
        memory: the worker's peak, in MiB.
        least_used: the share of the limit that must have been used.
    """

    limit: int
    jobs: int
    left: int
    polls: Sequence[float]
    delays: Sequence[float]
    memory: float
    least_used: float = LEAST_USED

    @property
    def rate(self) -> float:
        """How many polls arrived in a second, as long as some job was still to be asked for the first time."""
        busy = self.polls[: self.jobs]
        return (len(busy) - 1) / (busy[-1] - busy[0]) if len(busy) > 1 else 0.0

    @property
    def violations(self) -> list[str]:
        """Tell everything that must not be."""
        most, longest = most_in(self.polls, 1.0), max(self.delays, default=float("inf"))
        found = []
        if self.left:
            found.append(f"{self.left} jobs were not asked about to their end")
        if most > self.limit + TOLERATED:
            found.append(f"{most} polls arrived within a second")
        if self.rate <= self.least_used * self.limit:
            found.append(f"only {self.rate:.1f} polls a second")
        if longest >= LONGEST_DELAY:
            found.append(f"a request to the other provider was delayed by {longest:.2f} s")
        if self.memory >= MOST_MEMORY:
            found.append(f"the worker took {self.memory:.0f} MiB")
        return found

    def told(self) -> str:
        """Tell it in lines."""
        return (
            f"silent jobs                  {self.jobs}, limit {self.limit} a second\n"
            f"polls                        {len(self.polls)}, {self.rate:.1f} a second\n"
            f"most polls in any second     {most_in(self.polls, 1.0)}\n"
            f"requests to the other        {len(self.delays)}\n"
            f"longest delay of these       {max(self.delays, default=0.0):.3f} s\n"
            f"worker's memory at its peak  {self.memory:.0f} MiB"
        )


def run(dsn: str, directory: Path, *, jobs: int, limit: int, least_used: float = LEAST_USED) -> Trial:
    """Let so many jobs come due at once on an empty, migrated database, until all have their final word."""
    with counting(directory) as fake, closing(connect(dsn)) as connection:
        _fall_silent(connection, jobs)
        more = f"max_concurrency = {CONCURRENCY}\npoll = {{ first_after = 1, max_interval = 1 }}\n"
        config = [
            declared(_SILENT, f"{fake.url}/{_SILENT}", f"{more}max_per_second = {limit}\n"),
            declared(_OTHER, f"{fake.url}/{_OTHER}", more),
        ]
        with running_worker(directory, dsn, "".join(config)) as worker:
            submitted = dict(_submitting(connection, jobs / limit * _SLOWEST))
            time.sleep(LONGEST_DELAY)
            memory = _peak_of(worker)
        ((left,),) = connection.execute(_LEFT, [_SILENT]).fetchall()
        trial = _trial(fake, submitted, limit=limit, jobs=jobs, left=left, memory=memory)
        return replace(trial, least_used=least_used)


def _trial(fake: Fake, submitted: Mapping[str, float], *, limit: int, jobs: int, left: int, memory: float) -> Trial:
    arrivals = fake.arrivals()
    arrived = {arrival.name: arrival.at for arrival in arrivals if arrival.lane == _OTHER}
    return Trial(
        limit=limit,
        jobs=jobs,
        left=left,
        polls=[arrival.at for arrival in arrivals if arrival.lane == _SILENT],
        delays=[arrived.get(name, float("inf")) - at for name, at in submitted.items()],
        memory=memory,
    )


def _fall_silent(connection: Connection, jobs: int) -> None:
    """Let answers have created jobs that are due to be asked about now."""
    actor, now = provider(name=_SILENT), datetime.now(UTC)
    for begin in range(0, jobs, _AT_ONCE):
        numbers = range(begin, min(begin + _AT_ONCE, jobs))
        names = [f"{'slow' if number % _ASKED_TWICE == 0 else 'soon'}-{number}" for number in numbers]
        reports = [StatusReport(name, JobStatus.ACCEPTED) for name in names]
        origin = uuid4()
        events = [
            actor.event(report, EventSource.RESPONSE, origin, now - timedelta(seconds=1), index=index, poll_after=0.0)
            for index, report in enumerate(reports)
        ]
        reconcile(connection, events)


def _submitting(connection: Connection, longest: float) -> Iterator[tuple[str, float]]:
    """Submit to the other provider until no job is silent any more; give each name and when it was submitted."""
    begun = time.monotonic()
    for number in count():
        name = f"other-{number}"
        at = time.monotonic()
        submit_requests(connection, [request_to(_OTHER, name)])
        yield name, at
        if connection.execute(_LEFT, [_SILENT]).fetchall() == [(0,)] or at > begun + longest:
            return
        time.sleep(max(begun + (number + 1) * _EVERY - time.monotonic(), 0.0))


def _peak_of(worker: Process) -> float:
    """Give the most memory that a process has taken, in MiB."""
    told = Path(f"/proc/{worker.popen.pid}/status").read_text()
    (peak,) = (line.split()[1] for line in told.splitlines() if line.startswith("VmHWM:"))
    return int(peak) / 1_024
