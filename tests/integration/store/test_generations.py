"""References that are used again: which job has which events, in any order and with concurrent transactions."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.access import OperatorAction
from receiver.domain.audit import Finding, FindingKind
from receiver.domain.filters import JobFilter
from receiver.domain.generations import derive_generation_job_id
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, Precedence
from receiver.domain.sending import RequestStatus
from receiver.followup.audit import Audit
from receiver.followup.prune import prune
from receiver.operations.jobs import resolve as resolve_job
from receiver.operations.requests import RequestResolution, resolve
from receiver.reconcile import reconcile, reconcile_responses
from receiver.store.connections import Connection, connect, translate_errors
from receiver.store.database import Database
from receiver.store.errors import StoreConflict
from receiver.store.jobs import Job, find_job, list_jobs, schedule_polls_now
from receiver.store.requests import NewRequest, find_requests, submit_requests
from tests.support.factories import NOON, event, provider, settings
from tests.support.processes import wait_for

REUSING = provider(reference_reuse_after=3_600.0)
FIRST_ID = event().job_id
SECOND_ID, THIRD_ID = (derive_generation_job_id(FIRST_ID, number) for number in (2, 3))
DAY_S = 86_400.0
OPERATOR = OperatorAction("ops", NOON, "seen in their console")


def call_back(status: JobStatus, at: float, *, superseding: bool = False) -> JobEvent:
    """Build the event of a callback; the same arguments give the same event."""
    origin = UUID(int=int(at * 1_000))
    return event(status=status, at=at, origin=origin, superseding=superseding)


@dataclass(frozen=True)
class ReuseScene:
    """Requests to a provider that uses references again."""

    connection: Connection
    database: Database

    def send(self, at: float) -> UUID:
        """Create an accepted request that was first sent `at` seconds after noon, and return its id."""
        request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0, "https://shop.example/webhook")
        submit_requests(self.connection, [request])
        self.connection.execute(
            "UPDATE requests SET status = 'accepted', due_at = NULL, attempts = 1 WHERE id = %s", [request.id]
        )
        self.connection.execute(
            """INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status)
            VALUES (gen_random_uuid(), %s, 1, %s, %s, 202)""",
            [request.id, NOON + timedelta(seconds=at), NOON + timedelta(seconds=at + 1)],
        )
        return request.id

    def respond(self, request_id: UUID, at: float, connection: Connection | None = None) -> JobEvent:
        """Record the response to a request, received `at` seconds after noon."""
        response = build_response(request_id, at)
        own_connection = connection or self.connection
        with own_connection.transaction():
            reconcile_responses(own_connection, [response])
        return response

    def start_first_job(self) -> UUID:
        """Create a request whose job succeeded a minute after noon."""
        request_id = self.send(0)
        self.respond(request_id, 1)
        reconcile(self.connection, [call_back(JobStatus.SUCCEEDED, 60)])
        return request_id

    def find_jobs(self) -> Mapping[UUID, Job]:
        jobs = list_jobs(self.connection, JobFilter(reference="ref-1", providers=["sandbox"])).items
        return {job.id: job for job in jobs}

    def list_states(self) -> list[tuple[JobStatus, bool, UUID | None]]:
        """Return the status, dispute and request of each job of the reference, in order of the generations."""
        jobs = self.find_jobs()
        ordered = [jobs[job_id] for job_id in (FIRST_ID, SECOND_ID, THIRD_ID) if job_id in jobs]
        assert len(ordered) == len(jobs)
        return [(job.status, job.disputed, job.request_id) for job in ordered]

    def has_conflict(self, request_id: UUID) -> bool:
        [request] = find_requests(self.connection, [request_id])
        return request.reference_conflict

    def audit(self, *, fix: bool = False) -> list[Finding]:
        reader = ConfiguredCallbackReader(settings(self.database.dsn, Path(), {"sandbox": REUSING}))
        return [finding for batch in Audit(self.database, reader, fix=fix).run() for finding in batch]

    def is_blocked(self) -> bool:
        """Return whether a transaction waits for another one."""
        query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return self.connection.execute(query).fetchone() is not None

    def count_generations(self) -> int:
        [(count,)] = self.connection.execute("SELECT count(*) FROM reference_generations").fetchall()
        return int(count)


def build_response(request_id: UUID, at: float) -> JobEvent:
    return event(
        status=JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        origin=request_id,
        at=at,
        request_id=request_id,
        notify=True,
        actor=REUSING,
    )


@pytest.fixture
def reuse(connection: Connection, database: Database) -> ReuseScene:
    return ReuseScene(connection, database)


def test_response_long_after_the_end_opens_a_job(reuse: ReuseScene) -> None:
    first = reuse.start_first_job()
    second = reuse.send(DAY_S)
    response = reuse.respond(second, DAY_S + 1)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.ACCEPTED, False, second)]
    assert not reuse.has_conflict(second)
    opened = reuse.find_jobs()[SECOND_ID]
    assert (opened.deadline_at, opened.reference) == (response.deadline_at, "ref-1")
    reconcile(reuse.connection, [call_back(JobStatus.FAILED, DAY_S + 60)])
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.FAILED, False, second)]
    assert reuse.audit() == []


def test_reference_is_used_a_third_time(reuse: ReuseScene) -> None:
    requests = [reuse.start_first_job()]
    for day in (1, 2):
        requests.append(reuse.send(day * DAY_S))
        reuse.respond(requests[-1], day * DAY_S + 1)
        reconcile(reuse.connection, [call_back(JobStatus.FAILED, day * DAY_S + 60)])
    assert reuse.list_states() == [
        (JobStatus.SUCCEEDED, False, requests[0]),
        (JobStatus.FAILED, False, requests[1]),
        (JobStatus.FAILED, False, requests[2]),
    ]
    assert reuse.audit() == []


def test_final_response_also_opens_a_job(reuse: ReuseScene) -> None:
    first = reuse.start_first_job()
    second = reuse.send(DAY_S)
    with reuse.connection.transaction():
        reconcile_responses(
            reuse.connection,
            [replace(build_response(second, DAY_S), status=JobStatus.FAILED, precedence=Precedence.FINAL)],
        )
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.FAILED, False, second)]


def test_unresolved_job_ends_at_its_deadline(reuse: ReuseScene) -> None:
    first = reuse.send(0)
    reuse.respond(first, 1)
    reconcile(reuse.connection, [event(status=JobStatus.UNRESOLVED, source=EventSource.DEADLINE, at=3_600)])
    second = reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    assert reuse.list_states() == [(JobStatus.UNRESOLVED, False, first), (JobStatus.ACCEPTED, False, second)]


def end_recently(reuse: ReuseScene) -> None:
    reconcile(reuse.connection, [call_back(JobStatus.SUCCEEDED, DAY_S - 3_600)])


def reverse_recently(reuse: ReuseScene) -> None:
    reconcile(reuse.connection, [call_back(JobStatus.SUCCEEDED, 60)])
    reconcile(reuse.connection, [call_back(JobStatus.FAILED, DAY_S - 60, superseding=True)])


def stay_open(reuse: ReuseScene) -> None:
    reconcile(reuse.connection, [call_back(JobStatus.IN_PROGRESS, 60)])


@pytest.mark.parametrize("act", [end_recently, reverse_recently, stay_open])
def test_reference_of_a_job_that_has_not_ended_is_a_conflict(
    reuse: ReuseScene, act: Callable[[ReuseScene], None]
) -> None:
    reuse.respond(reuse.send(0), 1)
    act(reuse)
    second = reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    assert len(reuse.find_jobs()) == 1
    assert reuse.has_conflict(second)
    assert reuse.audit() == []


def test_without_the_setting_a_reference_is_never_used_again(reuse: ReuseScene) -> None:
    reuse.start_first_job()
    second = reuse.send(DAY_S)
    with reuse.connection.transaction():
        reconcile_responses(reuse.connection, [replace(build_response(second, DAY_S), reuse_after=None)])
    assert len(reuse.find_jobs()) == 1
    assert reuse.has_conflict(second)


def test_request_that_is_sent_again_has_the_same_job(reuse: ReuseScene) -> None:
    """The provider recognises the repetition, or has acted on the attempt that had no response."""
    first = reuse.start_first_job()
    reuse.respond(first, DAY_S)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first)]


def test_conflict_resolved_with_the_same_reference_opens_a_job(reuse: ReuseScene) -> None:
    """The provider's setting was added after the conflict."""
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    with reuse.connection.transaction():
        reconcile_responses(reuse.connection, [replace(build_response(second, DAY_S), reuse_after=None)])
    [request] = find_requests(reuse.connection, [second])
    with reuse.connection.transaction():
        resolution = RequestResolution(RequestStatus.ACCEPTED, ["ref-1"])
        resolve(reuse.connection, request, REUSING, resolution, replace(OPERATOR, created_at=NOON))
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.ACCEPTED, False, second)]
    assert reuse.audit() == []


LATE_REPEAT = call_back(JobStatus.SUCCEEDED, 50)
LATE_REVERSAL = call_back(JobStatus.FAILED, 70, superseding=True)
NEW_PROGRESS = call_back(JobStatus.IN_PROGRESS, DAY_S + 0.5)
NEW_END = call_back(JobStatus.FAILED, DAY_S + 0.75)
NEW_REVERSAL = call_back(JobStatus.SUCCEEDED, DAY_S + 90, superseding=True)


@pytest.mark.parametrize("seed", range(2))
def test_order_of_callbacks_and_response_does_not_matter(reuse: ReuseScene, seed: int) -> None:
    """The callbacks about the new job may overtake the response that opens it."""
    callbacks = [LATE_REPEAT, LATE_REVERSAL, NEW_PROGRESS, NEW_END, NEW_REVERSAL]
    orders = [*permutations([*callbacks, None])]
    for order in random.Random(seed).sample(orders, 8):
        reuse.connection.execute("TRUNCATE jobs, requests, reference_generations CASCADE")
        first, second = reuse.start_first_job(), reuse.send(DAY_S)
        for callback in order:
            if callback is None:
                reuse.respond(second, DAY_S + 1)
            else:
                reconcile(reuse.connection, [callback])
        assert reuse.list_states() == [(JobStatus.FAILED, False, first), (JobStatus.SUCCEEDED, False, second)], order
        assert reuse.audit() == [], order


def test_callbacks_of_both_jobs_in_one_batch_are_divided(reuse: ReuseScene) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    reconcile(reuse.connection, [NEW_END, LATE_REVERSAL, NEW_PROGRESS, event("other")])
    assert reuse.list_states() == [(JobStatus.FAILED, False, first), (JobStatus.FAILED, False, second)]
    assert find_job(reuse.connection, event("other").job_id)


def test_unmatched_job_of_another_client_is_left_alone(reuse: ReuseScene) -> None:
    reconcile(reuse.connection, [call_back(JobStatus.SUCCEEDED, 60)])
    second = reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, None), (JobStatus.ACCEPTED, False, second)]


def test_callback_that_named_the_new_request_does_not_keep_the_old_job(reuse: ReuseScene) -> None:
    reconcile(reuse.connection, [call_back(JobStatus.SUCCEEDED, 60)])
    second = reuse.send(DAY_S)
    reconcile(reuse.connection, [replace(NEW_END, request_id=second)])
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, True, second)]
    reuse.respond(second, DAY_S + 1)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, None), (JobStatus.FAILED, False, second)]
    assert reuse.connection.execute("SELECT notify FROM jobs WHERE id = %s", [SECOND_ID]).fetchone() == (True,)
    assert reuse.audit() == []


def test_operator_resolves_the_job_that_is_shown(reuse: ReuseScene) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    job = reuse.find_jobs()[FIRST_ID]
    with reuse.connection.transaction():
        resolve_job(reuse.connection, job, JobStatus.FAILED, replace(OPERATOR, created_at=NOON + timedelta(days=2)))
    assert reuse.list_states() == [(JobStatus.FAILED, False, first), (JobStatus.ACCEPTED, False, second)]
    assert reuse.audit() == []


def test_only_the_newest_job_is_polled(reuse: ReuseScene) -> None:
    first = reuse.send(0)
    reuse.respond(first, 1)
    reconcile(reuse.connection, [event(status=JobStatus.UNRESOLVED, source=EventSource.DEADLINE, at=3_600)])
    reuse.respond(reuse.send(DAY_S), DAY_S + 1)
    reuse.connection.execute("UPDATE jobs SET poll_at = NULL")
    with reuse.connection.transaction():
        schedule_polls_now(reuse.connection, [FIRST_ID])
    assert reuse.connection.execute("SELECT id FROM jobs WHERE poll_at <= now()").fetchall() == [(SECOND_ID,)]


@contextmanager
def open_connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


def feed(connection: Connection, events: Sequence[JobEvent]) -> int:
    """Reconcile as the group commit does; return the number of conflicts before."""
    conflicts = 0
    while True:
        try:
            with translate_errors():
                reconcile(connection, events)
                return conflicts
        except StoreConflict:
            conflicts += 1


def test_callback_committed_while_a_job_is_opened_belongs_to_it(reuse: ReuseScene, dsn: str) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    with open_connection(dsn) as calling, open_connection(dsn) as opening, ThreadPoolExecutor(1) as pool:
        with calling.transaction():
            reconcile(calling, [NEW_END])
            responding = pool.submit(reuse.respond, second, DAY_S + 1, opening)
            wait_for(reuse.is_blocked)
        responding.result(10)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.FAILED, False, second)]
    assert reuse.audit() == []


def test_callback_that_waits_for_an_opening_is_stored_with_the_new_job(reuse: ReuseScene, dsn: str) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    with open_connection(dsn) as calling, open_connection(dsn) as opening, ThreadPoolExecutor(1) as pool:
        with opening.transaction():
            reconcile_responses(opening, [build_response(second, DAY_S + 1)])
            fed: Future[int] = pool.submit(feed, calling, [NEW_END, LATE_REVERSAL])
            wait_for(reuse.is_blocked)
        assert fed.result(10) == 1
    assert reuse.list_states() == [(JobStatus.FAILED, False, first), (JobStatus.FAILED, False, second)]
    assert reuse.audit() == []


def test_late_callback_of_the_old_job_does_not_wait_in_vain(reuse: ReuseScene, dsn: str) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    with open_connection(dsn) as calling, open_connection(dsn) as opening, ThreadPoolExecutor(1) as pool:
        with opening.transaction():
            reconcile_responses(opening, [build_response(second, DAY_S + 1)])
            fed: Future[int] = pool.submit(feed, calling, [LATE_REVERSAL])
            wait_for(reuse.is_blocked)
        assert fed.result(10) == 0
    assert reuse.list_states() == [(JobStatus.FAILED, False, first), (JobStatus.ACCEPTED, False, second)]


def test_one_of_two_concurrent_responses_opens_the_job(reuse: ReuseScene, dsn: str) -> None:
    first, second, third = reuse.start_first_job(), reuse.send(DAY_S), reuse.send(DAY_S + 5)
    with open_connection(dsn) as one, open_connection(dsn) as other, ThreadPoolExecutor(1) as pool:
        with one.transaction():
            reconcile_responses(one, [build_response(second, DAY_S + 1)])
            responding = pool.submit(reuse.respond, third, DAY_S + 6, other)
            wait_for(reuse.is_blocked)
        responding.result(10)
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.ACCEPTED, False, second)]
    assert (reuse.has_conflict(second), reuse.has_conflict(third)) == (False, True)
    assert reuse.audit() == []


def test_first_of_two_requests_in_one_batch_opens_the_job(reuse: ReuseScene) -> None:
    first, second, third = reuse.start_first_job(), reuse.send(DAY_S), reuse.send(DAY_S + 5)
    with reuse.connection.transaction():
        reconcile_responses(reuse.connection, [build_response(third, DAY_S + 6), build_response(second, DAY_S + 7)])
    states = reuse.list_states()
    assert states[0] == (JobStatus.SUCCEEDED, False, first)
    assert reuse.count_generations() == 1
    assert [reuse.has_conflict(request) for request in (second, third)].count(True) == 1
    assert reuse.audit() == []


@pytest.mark.parametrize("seed", range(2))
def test_concurrent_callbacks_and_openings_are_proven(reuse: ReuseScene, dsn: str, seed: int) -> None:
    """Three connections store callbacks of many references while a fourth one stores the responses that open jobs."""
    references = [f"ref-{number}" for number in range(20)]
    rng = random.Random(seed)
    requests = {reference: (reuse.send(0), reuse.send(DAY_S)) for reference in references}
    responses = {
        request: replace(build_named(reference, request), received_at=NOON + timedelta(seconds=at))
        for reference, pair in requests.items()
        for request, at in zip(pair, (1, DAY_S + 1), strict=True)
    }
    for first, _ in requests.values():
        with reuse.connection.transaction():
            reconcile_responses(reuse.connection, [responses[first]])
    reconcile(reuse.connection, [event(reference, at=60) for reference in references])
    callbacks = [
        event(reference, rng.choice([*JobStatus]), at=rng.choice([30, 90, DAY_S + 0.5, DAY_S + 70]))
        for reference in references
        for _ in range(12)
    ]
    barrier = Barrier(4)

    def feed_callbacks(number: int) -> None:
        own = random.Random(f"{seed} {number}").sample(callbacks, len(callbacks))
        with open_connection(dsn) as own_connection:
            barrier.wait()
            for start in range(0, len(own), 7):
                feed(own_connection, own[start : start + 7])

    def feed_responses() -> None:
        with open_connection(dsn) as own_connection:
            barrier.wait()
            for _, second in requests.values():
                while True:
                    try:
                        with translate_errors(), own_connection.transaction():
                            reconcile_responses(own_connection, [responses[second]])
                            break
                    except StoreConflict:
                        continue

    with ThreadPoolExecutor(4) as pool:
        running = [*(pool.submit(feed_callbacks, number) for number in range(3)), pool.submit(feed_responses)]
        for each in running:
            each.result(60)
    assert reuse.count_generations() == len(references)
    assert reuse.audit() == []


def build_named(reference: str, request_id: UUID) -> JobEvent:
    return event(
        reference,
        JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        origin=request_id,
        request_id=request_id,
        actor=REUSING,
    )


def test_generations_are_pruned_with_the_last_job(reuse: ReuseScene) -> None:
    reuse.start_first_job()
    second = reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    reuse.connection.execute("UPDATE requests SET notify_url = NULL")
    reuse.connection.execute("DELETE FROM notification_outbox")
    prune(reuse.database, -10 * 365 * DAY_S)
    assert (len(reuse.find_jobs()), reuse.count_generations()) == (1, 1)
    reconcile(reuse.connection, [NEW_END])
    reuse.connection.execute("DELETE FROM notification_outbox")
    prune(reuse.database, -10 * 365 * DAY_S)
    assert (len(reuse.find_jobs()), reuse.count_generations()) == (0, 0)


def test_callback_about_a_pruned_job_does_not_reach_the_job_before(reuse: ReuseScene) -> None:
    first, second = reuse.start_first_job(), reuse.send(DAY_S)
    reuse.respond(second, DAY_S + 1)
    reuse.connection.execute("DELETE FROM jobs WHERE id = %s", [SECOND_ID])
    reconcile(reuse.connection, [NEW_END])
    assert reuse.list_states() == [(JobStatus.SUCCEEDED, False, first), (JobStatus.FAILED, False, None)]


def test_audit_repairs_superseded_at(reuse: ReuseScene) -> None:
    reuse.start_first_job()
    reuse.respond(reuse.send(DAY_S), DAY_S + 1)
    reuse.connection.execute("UPDATE jobs SET superseded_at = NULL")
    [finding] = reuse.audit(fix=True)
    assert (finding.kind, finding.id, finding.fixed) == (FindingKind.SUPERSEDED_AT, FIRST_ID, True)
    assert reuse.audit() == []


def test_audit_finds_callbacks_of_another_generation(reuse: ReuseScene) -> None:
    reuse.start_first_job()
    reconcile(reuse.connection, [call_back(JobStatus.SUCCEEDED, DAY_S - 5)])
    reuse.respond(reuse.send(DAY_S), DAY_S + 1)
    reuse.connection.execute("UPDATE reference_generations SET opened_at = opened_at - interval '10 s'")
    reuse.connection.execute("UPDATE jobs SET superseded_at = superseded_at - interval '10 s'")
    [finding] = reuse.audit()
    assert (finding.kind, finding.id, finding.mendable) == (FindingKind.GENERATION, FIRST_ID, False)
