"""`silence`: thousands of silent jobs of one provider are due at once and must not affect another provider.

The jobs are polled at their provider's limit, some of them twice. Meanwhile the other provider is sent a request every
100 ms, which must arrive within a second. The worker's memory must not grow with the number of due jobs.
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
from receiver.store.connections import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.counting_provider import CountingProvider, build_request, run_counting_provider
from tests.chaos.limits import compute_max_busiest, count_busiest
from tests.support import factories
from tests.support.processes import Process, build_provider_toml, running_worker

CONCURRENCY = 16
MAX_DELAY_S = 1.0
MAX_MEMORY_MIB = 150.0
MIN_USED = 0.9
_SILENT, _OTHER = "silent", "other"
_SUBMIT_INTERVAL_S = 0.1
_POLLED_TWICE_EVERY = 10
_MAX_SLOWDOWN = 3.0
_BATCH_SIZE = 1_000
_COUNT_OPEN = "SELECT count(*) FROM jobs WHERE provider = %s AND finished_at IS NULL"


@dataclass(frozen=True, slots=True)
class SilenceTrial:
    """The result of a trial.

    Args:
        limit: `max_per_second` of the silent provider.
        jobs: how many jobs were due at once.
        open_jobs: how many of them have no final status at the end.
        polls: when each poll arrived, in seconds and in order.
        delays: the seconds from submission to arrival of each request to the other provider, infinite if it is missing.
        memory: the worker's peak memory in MiB.
        min_used: the share of the limit that must be used.
    """

    limit: int
    jobs: int
    open_jobs: int
    polls: Sequence[float]
    delays: Sequence[float]
    memory: float
    min_used: float = MIN_USED

    @property
    def rate(self) -> float:
        """Polls per second until the last job was polled for the first time."""
        first_polls = self.polls[: self.jobs]
        return (len(first_polls) - 1) / (first_polls[-1] - first_polls[0]) if len(first_polls) > 1 else 0.0

    @property
    def violations(self) -> list[str]:
        """Each violation as one line."""
        busiest, max_delay = count_busiest(self.polls, 1.0), max(self.delays, default=float("inf"))
        violations = []
        if self.open_jobs:
            violations.append(f"{self.open_jobs} jobs have no final status")
        if busiest > compute_max_busiest(self.limit):
            violations.append(f"{busiest} polls arrived within a second")
        if self.rate <= self.min_used * self.limit:
            violations.append(f"only {self.rate:.1f} polls per second")
        if max_delay >= MAX_DELAY_S:
            violations.append(f"a request to the other provider was delayed by {max_delay:.2f} s")
        if self.memory >= MAX_MEMORY_MIB:
            violations.append(f"the worker used {self.memory:.0f} MiB")
        return violations

    def summary(self) -> str:
        """Return the result as text for people."""
        return (
            f"silent jobs                     {self.jobs}, limit {self.limit} per second\n"
            f"polls                           {len(self.polls)}, {self.rate:.1f} per second\n"
            f"polls in the busiest second     {count_busiest(self.polls, 1.0)}\n"
            f"requests to the other provider  {len(self.delays)}\n"
            f"their longest delay             {max(self.delays, default=0.0):.3f} s\n"
            f"worker's peak memory            {self.memory:.0f} MiB"
        )


def run(dsn: str, directory: Path, *, jobs: int, limit: int, min_used: float = MIN_USED) -> SilenceTrial:
    """Poll so many jobs that are due at once on an empty, migrated database, until all have a final status."""
    with run_counting_provider(directory) as provider, closing(connect(dsn)) as connection:
        _create_silent_jobs(connection, jobs)
        settings = f"max_concurrency = {CONCURRENCY}\npoll = {{ first_after = 1, max_interval = 1 }}\n"
        config = [
            build_provider_toml(_SILENT, f"{provider.url}/{_SILENT}", f"{settings}max_per_second = {limit}\n"),
            build_provider_toml(_OTHER, f"{provider.url}/{_OTHER}", settings),
        ]
        with running_worker(directory, dsn, "".join(config)) as worker:
            submitted = dict(_submit_to_other(connection, jobs / limit * _MAX_SLOWDOWN))
            time.sleep(MAX_DELAY_S)
            memory = _read_peak_memory(worker)
        ((open_jobs,),) = connection.execute(_COUNT_OPEN, [_SILENT]).fetchall()
        trial = _build_trial(provider, submitted, limit=limit, jobs=jobs, open_jobs=open_jobs, memory=memory)
        return replace(trial, min_used=min_used)


def _build_trial(
    provider: CountingProvider, submitted: Mapping[str, float], *, limit: int, jobs: int, open_jobs: int, memory: float
) -> SilenceTrial:
    arrivals = provider.find_arrivals()
    arrived_at = {arrival.name: arrival.at for arrival in arrivals if arrival.provider == _OTHER}
    return SilenceTrial(
        limit=limit,
        jobs=jobs,
        open_jobs=open_jobs,
        polls=[arrival.at for arrival in arrivals if arrival.provider == _SILENT],
        delays=[arrived_at.get(name, float("inf")) - submitted_at for name, submitted_at in submitted.items()],
        memory=memory,
    )


def _create_silent_jobs(connection: Connection, jobs: int) -> None:
    """Create jobs from responses, due to be polled now."""
    provider, now = factories.provider(name=_SILENT), datetime.now(UTC)
    for start in range(0, jobs, _BATCH_SIZE):
        numbers = range(start, min(start + _BATCH_SIZE, jobs))
        names = [f"{'slow' if number % _POLLED_TWICE_EVERY == 0 else 'soon'}-{number}" for number in numbers]
        reports = [StatusReport(name, JobStatus.ACCEPTED) for name in names]
        origin, received_at = uuid4(), now - timedelta(seconds=1)
        events = [
            provider.build_event(report, EventSource.RESPONSE, origin, received_at, index=index, poll_after=0.0)
            for index, report in enumerate(reports)
        ]
        reconcile(connection, events)


def _submit_to_other(connection: Connection, timeout: float) -> Iterator[tuple[str, float]]:
    """Submit requests until no silent job is open or the timeout in seconds has passed.

    Yields:
        Each request's name and when it was submitted.
    """
    started_at = time.monotonic()
    for number in count():
        name = f"other-{number}"
        submitted_at = time.monotonic()
        submit_requests(connection, [build_request(_OTHER, name)])
        yield name, submitted_at
        is_finished = connection.execute(_COUNT_OPEN, [_SILENT]).fetchall() == [(0,)]
        if is_finished or submitted_at > started_at + timeout:
            return
        time.sleep(max(started_at + (number + 1) * _SUBMIT_INTERVAL_S - time.monotonic(), 0.0))


def _read_peak_memory(worker: Process) -> float:
    """Return the most memory that a process has used, in MiB."""
    status = Path(f"/proc/{worker.popen.pid}/status").read_text()
    (peak_kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak_kib) / 1_024
