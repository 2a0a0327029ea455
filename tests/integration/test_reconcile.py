"""`reconcile` stores the fold of the events, independent of their order, batches and connections."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    JobState,
    JobStatus,
    Precedence,
    deduplicate_events,
    derive_job_id,
    fold_events,
)
from receiver.domain.paging import PageRequest
from receiver.reconcile import ReferenceConflict, reconcile, reconcile_responses
from receiver.store.callbacks import StoredCallback, Verdict, find_callback
from receiver.store.connections import Connection, connect, translate_errors
from receiver.store.errors import StoreConflict
from receiver.store.events import find_newest_events
from receiver.store.requests import NewRequest, submit_requests
from tests.support.factories import NOON, event, provider

STATES = """
    SELECT id, status, precedence, decided_at, decided_position, decided_by, accepted_at, disputed,
        finished_at
    FROM jobs
"""


def read_states(connection: Connection) -> dict[UUID, JobState]:
    """Read the jobs as states, and check their finish times."""
    states = {}
    for job_id, status, precedence, *decision, finished_at in connection.execute(STATES):
        state = JobState(JobStatus(status), Precedence(precedence), *decision)
        assert state.finished_at == finished_at
        states[job_id] = state
    return states


ORIGINS = [UUID(int=number) for number in range(1, 9)]
job_events = st.builds(
    # An operator's event has one receive time: its key is random, so that no other copy of the event exists.
    lambda reference, status, source, origin, index, at, superseding: event(
        reference,
        status,
        source=source,
        origin=origin,
        index=index,
        at=origin.int % 5 if source is EventSource.OPERATOR else at,
        superseding=superseding,
    ),
    reference=st.sampled_from(["a", "b", "c"]),
    status=st.sampled_from([*JobStatus, None]),
    source=st.sampled_from([EventSource.RESPONSE, EventSource.CALLBACK, EventSource.POLL, EventSource.OPERATOR]),
    origin=st.sampled_from(ORIGINS),
    index=st.integers(0, 2),
    at=st.integers(0, 5),
    superseding=st.booleans(),
)


batches = st.lists(job_events, max_size=30)


@given(events=batches, shuffle=st.randoms(use_true_random=False), repeats=st.integers(1, 3))
def test_fold_ignores_order_and_duplicates(events: list[JobEvent], shuffle: random.Random, repeats: int) -> None:
    repeated = events * repeats
    shuffle.shuffle(repeated)
    assert fold_events(repeated) == fold_events(events) == fold_events(deduplicate_events(events))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=batches, shuffle=st.randoms(use_true_random=False), size=st.integers(1, 10))
def test_reconcile_stores_the_fold_in_any_order_and_split(
    dsn: str, connection: Connection, events: list[JobEvent], shuffle: random.Random, size: int
) -> None:
    connection.execute("TRUNCATE jobs CASCADE")
    first, second = events[:], events[:]
    shuffle.shuffle(first)
    shuffle.shuffle(second)

    def feed_events(order: list[JobEvent]) -> None:
        with closing(connect(dsn)) as own_connection:
            for start in range(0, len(order), size):
                feed_batch(own_connection, order[start : start + size])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(feed_events, [first, second]))
    assert read_states(connection) == fold_events(events)


def feed_batch(connection: Connection, batch: Sequence[JobEvent]) -> None:
    """Reconcile as the group commit does: repeat after a conflict."""
    while True:
        try:
            with translate_errors():
                reconcile(connection, batch)
        except StoreConflict:
            continue
        return


def test_opposite_job_order_never_deadlocks(dsn: str) -> None:
    references = [f"ref-{number}" for number in range(40)]
    origin = uuid4()

    def feed_events(order: list[str]) -> None:
        with closing(connect(dsn)) as own_connection:
            for _ in range(30):
                new_events = [event(reference, JobStatus.IN_PROGRESS) for reference in order]
                shared_events = [event(reference, origin=origin) for reference in order]
                reconcile(own_connection, new_events + shared_events)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(feed_events, [references, references[::-1]]))


def test_callback_before_response_creates_the_same_job(connection: Connection) -> None:
    request = uuid4()
    reconcile(connection, [event(at=1)])
    assert connection.execute("SELECT request_id IS NULL FROM jobs").fetchall() == [(True,)]
    conflicts = reconcile(
        connection, [event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, at=2)]
    )
    rows = connection.execute("SELECT id, request_id, status FROM jobs").fetchall()
    assert rows == [(derive_job_id("sandbox", "ref-1"), request, "succeeded")]
    assert conflicts == []


def test_duplicate_reference_stays_with_first_request(connection: Connection) -> None:
    owner, claimant = uuid4(), uuid4()
    for request in (owner, claimant):
        conflicts = reconcile(
            connection, [event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request)]
        )
    assert conflicts == [
        ReferenceConflict(
            job_id=derive_job_id("sandbox", "ref-1"),
            provider="sandbox",
            reference="ref-1",
            owner_id=owner,
            other_request_id=claimant,
            deadline_at=NOON + timedelta(seconds=provider().deadline),
        )
    ]
    assert connection.execute("SELECT request_id FROM jobs").fetchall() == [(owner,)]
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (2,)


def test_duplicate_reference_in_one_batch_stays_with_earliest(connection: Connection) -> None:
    owner, claimant, third = uuid4(), uuid4(), uuid4()
    responses = [
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, at=at)
        for request, at in ((claimant, 2), (owner, 1), (third, 3))
    ]
    conflicts = reconcile(connection, responses)
    assert {(conflict.owner_id, conflict.other_request_id) for conflict in conflicts} == {
        (owner, claimant),
        (owner, third),
    }
    assert connection.execute("SELECT request_id FROM jobs").fetchall() == [(owner,)]


def test_final_status_ends_polling_and_first_event_sets_due_times(connection: Connection) -> None:
    reconcile(connection, [event(status=JobStatus.ACCEPTED, at=0, poll_after=7.0)])
    reconcile(connection, [event(status=JobStatus.IN_PROGRESS, at=100)])
    due = connection.execute("SELECT poll_at, deadline_at FROM jobs").fetchone()
    assert due == (NOON + timedelta(seconds=7), NOON + timedelta(seconds=provider().deadline))
    reconcile(connection, [event(status=JobStatus.FAILED, at=200)])
    assert connection.execute("SELECT poll_at FROM jobs").fetchall() == [(None,)]


def test_late_and_repeated_events_do_not_write_the_job(connection: Connection) -> None:
    origin = uuid4()
    reconcile(connection, [event(origin=origin, at=5)])
    before = connection.execute("SELECT xmin FROM jobs").fetchall()
    reconcile(connection, [event(origin=origin, at=9), event(status=JobStatus.IN_PROGRESS, at=10)])
    assert connection.execute("SELECT xmin FROM jobs").fetchall() == before


@pytest.mark.parametrize(
    ("events", "status", "disputed"),
    [
        ([(JobStatus.SUCCEEDED, 1, False), (JobStatus.FAILED, 2, False)], "succeeded", True),
        ([(JobStatus.SUCCEEDED, 1, False), (JobStatus.FAILED, 2, True)], "failed", False),
        ([(JobStatus.UNRESOLVED, 1, False), (JobStatus.SUCCEEDED, 2, False)], "succeeded", False),
        ([(JobStatus.SUCCEEDED, 1, False), (JobStatus.IN_PROGRESS, 2, False)], "succeeded", False),
    ],
)
def test_precedence_decides_and_contradiction_disputes(
    connection: Connection, events: list[tuple[JobStatus, float, bool]], status: str, disputed: bool
) -> None:
    for job_status, at, superseding in reversed(events):
        reconcile(connection, [event(status=job_status, at=at, superseding=superseding)])
    assert connection.execute("SELECT status, disputed FROM jobs").fetchall() == [(status, disputed)]


def test_every_column_of_callbacks_events_and_jobs_is_stored(connection: Connection) -> None:
    callbacks = [build_callback(UUID(int=number)) for number in (2, 1)]
    request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0)
    submit_requests(connection, [request])
    new_event = replace(
        event(status=JobStatus.IN_PROGRESS, origin=callbacks[0].id, index=3, request_id=request.id),
        callback_id=callbacks[0].id,
        location="/v1/renders/ref-1",
        provider_status="WAITING",
        code="W1",
        detail="in the queue",
        occurred_at=NOON - timedelta(seconds=5),
        actor="ops",
        notify=True,
        notify_events=("job", "job_change"),
    )
    reconcile(connection, [new_event], callbacks)
    assert [find_callback(connection, callback.id) for callback in callbacks] == callbacks
    found = find_newest_events(connection, [new_event.job_id], PageRequest())[new_event.job_id].events
    # The other fields are those of the job, and are stored there.
    assert found == [replace(new_event, poll_at=None, location=None, notify=False, notify_events=None)]
    (row,) = connection.execute("SELECT location, notify, notify_events FROM jobs").fetchall()
    assert row == ("/v1/renders/ref-1", True, ["job", "job_change"])


def build_callback(identity: UUID) -> StoredCallback:
    return StoredCallback(
        id=uuid4(),
        identity=identity,
        provider="sandbox",
        received_at=NOON,
        verdict=Verdict.UNMAPPED,
        method="PUT",
        target="/callbacks/sandbox?a=1",
        headers={"content-type": "application/json"},
        body=b"\xff{}",
        errors={"items.0.at": ["Not a valid datetime."]},
        verified=False,
        secret_fingerprint="0123abcd",
        caller_address="192.0.2.7",
    )


def test_request_without_a_job_of_its_own_is_not_matched(connection: Connection) -> None:
    owner, other = uuid4(), uuid4()

    def respond(request_id: UUID | None, *references: str) -> set[UUID]:
        source = EventSource.RESPONSE if request_id else EventSource.CALLBACK
        events = [
            event(reference, JobStatus.ACCEPTED, source=source, request_id=request_id) for reference in references
        ]
        with connection.transaction():
            return reconcile_responses(connection, events)

    assert respond(None, "ref-1") == set()
    assert respond(owner, "ref-1") == {owner}
    with capture_logs() as logs:
        assert respond(other, "ref-1") == set()
    job_id = str(derive_job_id("sandbox", "ref-1"))
    assert logs == [
        {"event": "reference_conflict.detected", "log_level": "error", "job": job_id, "request": str(other)}
    ]
    assert respond(other, "ref-1", "ref-2") == {other}
