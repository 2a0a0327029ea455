"""Polls and deadlines of open jobs, with two concurrent workers."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import connect
from receiver.store.providers import pause_providers, resume_providers
from tests.support.factories import event, provider
from tests.support.processes import assert_ends_well, find_lock_waiters, running_worker, wait_for
from tests.support.provider import DROP, Provider, Received, Reply, accept_request, listening, state
from tests.support.scene import Scene

NEVER_S = 3_600.0
LATE_POLLS = "first_after = 3600"
QUICK_POLLS = "first_after = 0.1, max_interval = 0.2"


class Job(NamedTuple):
    """The stored state of a job, whether it is still polled, and its events: (source, provider status, job status)."""

    status: str
    disputed: bool
    polled: bool
    events: list[tuple[str, str | None, str | None]]


@pytest.fixture(scope="module")
def other_server() -> Iterator[Provider]:
    """Run a server at another origin."""
    with listening() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def workers(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    config = "".join(
        [
            scene.build_provider_toml("soon", f"poll = {{ {QUICK_POLLS} }}"),
            scene.build_provider_toml("far", f"poll = {{ {LATE_POLLS} }}"),
            scene.build_provider_toml("narrow", f"poll = {{ {QUICK_POLLS} }}\nmax_concurrency = 2"),
            scene.build_provider_toml("paused", f"poll = {{ {QUICK_POLLS} }}"),
            scene.build_provider_toml("giving-up", f"poll = {{ {QUICK_POLLS}, give_up_after = 0.8 }}"),
        ]
    )
    directory = tmp_path_factory.mktemp("workers")
    with (
        running_worker(directory, scene.dsn, config, "one") as one,
        running_worker(directory, scene.dsn, config, "two") as two,
    ):
        yield
        assert_ends_well(one)
        assert_ends_well(two)


def create_accepted_jobs(
    scene: Scene, via: str, *references: str, poll_in: float = NEVER_S, deadline_in: float = NEVER_S
) -> None:
    """Create accepted jobs as responses did a moment ago."""
    now = datetime.now(UTC)
    accepted_at = now - timedelta(seconds=0.1)
    events = [
        replace(
            event(
                reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, actor=provider(name=via), request_id=uuid4()
            ),
            received_at=accepted_at,
            poll_at=now + timedelta(seconds=poll_in),
            deadline_at=now + timedelta(seconds=deadline_in),
        )
        for reference in references
    ]
    reconcile(scene.connection, events)


def find_job(scene: Scene, via: str, reference: str) -> Job | None:
    job = derive_job_id(via, reference)
    row = scene.connection.execute(
        "SELECT status, disputed, poll_at IS NOT NULL FROM jobs WHERE id = %s", [job]
    ).fetchone()
    events = scene.connection.execute(
        "SELECT source, provider_status, status FROM events WHERE job_id = %s ORDER BY received_at, key", [job]
    ).fetchall()
    if row is None:
        return None
    status, disputed, polled = row
    return Job(status, disputed, polled, events)


def wait_for_status(scene: Scene, via: str, reference: str, status: str) -> Job:
    """Wait until a job has a status; return the job."""

    def find_job_with_status() -> Job | None:
        job = find_job(scene, via, reference)
        return job if job and job.status == status else None

    job = wait_for(find_job_with_status)
    assert job
    return job


ACCEPTED = ("response", None, "accepted")
SENT = ("poll", "SENT", "in_progress")
DELIVERED = ("poll", "DELIVERED", "succeeded")
UNRESOLVED = ("deadline", None, "unresolved")


def test_job_is_polled_until_its_status_is_final(scene: Scene, reference: str) -> None:
    scene.script(reference, state("SENT"), state("SENT"), state("SENT"), state("DELIVERED"))
    create_accepted_jobs(scene, "soon", reference, poll_in=0.0)
    job = wait_for_status(scene, "soon", reference, "succeeded")
    assert job == Job("succeeded", False, False, [ACCEPTED, SENT, DELIVERED])  # A repeated status creates no event.
    polls = scene.received(reference)
    assert {(poll.method, poll.path) for poll in polls} == {("GET", f"/soon/v1/messages/{reference}")}
    assert {poll.headers["authorization"] for poll in polls} == {"Bearer key"}
    time.sleep(0.5)
    assert len(scene.received(reference)) == 4


def test_first_poll_takes_place_after_first_after(scene: Scene) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, accept_request())
    scene.script(f"{name}-0", state("UNDELIVERED"))
    scene.submit("soon", name)
    assert wait_for_status(scene, "soon", f"{name}-0", "failed").events[-1] == ("poll", "UNDELIVERED", "failed")
    (sent,), (poll, *_) = scene.received(name), scene.received(f"{name}-0")
    assert poll.at - sent.at > 0.09


@pytest.mark.parametrize(("via", "seconds"), [("far", 1), ("soon", 2)])
def test_retry_after_of_the_202_delays_the_first_poll(scene: Scene, via: str, seconds: int) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, accept_request(retry_after=str(seconds)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit(via, name)
    wait_for_status(scene, via, f"{name}-0", "succeeded")
    (sent,), (poll, *_) = scene.received(name), scene.received(f"{name}-0")
    assert poll.at - sent.at > seconds - 0.1


def test_retry_after_of_a_poll_delays_the_next_poll(scene: Scene, reference: str) -> None:
    scene.script(reference, state("SENT", retry_after="1"), state("DELIVERED"))
    create_accepted_jobs(scene, "soon", reference, poll_in=0.0)
    wait_for_status(scene, "soon", reference, "succeeded")
    first, second = scene.received(reference)
    assert second.at - first.at > 0.9


@pytest.mark.parametrize("location", ["/status/{}?part=1", "{origin}/status/{}?part=1", "../../status/{}?part=1"])
def test_location_at_the_provider_is_polled(scene: Scene, location: str) -> None:
    name = f"c-{uuid4().hex}"
    location_header = location.format(f"{name}-0", origin=scene.provider.url)

    def reply_at_location(received: Received) -> Reply:
        is_location = received.path == f"/status/{name}-0?part=1"
        return Reply(200, f'{{"id": "{name}-0", "state": "DELIVERED"}}'.encode()) if is_location else Reply(404)

    scene.script(name, accept_request(location=location_header))
    scene.script(f"{name}-0?part=1", reply_at_location)
    scene.submit("soon", name)
    wait_for_status(scene, "soon", f"{name}-0", "succeeded")
    assert scene.received(f"{name}-0") == []


@pytest.mark.parametrize(
    "location", ["{other}/v1/{}", "//{netloc}/v1/{}", "{other}@{netloc}/{}", "http://[/{}", "\xe9/{}"]
)
def test_location_at_another_origin_is_not_polled(scene: Scene, other_server: Provider, location: str) -> None:
    name = f"c-{uuid4().hex}"
    netloc = other_server.url.removeprefix("http://")
    scene.script(name, accept_request(location=location.format(f"{name}-0", other=other_server.url, netloc=netloc)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit("soon", name)
    wait_for_status(scene, "soon", f"{name}-0", "succeeded")
    assert {poll.path for poll in scene.received(f"{name}-0")} == {f"/soon/v1/messages/{name}-0"}
    assert other_server.received == []


@pytest.mark.parametrize("location", ["/with space/{}", "{origin}//{}", "/{}\t"])
def test_malformed_location_is_ignored(scene: Scene, location: str) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, accept_request(location=location.format(f"{name}-0", origin=scene.provider.url)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit("soon", name)
    wait_for_status(scene, "soon", f"{name}-0", "succeeded")


def test_uninformative_responses_change_nothing_and_polling_continues(scene: Scene, reference: str) -> None:
    other_job = Reply(200, b'{"id": "another", "state": "DELIVERED"}')
    uninformative = [
        Reply(404),
        Reply(403),
        Reply(500),
        Reply(204),
        DROP,
        Reply(200, b"garbage"),
        Reply(200, b"[1]"),
        other_job,
    ]
    scene.script(reference, *uninformative, state("DELIVERED"))
    create_accepted_jobs(scene, "soon", reference, poll_in=0.0)
    job = wait_for_status(scene, "soon", reference, "succeeded")
    assert job.events == [ACCEPTED, DELIVERED]
    assert len(scene.received(reference)) == len(uninformative) + 1


def test_unmapped_status_is_recorded_and_polling_continues(scene: Scene, reference: str) -> None:
    scene.script(reference, state("PONDERING"), state("DELIVERED"))
    create_accepted_jobs(scene, "soon", reference, poll_in=0.0)
    job = wait_for_status(scene, "soon", reference, "succeeded")
    assert job.events == [ACCEPTED, ("poll", "PONDERING", None), DELIVERED]


def test_job_finished_by_a_callback_is_not_polled(scene: Scene, reference: str) -> None:
    create_accepted_jobs(scene, "soon", reference, poll_in=0.4)
    reconcile(scene.connection, [event(reference, actor=provider(name="soon"))])
    time.sleep(0.9)
    assert scene.received(reference) == []


def test_concurrent_polls_stay_within_max_concurrency(scene: Scene, reference: str) -> None:
    def reply_slowly(received: Received) -> Reply:
        time.sleep(0.05)
        return Reply(200, f'{{"id": "{received.name}", "state": "DELIVERED"}}'.encode())

    references = [f"{reference}-{number}" for number in range(30)]
    for job_reference in references:
        scene.script(job_reference, reply_slowly)
    create_accepted_jobs(scene, "narrow", *references, poll_in=0.0)
    for job_reference in references:
        wait_for_status(scene, "narrow", job_reference, "succeeded")
        assert len(scene.received(job_reference)) == 1
    assert scene.provider.most_at_once["narrow"] <= 4  # Two workers, two each.


def test_paused_provider_is_not_polled_until_resumed(scene: Scene, reference: str) -> None:
    pause_providers(scene.connection, ["paused"], "for the test")
    scene.script(reference, state("DELIVERED"))
    create_accepted_jobs(scene, "paused", reference, poll_in=0.0)
    time.sleep(0.7)
    assert scene.received(reference) == []
    resume_providers(scene.connection, ["paused"])
    wait_for_status(scene, "paused", reference, "succeeded")


def test_two_workers_record_a_passed_deadline_once(scene: Scene, reference: str) -> None:
    """There are more jobs than fit into one batch, and both workers are blocked until each has locked a batch."""
    references = [f"{reference}-{number}" for number in range(600)]
    create_accepted_jobs(scene, "far", *references, deadline_in=0.5)
    with closing(connect(scene.dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        wait_for(lambda: len(find_lock_waiters(blocker)) == 2)
    for job_reference in references:
        wait_for_status(scene, "far", job_reference, "unresolved")
    time.sleep(0.7)
    jobs = [find_job(scene, "far", job_reference) for job_reference in references]
    assert jobs == [Job("unresolved", False, True, [ACCEPTED, UNRESOLVED])] * len(references)
    details = scene.connection.execute(
        "SELECT DISTINCT detail FROM events JOIN jobs ON id = job_id WHERE source = 'deadline' AND reference LIKE %s",
        [f"{reference}-%"],
    ).fetchall()
    assert details == [("deadline passed",)]


def test_callback_after_the_deadline_decides_and_ends_polling(scene: Scene, reference: str) -> None:
    create_accepted_jobs(scene, "far", reference, deadline_in=0.0)
    wait_for_status(scene, "far", reference, "unresolved")
    late = replace(event(reference, actor=provider(name="far")), received_at=datetime.now(UTC))
    reconcile(scene.connection, [late])
    job = find_job(scene, "far", reference)
    assert job == Job("succeeded", False, False, [ACCEPTED, UNRESOLVED, ("callback", None, "succeeded")])


def test_poll_after_the_deadline_decides(scene: Scene, reference: str) -> None:
    scene.script(reference, state("DELIVERED"))
    create_accepted_jobs(scene, "soon", reference, deadline_in=0.0, poll_in=1.0)
    wait_for_status(scene, "soon", reference, "unresolved")
    job = wait_for_status(scene, "soon", reference, "succeeded")
    assert job == Job("succeeded", False, False, [ACCEPTED, UNRESOLVED, DELIVERED])


def test_final_status_before_the_deadline_stands(scene: Scene, reference: str) -> None:
    create_accepted_jobs(scene, "far", reference, deadline_in=0.3)
    reconcile(scene.connection, [event(reference, JobStatus.FAILED, actor=provider(name="far"))])
    time.sleep(1.0)
    job = find_job(scene, "far", reference)
    assert job
    assert (job.status, len(job.events)) == ("failed", 2)


def test_job_without_informative_polls_becomes_unresolved(scene: Scene, reference: str) -> None:
    scene.script(reference, Reply(404))
    create_accepted_jobs(scene, "giving-up", reference, poll_in=0.0)
    job = wait_for_status(scene, "giving-up", reference, "unresolved")
    assert job == Job("unresolved", False, False, [ACCEPTED, UNRESOLVED])
    (detail,) = scene.connection.execute(
        "SELECT detail FROM events WHERE job_id = %s AND source = 'deadline'", [derive_job_id("giving-up", reference)]
    ).fetchall()
    assert detail == ("gave up polling after 0.8 s; last: the provider responded with 404",)
    polls = len(scene.received(reference))
    assert polls > 2
    time.sleep(0.6)
    assert len(scene.received(reference)) == polls
    reconcile(scene.connection, [event(reference, JobStatus.FAILED, actor=provider(name="giving-up"))])
    assert wait_for_status(scene, "giving-up", reference, "failed").disputed is False
