"""What must hold after a run: Postgres agrees with the ledger, and everything has ended."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.chaos.store.ledger import FINAL_STATES, Callback, Ledger, Send
from tests.chaos.store.postgres import PostgresServer

_ENDED = {"accepted", "unknown"}
"""The final statuses of requests to a provider that accepts everything."""
_FIND_REQUESTS = """
SELECT id, payload ->> 'client_reference', status, detail, (SELECT count(*) FROM jobs WHERE request_id = requests.id)
FROM requests
"""
_FIND_JOBS = """
SELECT reference, jobs.status, disputed,
    (SELECT count(*) FROM events WHERE job_id = jobs.id AND source = 'callback'), payload ->> 'client_reference'
FROM jobs LEFT JOIN requests ON requests.id = jobs.request_id
"""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request in Postgres, with its number of jobs."""

    id: UUID
    name: str
    status: str
    detail: str | None
    jobs: int


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job in Postgres, with the number of its events that came by callback, and the name of its request, if any."""

    reference: str
    status: str
    disputed: bool
    callbacks: int
    request: str | None = None


def read_stored(server: PostgresServer) -> tuple[list[StoredRequest], list[StoredJob]]:
    """Return all requests and jobs."""
    requests = [StoredRequest(*row) for row in server.query(_FIND_REQUESTS)]
    return requests, [StoredJob(*row) for row in server.query(_FIND_JOBS)]


def find_differences(ledger: Ledger, requests: Sequence[StoredRequest], jobs: Sequence[StoredJob]) -> Iterator[str]:
    """Yield each difference between the ledger and Postgres as one line."""
    stored = {request.id: request for request in requests}
    for name, request_id in ledger.submitted.items():
        if request_id not in stored:
            yield f"{name} was acknowledged and is lost"
    for name, number in Counter(request.name for request in requests).items():
        if number > 1:
            yield f"{name} was submitted once and is stored {number} times"
    sends = Counter(send.name for send in ledger.sends)
    for request in requests:
        yield from (f"{request.name} {difference}" for difference in _check_request(request, sends[request.name]))
    keys = {str(request_id) for request_id in stored}
    for send in ledger.sends:
        if send.key not in keys:
            yield f"{send.name} was sent and is not stored"
    yield from _check_jobs(ledger, {request.name for request in requests if request.jobs}, jobs)


def _check_request(request: StoredRequest, sends: int) -> Iterator[str]:
    if sends > 1:
        yield f"was sent {sends} times"
    if request.status not in _ENDED:
        yield f"did not end: its status is {request.status} ({request.detail})"
    elif request.status == "unknown" and not request.detail:
        yield "is unknown without a reason"
    elif request.status == "accepted" and (sends, request.jobs) != (1, 1):
        yield f"is accepted with {sends} sends and {request.jobs} jobs"


def _check_jobs(ledger: Ledger, accepted: set[str], jobs: Sequence[StoredJob]) -> Iterator[str]:
    by_reference: dict[str, list[StoredJob]] = defaultdict(list)
    for job in jobs:
        by_reference[job.reference].append(job)
    sends: dict[str, list[Send]] = defaultdict(list)
    for send in ledger.sends:
        sends[send.reference].append(send)
    for reference in ledger.callbacks:
        stored = by_reference.pop(reference, [])
        names = [send.name for send in sends[reference]]
        callbacks = ledger.find_job_callbacks(reference)
        if len(stored) > len(callbacks):
            yield f"{reference} names {len(callbacks)} jobs, and {len(stored)} are stored"
        if len(names) <= 1:
            yield from _check_job(reference, stored[0] if stored else None, callbacks[0])
        elif accepted >= set(names):  # otherwise it is not known which job the callbacks are about
            by_request = {job.request: job for job in stored}
            for name, job_callbacks in zip(names, callbacks, strict=True):
                yield from _check_job(f"{reference} of {name}", by_request.get(name), job_callbacks)
    for reference in by_reference:
        yield f"the job {reference} is unknown to the provider"


def _check_job(name: str, job: StoredJob | None, callbacks: Sequence[Callback]) -> Iterator[str]:
    if job is None:
        if any(callback.acknowledged for callback in callbacks):
            yield f"the job {name} is lost: a callback about it was acknowledged"
        return
    final = callbacks[-1]
    if job.status != FINAL_STATES[final.state] and (final.acknowledged or job.status in FINAL_STATES.values()):
        yield f"the job {name} is {job.status}, but its last callback was {final.state}"
    if job.disputed:
        yield f"the job {name} is disputed"
    if job.callbacks > len(callbacks):
        yield f"the job {name} has {job.callbacks} events of {len(callbacks)} callbacks"
