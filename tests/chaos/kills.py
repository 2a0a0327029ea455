"""`kills`: a worker that is killed at random points of the send path, many requests in hand, again and again.

With `hold` nothing may be sent a second time, whatever happens. With `retry` every request must end, and all sendings
of it must carry the same idempotency key. Nothing may be lost.

Leases and shares run out when their worker is dead, here at once: there is nobody left who could still send.
"""

import json
import os
import select
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from random import Random
from typing import Any, TextIO
from uuid import UUID

from receiver.store.database import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.fake import Arrival, counting, request_to
from tests.chaos.points import POINTS
from tests.processes import declared, environ_of, running

HOLD, RETRY = "hold", "retry"
ANY_TIME = "any time"
_LANES = (HOLD, RETRY)
_PER_KILL = 12
_LATEST = 0.4
_PATIENCE = 1.0
_ENDS_WITHIN = 60.0
_MORE = """
on_ambiguous = "{lane}"
max_concurrency = 8
retry = {{ attempts = 100, base = 0.01, max = 0.05 }}
poll = {{ first_after = 3600 }}
"""
_EXPIRE = (
    "UPDATE requests SET leased_until = now() - interval '1 s' WHERE status = 'sending'",
    "DELETE FROM concurrency_shares",
)
_OPEN = "SELECT count(*) FROM requests WHERE status IN ('queued', 'sending')"
_STORED = """
SELECT id, provider, payload ->> 'client_reference', status,
    (SELECT count(*) FROM attempts WHERE request_id = requests.id),
    (SELECT count(*) FROM attempts WHERE request_id = requests.id AND response_status IS NOT NULL),
    (SELECT count(*) FROM attempts WHERE request_id = requests.id AND finished_at IS NULL),
    (SELECT count(*) FROM jobs WHERE request_id = requests.id)
FROM requests
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What Postgres says of a request at the end; `answered` and `open` are of its attempts."""

    id: UUID
    lane: str
    name: str
    status: str
    attempts: int
    answered: int
    open: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: the kills by point, what was submitted, what the provider got, and what Postgres says."""

    kills: Mapping[str, int]
    submitted: Mapping[str, str]
    arrivals: Sequence[Arrival]
    stored: Sequence[Stored]
    seconds: float

    @property
    def violations(self) -> list[str]:
        """Tell everything that must not be."""
        return list(violations(self.submitted, self.arrivals, self.stored))

    def told(self) -> str:
        """Tell it as a table."""
        killed = [f"{point:24}{number:7}" for point, number in sorted(self.kills.items(), key=lambda kill: -kill[1])]
        lines = ["killed at                kills", *killed, f"{'all':24}{sum(self.kills.values()):7}", ""]
        lines.append("provider  requests   sends  sent again  unknown  accepted")
        for lane in _LANES:
            sends = Counter(arrival.name for arrival in self.arrivals if arrival.lane == lane)
            statuses = Counter(one.status for one in self.stored if one.lane == lane)
            again = sum(number > 1 for number in sends.values())
            lines.append(
                f"{lane:8}{statuses.total():10}{sends.total():8}{again:12}{statuses['unknown']:9}"
                f"{statuses['accepted']:10}"
            )
        return "\n".join([*lines, "", f"{self.seconds:.1f} s"])


def violations(submitted: Mapping[str, str], arrivals: Sequence[Arrival], stored: Sequence[Stored]) -> Iterator[str]:
    """Give everything that must not be.

    Args:
        submitted: the provider of each request, by the client's reference.
        arrivals: what the provider got.
        stored: what Postgres holds.
    """
    sends: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        sends[arrival.name].append(arrival)
    lost = submitted.keys() - {one.name for one in stored}
    yield from (f"{name} is lost" for name in sorted(lost))
    yield from (f"{name} was never submitted" for name in sorted(sends.keys() - submitted.keys()))
    keys = Counter(key for each in sends.values() for key in {arrival.key for arrival in each})
    yield from (f"several requests have the idempotency key {key}" for key, number in keys.items() if number > 1)
    for one in stored:
        yield from (f"{one.name}: {fault}" for fault in _faults(one, sends[one.name]))


def _faults(one: Stored, sends: Sequence[Arrival]) -> Iterator[str]:
    """Give what must not be of a single request."""
    if len(sends) > one.attempts:
        yield f"was sent {len(sends)} times by {one.attempts} attempts that were committed"
    if {arrival.key for arrival in sends} - {str(one.id)}:
        yield "was sent with another idempotency key than its own"
    if one.open:
        yield f"{one.open} attempts are still under way"
    match one.status:
        case "accepted":
            if not sends or not one.answered or one.jobs != 1:
                yield f"is accepted with {len(sends)} sends, {one.answered} answers and {one.jobs} jobs"
        case "unknown" if one.lane == HOLD:
            if one.answered == one.attempts:
                yield "is unknown, but each of its attempts has an answer"
        case _:
            yield f"did not end: it is {one.status}"
    if one.lane == HOLD and len(sends) > 1:
        yield f"was sent {len(sends)} times"


def run(dsn: str, directory: Path, *, count: int, seed: int) -> Trial:
    """Kill so many workers on an empty, migrated database, and let one work to the end."""
    began = time.monotonic()
    chance = Random(seed)
    with (
        counting(directory) as fake,
        closing(connect(dsn)) as connection,
        _launching(dsn, directory, fake.url) as launcher,
    ):
        submitted: dict[str, str] = {}
        kills: Counter[str] = Counter()
        for number in range(count):
            submitted |= _submit(connection, number)
            point = chance.choice([*POINTS, ANY_TIME])
            passage = chance.randint(1, POINTS[point][0]) if point in POINTS else 0
            kills[launcher.kill(point, passage, chance.uniform(0.0, _LATEST))] += 1
            _expire(connection)
        launcher.finish(connection)
        stored = [Stored(*row) for row in connection.execute(_STORED)]
        return Trial(kills, submitted, fake.arrivals(), stored, time.monotonic() - began)


def _expire(connection: Connection) -> None:
    """Let what a dead worker held run out."""
    for lease in _EXPIRE:
        connection.execute(lease)


def _submit(connection: Connection, number: int) -> dict[str, str]:
    """Queue requests to both providers; give their providers by name."""
    names = {f"{lane}-{number}-{each}": lane for each in range(_PER_KILL) for lane in _LANES}
    submit_requests(connection, [request_to(lane, name) for name, lane in names.items()])
    return names


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The process that forks workers, as we speak with it."""

    orders: TextIO
    responses: RawIOBase
    log: Path

    def kill(self, point: str, passage: int, after: float) -> str:
        """Have a worker run until it dies; give the point at which it did.

        One that does not come to its point in time is killed from outside, at any time.
        """
        worker = self._start(point, passage, after)
        if not select.select([self.responses], [], [], _PATIENCE)[0]:
            point = ANY_TIME
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        self._demand_end(-signal.SIGKILL)
        return point

    def finish(self, connection: Connection) -> None:
        """Have a worker run to the end of all requests, if any is open, and stop it as its supervisor would."""
        _expire(connection)
        if connection.execute(_OPEN).fetchall() == [(0,)]:
            return
        worker = self._start("none", 0, None)
        until = time.monotonic() + _ENDS_WITHIN
        try:
            while connection.execute(_OPEN).fetchall() != [(0,)] and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            os.kill(worker, signal.SIGTERM)
        self._demand_end(0)

    def _start(self, point: str, passage: int, after: float | None) -> int:
        order: dict[str, Any] = {"point": point, "passage": passage, "after": after}
        print(json.dumps(order), file=self.orders, flush=True)
        return self._answer()

    def _demand_end(self, expected: int) -> None:
        ended = self._answer()
        assert ended == expected, f"a worker ended with {ended}: {self._said()}"

    def _answer(self) -> int:
        line = self.responses.readline()
        assert line, f"the launcher ended: {self._said()}"
        return int(line)

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]


@contextmanager
def _launching(dsn: str, directory: Path, url: str) -> Iterator[_Launcher]:
    """Run the launcher until the context ends."""
    config = "".join(declared(lane, f"{url}/{lane}", _MORE.format(lane=lane)) for lane in _LANES)
    environ = environ_of(directory, dsn, config, "doomed") | {"LOG_LEVEL": "ERROR"}
    with ExitStack() as stack:
        theirs, ours = os.pipe()
        orders = stack.enter_context(os.fdopen(ours, "w"))
        back, told = os.pipe()
        responses = stack.enter_context(os.fdopen(back, "rb", buffering=0))
        log = directory / "doomed.log"
        arguments = ("-m", "tests.chaos.doomed_worker", str(theirs), str(told))
        stack.enter_context(running(arguments, log, environ, pass_fds=[theirs, told]))
        os.close(theirs)
        os.close(told)
        yield _Launcher(orders, responses, log)
