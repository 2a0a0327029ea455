"""Refused credentials, with real workers: wrong, right and restored keys, alone and side by side."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.domain.responses import STATUS_RULES
from receiver.domain.sending import PauseCause
from receiver.exchange.credentials import CredentialMonitor, record_refusals
from receiver.operations import providers as operations
from receiver.providers.base import Provider as AnyProvider
from receiver.reconcile import reconcile
from receiver.store.actions import find_actions
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal, find_pauses, resume_providers
from receiver.store.requests import claim_requests
from tests.support.factories import event, provider
from tests.support.processes import Process, assert_ends_well, running_worker, wait_for
from tests.support.provider import Provider, Received, Reply, Script, accept_request, listening, play, state
from tests.support.scene import Scene, Sent, open_scene

SHOP = "shop"
REASON = "401: Authentication failed or the API key is missing. Check the provider's credentials."
CHANGED = ("receiver", "resume", "credentials changed")


@pytest.fixture
def own_scene(dsn: str) -> Iterator[Scene]:
    with listening() as running, open_scene(dsn, running) as opened:
        yield opened


@pytest.fixture
def names() -> list[str]:
    return [f"c-{uuid4().hex}" for _ in range(20)]


def reply_to_key(key: str, script: Script, refusal: int = 401) -> Script:
    """Reply by the script to requests with this key, and refuse all others."""

    def response(received: Received) -> Reply:
        return play(script, received) if received.headers["authorization"] == f"Bearer {key}" else Reply(refusal)

    return response


def running_shop_worker(
    scene: Scene, directory: Path, key: str, name: str = "worker"
) -> AbstractContextManager[Process]:
    """Run a worker with this key."""
    more = "max_concurrency = 4\npoll = { first_after = 60, max_interval = 60 }"
    config = scene.build_provider_toml(SHOP, more).replace('secret = "key"', f'secret = "{key}"')
    return running_worker(directory, scene.dsn, config, name)


def find_pause(connection: Connection) -> tuple[str, str] | None:
    """Return the cause and the reason of the only pause; None without a pause."""
    pauses = find_pauses(connection)
    assert len(pauses) <= 1
    return next(((str(pause.pause_cause), pause.pause_reason) for pause in pauses), None)


def list_actions(connection: Connection) -> list[tuple[str, str, str | None]]:
    return [(action.actor, action.action, action.reason) for action in find_actions(connection, SHOP)]


def list_keys(provider: Provider, name: str) -> list[str]:
    return [received.headers["authorization"].removeprefix("Bearer ") for received in provider.find_received(name)]


@pytest.mark.slow
def test_refused_key_pauses_until_worker_with_other_key_starts(
    own_scene: Scene, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        own_scene.script(name, reply_to_key("right", accept_request()))
    with running_shop_worker(own_scene, tmp_path, "wrong") as worker:
        requests = own_scene.submit(SHOP, *names)
        worker.wait_until(lambda: find_pause(own_scene.connection) is not None)
        wait_for(lambda: all(own_scene.look(request).status == "queued" for request in requests))
        assert worker.output.count("provider.paused") == 1
        assert "receiver provider resume shop" in worker.output
        assert_ends_well(worker)
    assert find_pause(own_scene.connection) == ("credentials", REASON)
    sends = sum(len(own_scene.received(name)) for name in names)
    with running_shop_worker(own_scene, tmp_path, "wrong", "again") as worker:
        worker.wait_until(lambda: "provider.pause_continued" in worker.output)
        time.sleep(0.3)  # several rounds of the worker
        assert_ends_well(worker)
    assert sum(len(own_scene.received(name)) for name in names) == sends
    sent_requests = [own_scene.look(request) for request in requests]
    assert all(sent in (Sent("queued", REASON, 0, {}), Sent("queued", None, 0, {})) for sent in sent_requests)
    with running_shop_worker(own_scene, tmp_path, "right", "corrected") as worker:
        assert {own_scene.wait_until_settled(request).status for request in requests} == {"accepted"}
        assert {own_scene.look(request).failures for request in requests} == {1}  # the accepted attempt
        worker.wait_until(lambda: "provider.resumed" in worker.output)
        assert_ends_well(worker)
    assert find_pause(own_scene.connection) is None
    assert list_actions(own_scene.connection) == [CHANGED]
    assert all(list_keys(own_scene.provider, name)[-1] == "right" for name in names)


@pytest.mark.slow
def test_operator_pause_is_not_lifted_by_another_key(own_scene: Scene, tmp_path: Path, names: list[str]) -> None:
    name = names[0]
    own_scene.script(name, reply_to_key("right", accept_request()))
    with running_shop_worker(own_scene, tmp_path, "wrong") as worker:
        (request,) = own_scene.submit(SHOP, name)
        worker.wait_until(lambda: find_pause(own_scene.connection) is not None)
    operations.pause(own_scene.connection, SHOP, "ops", "their outage")
    with running_shop_worker(own_scene, tmp_path, "right", "corrected") as worker:
        lifted = "SELECT FROM refused_credentials WHERE lifted_at IS NOT NULL"
        worker.wait_until(lambda: own_scene.connection.execute(lifted).fetchone() is not None)
        time.sleep(0.3)  # several rounds of the worker
        assert "provider.resumed" not in worker.output
        assert own_scene.look(request).status == "queued"
        assert find_pause(own_scene.connection) == ("operator", "paused by ops: their outage")
        resume_providers(own_scene.connection, [SHOP])
        assert own_scene.wait_until_settled(request).status == "accepted"


@pytest.mark.parametrize("status", [401, pytest.param(402, marks=pytest.mark.slow)])
def test_refused_poll_pauses_provider(own_scene: Scene, tmp_path: Path, names: list[str], status: int) -> None:
    name, reference = names[:2]
    own_scene.script(name, accept_request())
    own_scene.script(reference, reply_to_key("right", state("DELIVERED"), status))
    now = datetime.now(UTC)
    actor = provider(name=SHOP)
    accepted = event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, actor=actor, request_id=uuid4())
    reconcile(
        own_scene.connection, [replace(accepted, received_at=now, poll_at=now, deadline_at=now.replace(year=2100))]
    )
    with running_shop_worker(own_scene, tmp_path, "wrong") as worker:
        worker.wait_until(lambda: find_pause(own_scene.connection) is not None)
        assert find_pause(own_scene.connection) == ("credentials", f"{status}: {STATUS_RULES[status].advice}")
        (request,) = own_scene.submit(SHOP, name)
        time.sleep(0.3)  # several rounds of the worker
        assert (own_scene.look(request).status, own_scene.received(name)) == ("queued", [])
    own_scene.connection.execute("UPDATE jobs SET poll_at = now()")
    with running_shop_worker(own_scene, tmp_path, "right", "corrected"):
        assert own_scene.wait_until_settled(request).status == "accepted"
        wait_for(lambda: find_job_status(own_scene.connection, derive_job_id(SHOP, reference)) == "succeeded")
    assert list_keys(own_scene.provider, reference) == ["wrong", "right"]


def find_job_status(connection: Connection, job: UUID) -> str:
    return str(connection.execute("SELECT status FROM jobs WHERE id = %s", [job]).fetchall()[0][0])


@pytest.mark.slow
def test_old_and_new_key_side_by_side_send_by_new_key(own_scene: Scene, tmp_path: Path, names: list[str]) -> None:
    later = [f"{name}-later" for name in names]
    for name in (*names, *later):
        own_scene.script(name, reply_to_key("new", accept_request()))
    with (
        running_shop_worker(own_scene, tmp_path, "old", "old") as old,
        running_shop_worker(own_scene, tmp_path, "new", "new") as new,
    ):
        requests = own_scene.submit(SHOP, *names)
        assert {own_scene.wait_until_settled(request)[::2] for request in requests} == {("accepted", 1)}
        until = time.monotonic() + 30.0
        while "provider.paused" not in old.output:  # until the old worker has claimed a request
            assert time.monotonic() < until, old.output
            names.append(f"c-{uuid4().hex}")
            own_scene.script(names[-1], reply_to_key("new", accept_request()))
            requests += own_scene.submit(SHOP, names[-1])
            time.sleep(0.05)
        new.wait_until(lambda: "provider.resumed" in new.output)
        requests += own_scene.submit(SHOP, *later)
        assert {own_scene.wait_until_settled(request)[::2] for request in requests} == {("accepted", 1)}
        time.sleep(1.2)  # another round of both monitors
        assert_ends_well(old)
        assert_ends_well(new)
    assert (old.output + new.output).count("provider.paused") == 1
    assert list_actions(own_scene.connection) == [CHANGED]
    assert find_pause(own_scene.connection) is None
    assert all(list_keys(own_scene.provider, name).count("new") == 1 for name in names)
    assert all(list_keys(own_scene.provider, name) == ["new"] for name in later)


@pytest.fixture
def monitors(database: Database) -> dict[str, CredentialMonitor]:
    """The monitors of three workers with different keys."""
    return {key: build_monitor(database, key) for key in ("first", "second", "third")}


def build_capacity(key: str) -> ProviderCapacity:
    return ProviderCapacity(SHOP, 1, provider(name=SHOP, api_key=key).fingerprint)


def build_monitor(database: Database, key: str) -> CredentialMonitor:
    return CredentialMonitor(database, {SHOP: provider(name=SHOP, api_key=key)})


def refuse(connection: Connection, key: str) -> None:
    record_refusals(connection, [CredentialRefusal(SHOP, build_capacity(key).credentials, REASON)])


def can_send(scene: Scene, key: str) -> bool:
    """Whether a worker with this key can claim a request."""
    scene.submit(SHOP, f"c-{uuid4().hex}")
    return bool(claim_requests(scene.connection, [build_capacity(key)], {SHOP: 60.0}))


def test_late_refusal_of_old_key_does_not_pause_again(own_scene: Scene, monitors: dict[str, CredentialMonitor]) -> None:
    refuse(own_scene.connection, "first")
    monitors["second"].step()
    refuse(own_scene.connection, "first")
    assert find_pause(own_scene.connection) is None
    assert (can_send(own_scene, "first"), can_send(own_scene, "second")) == (False, True)


def test_refused_keys_do_not_resume_each_other(own_scene: Scene, monitors: dict[str, CredentialMonitor]) -> None:
    monitors["first"].step()
    refuse(own_scene.connection, "first")
    monitors["second"].step()
    refuse(own_scene.connection, "second")
    for _ in range(3):
        for key in ("first", "second"):
            age_refusals(own_scene.connection)
            monitors[key].step()
    assert find_pause(own_scene.connection) == (PauseCause.CREDENTIALS, REASON)
    assert (can_send(own_scene, "first"), can_send(own_scene, "second")) == (False, False)
    monitors["third"].step()
    assert find_pause(own_scene.connection) is None
    assert can_send(own_scene, "third")


def age_refusals(connection: Connection) -> None:
    connection.execute("UPDATE refused_credentials SET lifted_at = lifted_at - interval '1 hour'")


def test_restored_key_is_tried_again(own_scene: Scene, database: Database) -> None:
    first, second = build_monitor(database, "first"), build_monitor(database, "second")
    first.step()
    refuse(own_scene.connection, "first")
    second.step()
    first.step()
    assert not can_send(own_scene, "first")
    build_monitor(database, "first").step()
    assert can_send(own_scene, "first")


def test_refused_key_is_tried_again_after_a_while(own_scene: Scene, monitors: dict[str, CredentialMonitor]) -> None:
    monitors["first"].step()
    refuse(own_scene.connection, "first")
    monitors["second"].step()
    age_refusals(own_scene.connection)
    monitors["first"].step()
    assert can_send(own_scene, "first")


def test_replaced_key_of_fingerprints_is_no_change_of_credentials(own_scene: Scene, database: Database) -> None:
    def build(*keys: bytes, api_key: str = "first") -> AnyProvider:
        return provider(name=SHOP, api_key=api_key, fingerprint_keys=keys)

    before, during, after = build(b"old"), build(b"new", b"old"), build(b"new")
    record_refusals(own_scene.connection, [CredentialRefusal(SHOP, before.fingerprint, REASON)])
    for actor in (during, before, during, after):
        CredentialMonitor(database, {SHOP: actor}).step()
        assert find_pause(own_scene.connection) == (PauseCause.CREDENTIALS, REASON)
    own_scene.submit(SHOP, f"c-{uuid4().hex}")
    assert not claim_requests(own_scene.connection, [ProviderCapacity(SHOP, 1, after.fingerprint)], {SHOP: 60.0})
    CredentialMonitor(database, {SHOP: build(b"new", api_key="second")}).step()
    assert find_pause(own_scene.connection) is None


def test_operator_resume_clears_all_refusals(own_scene: Scene) -> None:
    for key in ("first", "second"):
        refuse(own_scene.connection, key)
    operations.resume(own_scene.connection, SHOP, "ops", None)
    assert find_pause(own_scene.connection) is None
    assert can_send(own_scene, "first")
    assert can_send(own_scene, "second")
