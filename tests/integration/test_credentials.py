"""Credentials that a provider refuses: through real workers with wrong, right and put-back keys, alone and at once."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.domain.sending import PauseCause
from receiver.exchange.credentials import CredentialMonitor, record_refusals
from receiver.outbound import operations
from receiver.reconcile import reconcile
from receiver.store.actions import find_actions
from receiver.store.database import Connection, Database
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal, find_pauses, resume_provider
from receiver.store.requests import claim_requests
from tests.factories import event, provider
from tests.processes import Process, assert_ends_well, running_worker, wait_for
from tests.provider import Provider, Received, Reply, Script, listening, played, state, taken
from tests.scene import Scene, Sent, set_scene

SHOP = "shop"
REASON = "401: Authentication failed or the API key is missing. Check the provider's credentials."
CHANGED = ("receiver", "resume", "credentials changed")


@pytest.fixture
def scene(dsn: str) -> Iterator[Scene]:
    with listening() as running, set_scene(dsn, running) as opened:
        yield opened


@pytest.fixture
def names() -> list[str]:
    return [f"c-{uuid4().hex}" for _ in range(20)]


def only_for(key: str, script: Script) -> Script:
    """Answer 401 to everybody who has not this key."""

    def response(received: Received) -> Reply:
        return played(script, received) if received.headers["authorization"] == f"Bearer {key}" else Reply(401)

    return response


def working(scene: Scene, directory: Path, key: str, name: str = "worker") -> AbstractContextManager[Process]:
    """Run a worker that has a key."""
    more = "max_concurrency = 4\npoll = { first_after = 60, max_interval = 60 }"
    config = scene.declared(SHOP, more).replace('secret = "key"', f'secret = "{key}"')
    return running_worker(directory, scene.dsn, config, name)


def pause_of(connection: Connection) -> tuple[str, str] | None:
    """Give the cause and the reason of the one pause there is."""
    found = find_pauses(connection)
    assert len(found) <= 1
    return next(((str(pause.pause_cause), pause.pause_reason) for pause in found), None)


def actions(connection: Connection) -> list[tuple[str, str, str | None]]:
    return [(one.actor, one.action, one.reason) for one in find_actions(connection, SHOP)]


def keys_of(provider: Provider, name: str) -> list[str]:
    return [received.headers["authorization"].removeprefix("Bearer ") for received in provider.of(name)]


def test_a_refused_key_pauses_until_a_worker_starts_with_another_and_nothing_is_burnt(
    scene: Scene, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        scene.script(name, only_for("right", taken()))
    with working(scene, tmp_path, "wrong") as worker:
        requests = scene.submit(SHOP, *names)
        worker.wait_until(lambda: pause_of(scene.connection) is not None)
        wait_for(lambda: all(scene.look(request).status == "queued" for request in requests))
        assert worker.output.count("provider.paused") == 1
        assert "receiver provider resume shop" in worker.output
        assert_ends_well(worker)
    assert pause_of(scene.connection) == ("credentials", REASON)
    sent = sum(len(scene.received(name)) for name in names)
    with working(scene, tmp_path, "wrong", "again") as worker:
        worker.wait_until(lambda: "provider.still_paused" in worker.output)
        time.sleep(0.3)  # several rounds of the worker
        assert_ends_well(worker)
    assert sum(len(scene.received(name)) for name in names) == sent
    told = [scene.look(request) for request in requests]
    assert all(found in (Sent("queued", REASON, 0, {}), Sent("queued", None, 0, {})) for found in told)
    with working(scene, tmp_path, "right", "mended") as worker:
        assert {scene.settled(request).status for request in requests} == {"accepted"}
        assert {scene.look(request).failures for request in requests} == {1}  # the one that was taken
        worker.wait_until(lambda: "provider.resumed" in worker.output)
        assert_ends_well(worker)
    assert pause_of(scene.connection) is None
    assert actions(scene.connection) == [CHANGED]
    assert all(keys_of(scene.provider, name)[-1] == "right" for name in names)


def test_an_operators_pause_is_not_lifted_by_another_key(scene: Scene, tmp_path: Path, names: list[str]) -> None:
    name = names[0]
    scene.script(name, only_for("right", taken()))
    with working(scene, tmp_path, "wrong") as worker:
        (request,) = scene.submit(SHOP, name)
        worker.wait_until(lambda: pause_of(scene.connection) is not None)
    operations.pause(scene.connection, SHOP, "ops", "their outage")
    with working(scene, tmp_path, "right", "mended") as worker:
        worker.wait_until(lambda: "provider.resumed" in worker.output)
        time.sleep(0.3)  # several rounds of the worker
        assert scene.look(request).status == "queued"
        assert pause_of(scene.connection) == ("operator", "paused by ops: their outage")
        resume_provider(scene.connection, SHOP)
        assert scene.settled(request).status == "accepted"


def test_a_poll_that_is_answered_401_pauses_as_well(scene: Scene, tmp_path: Path, names: list[str]) -> None:
    name, reference = names[:2]
    scene.script(name, taken())
    scene.script(reference, only_for("right", state("DELIVERED")))
    now = datetime.now(UTC)
    actor = provider(name=SHOP)
    accepted = event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, actor=actor, request_id=uuid4())
    reconcile(scene.connection, [replace(accepted, received_at=now, poll_at=now, deadline_at=now.replace(year=2100))])
    with working(scene, tmp_path, "wrong") as worker:
        worker.wait_until(lambda: pause_of(scene.connection) is not None)
        assert pause_of(scene.connection) == ("credentials", REASON)
        (request,) = scene.submit(SHOP, name)
        time.sleep(0.3)  # several rounds of the worker
        assert (scene.look(request).status, scene.received(name)) == ("queued", [])
    scene.connection.execute("UPDATE jobs SET poll_at = now()")
    with working(scene, tmp_path, "right", "mended"):
        assert scene.settled(request).status == "accepted"
        wait_for(lambda: status_of(scene.connection, derive_job_id(SHOP, reference)) == "succeeded")
    assert keys_of(scene.provider, reference) == ["wrong", "right"]


def status_of(connection: Connection, job: UUID) -> str:
    return str(connection.execute("SELECT status FROM jobs WHERE id = %s", [job]).fetchall()[0][0])


def test_with_an_old_and_a_new_key_at_once_everything_is_sent_by_the_new_one(
    scene: Scene, tmp_path: Path, names: list[str]
) -> None:
    later = [f"{name}-later" for name in names]
    for name in (*names, *later):
        scene.script(name, only_for("new", taken()))
    with working(scene, tmp_path, "old", "old") as old, working(scene, tmp_path, "new", "new") as new:
        requests = scene.submit(SHOP, *names)
        assert {scene.settled(request)[::2] for request in requests} == {("accepted", 1)}
        until = time.monotonic() + 30.0
        while "provider.paused" not in old.output:  # until the old one was given something
            assert time.monotonic() < until, old.output
            names.append(f"c-{uuid4().hex}")
            scene.script(names[-1], only_for("new", taken()))
            requests += scene.submit(SHOP, names[-1])
            time.sleep(0.05)
        new.wait_until(lambda: "provider.resumed" in new.output)
        requests += scene.submit(SHOP, *later)
        assert {scene.settled(request)[::2] for request in requests} == {("accepted", 1)}
        time.sleep(1.2)  # another round of both watches
        assert_ends_well(old)
        assert_ends_well(new)
    assert (old.output + new.output).count("provider.paused") == 1
    assert actions(scene.connection) == [CHANGED]
    assert pause_of(scene.connection) is None
    assert all(keys_of(scene.provider, name).count("new") == 1 for name in names)
    assert all(keys_of(scene.provider, name) == ["new"] for name in later)


@pytest.fixture
def watches(database: Database) -> dict[str, CredentialMonitor]:
    """What three workers with different keys look with."""
    return {key: watch_of(database, key) for key in ("one", "two", "three")}


def having(key: str) -> ProviderCapacity:
    return ProviderCapacity(SHOP, 1, provider(name=SHOP, api_key=key).fingerprint)


def watch_of(database: Database, key: str) -> CredentialMonitor:
    return CredentialMonitor(database, {SHOP: provider(name=SHOP, api_key=key)})


def refused(connection: Connection, key: str) -> None:
    record_refusals(connection, [CredentialRefusal(SHOP, having(key).credentials, REASON)])


def can_send(scene: Scene, key: str) -> bool:
    """Whether a worker with this key is given a request."""
    scene.submit(SHOP, f"c-{uuid4().hex}")
    return bool(claim_requests(scene.connection, [having(key)], 60.0))


def test_a_late_refusal_of_the_old_key_does_not_pause_again(
    scene: Scene, watches: dict[str, CredentialMonitor]
) -> None:
    refused(scene.connection, "one")
    watches["two"].step()
    refused(scene.connection, "one")
    assert pause_of(scene.connection) is None
    assert (can_send(scene, "one"), can_send(scene, "two")) == (False, True)


def test_two_refused_keys_do_not_resume_each_other(scene: Scene, watches: dict[str, CredentialMonitor]) -> None:
    watches["one"].step()
    refused(scene.connection, "one")
    watches["two"].step()
    refused(scene.connection, "two")
    for _ in range(3):
        for key in ("one", "two"):
            let_time_pass(scene.connection)
            watches[key].step()
    assert pause_of(scene.connection) == (PauseCause.CREDENTIALS, REASON)
    assert (can_send(scene, "one"), can_send(scene, "two")) == (False, False)
    watches["three"].step()
    assert pause_of(scene.connection) is None
    assert can_send(scene, "three")


def let_time_pass(connection: Connection) -> None:
    connection.execute("UPDATE refused_credentials SET lifted_at = lifted_at - interval '1 hour'")


def test_a_key_that_is_put_back_is_tried_again(scene: Scene, database: Database) -> None:
    one, two = watch_of(database, "one"), watch_of(database, "two")
    one.step()
    refused(scene.connection, "one")
    two.step()
    one.step()
    assert not can_send(scene, "one")
    watch_of(database, "one").step()
    assert can_send(scene, "one")


def test_a_key_is_tried_again_long_after_others_took_over_as_they_may_be_gone(
    scene: Scene, watches: dict[str, CredentialMonitor]
) -> None:
    watches["one"].step()
    refused(scene.connection, "one")
    watches["two"].step()
    let_time_pass(scene.connection)
    watches["one"].step()
    assert can_send(scene, "one")


def test_an_operator_resumes_whatever_key_was_refused(scene: Scene) -> None:
    for key in ("one", "two"):
        refused(scene.connection, key)
    operations.resume(scene.connection, SHOP, "ops", None)
    assert pause_of(scene.connection) is None
    assert can_send(scene, "one")
    assert can_send(scene, "two")
