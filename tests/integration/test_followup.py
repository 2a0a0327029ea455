"""Following silent jobs up, by two workers at once: polls, deadlines, and what ends both."""

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
from receiver.store.database import connect
from receiver.store.providers import pause_provider, resume_provider
from tests.factories import event, provider
from tests.processes import assert_ends_well, running_worker, wait_for, waiting_for_locks
from tests.provider import DROP, Provider, Received, Reply, listening, state, taken
from tests.scene import Scene

NEVER = 3_600.0
FAR = "first_after = 3600"
SOON = "first_after = 0.1, max_interval = 0.2"


class Job(NamedTuple):
    """What is stored of a job: events as (source, provider's status, our status), and whether it is still polled."""

    status: str
    disputed: bool
    polled: bool
    events: list[tuple[str, str | None, str | None]]


@pytest.fixture(scope="module")
def stranger() -> Iterator[Provider]:
    """A server at another origin."""
    with listening() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def workers(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    config = "".join(
        [
            scene.declared("soon", f"poll = {{ {SOON} }}"),
            scene.declared("far", f"poll = {{ {FAR} }}"),
            scene.declared("narrow", f"poll = {{ {SOON} }}\nmax_concurrency = 2"),
            scene.declared("paused", f"poll = {{ {SOON} }}"),
            scene.declared("giving-up", f"poll = {{ {SOON}, give_up_after = 0.8 }}"),
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


@pytest.fixture
def reference() -> str:
    return f"ref-{uuid4().hex}"


def accept(scene: Scene, via: str, *references: str, poll_in: float = NEVER, deadline_in: float = NEVER) -> None:
    """Let answers have created jobs a moment ago."""
    now = datetime.now(UTC)
    answered_at = now - timedelta(seconds=0.1)
    events = [
        replace(
            event(
                reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, actor=provider(name=via), request_id=uuid4()
            ),
            received_at=answered_at,
            poll_at=now + timedelta(seconds=poll_in),
            deadline_at=now + timedelta(seconds=deadline_in),
        )
        for reference in references
    ]
    reconcile(scene.connection, events)


def look(scene: Scene, via: str, reference: str) -> Job | None:
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


def becomes(scene: Scene, via: str, reference: str, status: str) -> Job:
    """Wait until a job has the status."""

    def found() -> Job | None:
        job = look(scene, via, reference)
        return job if job and job.status == status else None

    job = wait_for(found)
    assert job
    return job


ACCEPTED = ("response", None, "accepted")
SENT = ("poll", "SENT", "in_progress")
DELIVERED = ("poll", "DELIVERED", "succeeded")
UNRESOLVED = ("deadline", None, "unresolved")


def test_a_silent_job_is_asked_about_until_its_final_word_which_is_recorded(scene: Scene, reference: str) -> None:
    scene.script(reference, state("SENT"), state("SENT"), state("SENT"), state("DELIVERED"))
    accept(scene, "soon", reference, poll_in=0.0)
    job = becomes(scene, "soon", reference, "succeeded")
    assert job == Job("succeeded", False, False, [ACCEPTED, SENT, DELIVERED])  # the same word again is no news
    polls = scene.received(reference)
    assert {(poll.method, poll.path) for poll in polls} == {("GET", f"/soon/v1/messages/{reference}")}
    assert {poll.headers["authorization"] for poll in polls} == {"Bearer key"}
    time.sleep(0.5)
    assert len(scene.received(reference)) == 4


def test_a_job_is_first_asked_about_after_the_time_that_is_configured(scene: Scene) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, taken())
    scene.script(f"{name}-0", state("UNDELIVERED"))
    scene.submit("soon", name)
    assert becomes(scene, "soon", f"{name}-0", "failed").events[-1] == ("poll", "UNDELIVERED", "failed")
    (sent,), (poll, *_) = scene.received(name), scene.received(f"{name}-0")
    assert poll.at - sent.at > 0.09


@pytest.mark.parametrize(("via", "seconds"), [("far", 1), ("soon", 2)])
def test_retry_after_of_the_202_says_when_to_ask_first(scene: Scene, via: str, seconds: int) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, taken(retry_after=str(seconds)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit(via, name)
    becomes(scene, via, f"{name}-0", "succeeded")
    (sent,), (poll, *_) = scene.received(name), scene.received(f"{name}-0")
    assert poll.at - sent.at > seconds - 0.1


def test_retry_after_of_a_poll_says_when_to_ask_again(scene: Scene, reference: str) -> None:
    scene.script(reference, state("SENT", retry_after="1"), state("DELIVERED"))
    accept(scene, "soon", reference, poll_in=0.0)
    becomes(scene, "soon", reference, "succeeded")
    first, second = scene.received(reference)
    assert second.at - first.at > 0.9


@pytest.mark.parametrize("location", ["/status/{}?part=1", "{origin}/status/{}?part=1", "../../status/{}?part=1"])
def test_a_location_at_the_provider_is_where_the_job_is_asked_about(scene: Scene, location: str) -> None:
    name = f"c-{uuid4().hex}"
    place = location.format(f"{name}-0", origin=scene.provider.url)

    def at_its_place(received: Received) -> Reply:
        found = received.path == f"/status/{name}-0?part=1"
        return Reply(200, f'{{"id": "{name}-0", "state": "DELIVERED"}}'.encode()) if found else Reply(404)

    scene.script(name, taken(location=place))
    scene.script(f"{name}-0?part=1", at_its_place)
    scene.submit("soon", name)
    becomes(scene, "soon", f"{name}-0", "succeeded")
    assert scene.received(f"{name}-0") == []


@pytest.mark.parametrize(
    "location", ["{other}/v1/{}", "//{netloc}/v1/{}", "{other}@{netloc}/{}", "http://[/{}", "\xe9/{}"]
)
def test_a_location_elsewhere_is_not_followed(scene: Scene, stranger: Provider, location: str) -> None:
    name = f"c-{uuid4().hex}"
    netloc = stranger.url.removeprefix("http://")
    scene.script(name, taken(location=location.format(f"{name}-0", other=stranger.url, netloc=netloc)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit("soon", name)
    becomes(scene, "soon", f"{name}-0", "succeeded")
    assert {poll.path for poll in scene.received(f"{name}-0")} == {f"/soon/v1/messages/{name}-0"}
    assert stranger.received == []


@pytest.mark.parametrize("location", ["/with space/{}", "{origin}//{}", "/{}\t"])
def test_a_location_that_cannot_be_asked_for_is_passed_over(scene: Scene, location: str) -> None:
    name = f"c-{uuid4().hex}"
    scene.script(name, taken(location=location.format(f"{name}-0", origin=scene.provider.url)))
    scene.script(f"{name}-0", state("DELIVERED"))
    scene.submit("soon", name)
    becomes(scene, "soon", f"{name}-0", "succeeded")


def test_what_says_nothing_about_the_job_changes_nothing_and_it_is_asked_about_again(
    scene: Scene, reference: str
) -> None:
    about_another = Reply(200, b'{"id": "another", "state": "DELIVERED"}')
    nothings = [
        Reply(404),
        Reply(403),
        Reply(500),
        Reply(204),
        DROP,
        Reply(200, b"garbage"),
        Reply(200, b"[1]"),
        about_another,
    ]
    scene.script(reference, *nothings, state("DELIVERED"))
    accept(scene, "soon", reference, poll_in=0.0)
    job = becomes(scene, "soon", reference, "succeeded")
    assert job.events == [ACCEPTED, DELIVERED]
    assert len(scene.received(reference)) == len(nothings) + 1


def test_a_word_that_is_not_in_the_map_is_kept_and_it_is_asked_about_again(scene: Scene, reference: str) -> None:
    scene.script(reference, state("PONDERING"), state("DELIVERED"))
    accept(scene, "soon", reference, poll_in=0.0)
    job = becomes(scene, "soon", reference, "succeeded")
    assert job.events == [ACCEPTED, ("poll", "PONDERING", None), DELIVERED]


def test_a_job_that_a_callback_finished_is_not_asked_about(scene: Scene, reference: str) -> None:
    accept(scene, "soon", reference, poll_in=0.4)
    reconcile(scene.connection, [event(reference, actor=provider(name="soon"))])
    time.sleep(0.9)
    assert scene.received(reference) == []


def test_no_more_is_asked_at_once_than_a_worker_may(scene: Scene, reference: str) -> None:
    def take_a_while(received: Received) -> Reply:
        time.sleep(0.05)
        return Reply(200, f'{{"id": "{received.name}", "state": "DELIVERED"}}'.encode())

    references = [f"{reference}-{number}" for number in range(30)]
    for each in references:
        scene.script(each, take_a_while)
    accept(scene, "narrow", *references, poll_in=0.0)
    for each in references:
        becomes(scene, "narrow", each, "succeeded")
        assert len(scene.received(each)) == 1
    assert scene.provider.most_at_once["narrow"] <= 4  # two workers, two each


def test_a_paused_provider_is_not_asked_until_it_is_resumed(scene: Scene, reference: str) -> None:
    pause_provider(scene.connection, "paused", "for the test")
    scene.script(reference, state("DELIVERED"))
    accept(scene, "paused", reference, poll_in=0.0)
    time.sleep(0.7)
    assert scene.received(reference) == []
    resume_provider(scene.connection, "paused")
    becomes(scene, "paused", reference, "succeeded")


def test_a_deadline_that_passes_is_told_exactly_once_by_two_workers(scene: Scene, reference: str) -> None:
    """More jobs than a worker takes at once, and both are held up until each has taken its share."""
    references = [f"{reference}-{number}" for number in range(600)]
    accept(scene, "far", *references, deadline_in=0.5)
    with closing(connect(scene.dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        wait_for(lambda: len(waiting_for_locks(blocker)) == 2)
    for each in references:
        becomes(scene, "far", each, "unresolved")
    time.sleep(0.7)
    jobs = [look(scene, "far", each) for each in references]
    assert jobs == [Job("unresolved", False, True, [ACCEPTED, UNRESOLVED])] * len(references)
    details = scene.connection.execute(
        "SELECT DISTINCT detail FROM events JOIN jobs ON id = job_id WHERE source = 'deadline' AND reference LIKE %s",
        [f"{reference}-%"],
    ).fetchall()
    assert details == [("deadline passed",)]


def test_a_callback_after_the_deadline_decides_and_ends_the_asking(scene: Scene, reference: str) -> None:
    accept(scene, "far", reference, deadline_in=0.0)
    becomes(scene, "far", reference, "unresolved")
    late = replace(event(reference, actor=provider(name="far")), received_at=datetime.now(UTC))
    reconcile(scene.connection, [late])
    job = look(scene, "far", reference)
    assert job == Job("succeeded", False, False, [ACCEPTED, UNRESOLVED, ("callback", None, "succeeded")])


def test_a_job_is_still_asked_about_after_its_deadline_and_the_answer_decides(scene: Scene, reference: str) -> None:
    scene.script(reference, state("DELIVERED"))
    accept(scene, "soon", reference, deadline_in=0.0, poll_in=1.0)
    becomes(scene, "soon", reference, "unresolved")
    job = becomes(scene, "soon", reference, "succeeded")
    assert job == Job("succeeded", False, False, [ACCEPTED, UNRESOLVED, DELIVERED])


def test_a_final_word_before_the_deadline_is_not_taken_back(scene: Scene, reference: str) -> None:
    accept(scene, "far", reference, deadline_in=0.3)
    reconcile(scene.connection, [event(reference, JobStatus.FAILED, actor=provider(name="far"))])
    time.sleep(1.0)
    job = look(scene, "far", reference)
    assert job
    assert (job.status, len(job.events)) == ("failed", 2)


def test_a_job_without_an_answer_to_any_poll_is_given_up_and_is_unresolved(scene: Scene, reference: str) -> None:
    scene.script(reference, Reply(404))
    accept(scene, "giving-up", reference, poll_in=0.0)
    job = becomes(scene, "giving-up", reference, "unresolved")
    assert job == Job("unresolved", False, False, [ACCEPTED, UNRESOLVED])
    (detail,) = scene.connection.execute(
        "SELECT detail FROM events WHERE job_id = %s AND source = 'deadline'", [derive_job_id("giving-up", reference)]
    ).fetchall()
    assert detail == ("polling gave up after 0.8 s",)
    polls = len(scene.received(reference))
    assert polls > 2
    time.sleep(0.6)
    assert len(scene.received(reference)) == polls
    reconcile(scene.connection, [event(reference, JobStatus.FAILED, actor=provider(name="giving-up"))])
    assert becomes(scene, "giving-up", reference, "failed").disputed is False
