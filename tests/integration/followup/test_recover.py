"""Recovery of a restored database: nothing that the lost database may have sent is sent twice."""

from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import LOOKUP_SCHEDULED_DETAIL, RESTORED_DETAIL
from receiver.followup.audit import Audit
from receiver.followup.recover import recover
from receiver.operations import requests as operations
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.reconcile import reconcile
from receiver.store.actions import find_actions
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.recover import RecoveredCounts
from receiver.store.requests import NewRequest, claim_requests, find_requests, submit_requests
from tests.support.factories import SECRET, event, notify_provider, provider, settings
from tests.support.processes import assert_ends_well, running_worker, wait_for
from tests.support.provider import DROP, accept_request, listening, reply_after
from tests.support.scene import open_scene

HOUR = timedelta(hours=1)
WITHOUT_LOOKUP = {"sandbox": provider(), "notify": notify_provider()}


@dataclass(frozen=True)
class RestoredDatabase:
    """A restored database; the lost one was last in use at `before`."""

    connection: Connection
    database: Database
    before: datetime

    def submit(self, name: str = "sandbox", *, due_in: timedelta = -HOUR, notify_url: str | None = None) -> UUID:
        """Queue a request that was created and due at times relative to `before`."""
        request_id = uuid4()
        submit_requests(
            self.connection, [NewRequest(request_id, name, "send", {}, {}, None, None, 86_400.0, notify_url)]
        )
        self.connection.execute(
            "UPDATE requests SET created_at = %s, due_at = %s WHERE id = %s",
            [self.before - 2 * HOUR, self.before + due_in, request_id],
        )
        return request_id

    def claim(self, request_id: UUID, started_at: datetime) -> None:
        """Start an attempt of a request."""
        self.connection.execute("UPDATE requests SET due_at = created_at WHERE id = %s", [request_id])
        claim_requests(self.connection, [ProviderCapacity("sandbox", 1)], {"sandbox": 60.0})
        self.connection.execute("UPDATE attempts SET started_at = %s WHERE request_id = %s", [started_at, request_id])

    def recover(self, providers: Mapping[str, Provider] = WITHOUT_LOOKUP, *, dry_run: bool = False) -> RecoveredCounts:
        return recover(self.database, self.before, providers, dry_run=dry_run, batch_size=2)

    def find_status(self, request_id: UUID) -> str:
        [request] = find_requests(self.connection, [request_id])
        return request.status


@pytest.fixture
def restored(database: Database, connection: Connection) -> RestoredDatabase:
    """A restored database without rows."""
    [(now,)] = connection.execute("SELECT now()").fetchall()
    return RestoredDatabase(connection, database, now - HOUR)


@pytest.mark.slow
def test_restored_database_sends_nothing_twice(server: str, dsn: str, tmp_path: Path) -> None:
    never, lost = Event(), ["queued-hold", "queued-retry", "sending-hold", "sending-retry"]
    with listening() as fake:
        with open_scene(dsn, fake) as scene:
            config = "".join(
                scene.build_provider_toml(name, f'on_ambiguous = "{name}"\ntimeout = 0.5\nconnect_timeout = 0.5')
                for name in ("hold", "retry")
            )
            for name in (*lost, "later", "new"):
                replies = [reply_after(never, DROP)] if name.startswith("sending") else []
                scene.script(name, *replies, accept_request())
            with running_worker(tmp_path, dsn, config, "lost-1") as worker:
                sending = scene.submit("hold", "sending-hold") + scene.submit("retry", "sending-retry")
                wait_for(lambda: scene.received("sending-hold") and scene.received("sending-retry"))
                worker.kill()
            queued = scene.submit("hold", "queued-hold") + scene.submit("retry", "queued-retry")
            [later] = scene.submit("hold", "later", send_after=datetime.now(UTC) + HOUR)
        with scratch_database(server, template=str(conninfo_to_dict(dsn)["dbname"])) as backup:
            with open_scene(dsn, fake) as scene:
                scene.lose_leases(*sending)
                with running_worker(tmp_path, dsn, config, "lost-2"):
                    for request in (*sending, *queued):
                        scene.wait_until_settled(request)
                before = datetime.now(UTC)
            received = {name: len(fake.find_received(name)) for name in lost}
            assert received == dict(zip(lost, (1, 1, 1, 2), strict=True))
            with open_scene(backup, fake) as scene, closing(Database(backup, size=2)) as database:
                scene.lose_leases(*sending)
                assert recover(database, before, {}) == RecoveredCounts(unknown=4)
                with running_worker(tmp_path, backup, config, "restored") as worker:
                    [new] = scene.submit("hold", "new")
                    assert scene.wait_until_settled(new).status == "accepted"
                    assert_ends_well(worker)
                assert {scene.look(request)[:2] for request in (*sending, *queued)} == {("unknown", RESTORED_DETAIL)}
                assert scene.look(later).status == "queued"
                assert recover(database, before, {}) == RecoveredCounts()
                reader = ConfiguredCallbackReader(settings(backup, tmp_path, {}))
                assert [finding for batch in Audit(database, reader).run() for finding in batch] == []
            assert {name: len(fake.find_received(name)) for name in lost} == received
            never.set()


def test_recovered_requests_were_due_or_sending(restored: RestoredDatabase) -> None:
    due, sending, sent_since = (restored.submit() for _ in range(3))
    restored.claim(sending, restored.before - HOUR)
    restored.claim(sent_since, restored.before + timedelta(minutes=1))
    later, notification = restored.submit(due_in=timedelta(0)), restored.submit("notify")
    assert restored.recover(dry_run=True) == RecoveredCounts(unknown=2)
    assert restored.find_status(due) == "queued"
    assert restored.recover() == RecoveredCounts(unknown=2)
    statuses = {request: restored.find_status(request) for request in (due, sending, sent_since, later, notification)}
    assert list(statuses.values()) == ["unknown", "unknown", "sending", "queued", "queued"]
    rows = restored.connection.execute("SELECT error FROM attempts WHERE finished_at IS NOT NULL").fetchall()
    assert rows == [(RESTORED_DETAIL,)]
    for request in (due, sending):
        [action] = find_actions(restored.connection, request)
        assert (action.actor, action.action) == ("receiver recover", "recover")
        assert action.reason == f"--before {restored.before.isoformat()}"
    assert find_actions(restored.connection, later) == []


def test_second_run_leaves_what_an_operator_decided(restored: RestoredDatabase) -> None:
    retried = restored.submit()
    restored.recover()
    [request] = find_requests(restored.connection, [retried])
    operations.retry(restored.connection, request, provider(), "somebody", None)
    assert restored.recover() == RecoveredCounts()
    restored.claim(retried, datetime.now(UTC))
    assert restored.recover() == RecoveredCounts()
    assert restored.find_status(retried) == "sending"


def test_recovered_request_is_looked_up(restored: RestoredDatabase) -> None:
    table = {
        "kind": "declared",
        "base_url": "http://127.0.0.1:9",
        "signature": {"scheme": "standard-webhooks", "secrets": [SECRET]},
        "operations": {"send": {"path": "/v1/m", "request_id": "id"}},
        "response": {"reference": "id", "code": "code", "codes": {"ok": "accepted"}},
        "callback": {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}},
        "lookup": {"path": "/v1/sent/{request_id}", "first_after": 60},
    }
    request_id = restored.submit("acme")
    assert restored.recover({"acme": build_provider("acme", table)}) == RecoveredCounts(unknown=1)
    row = restored.connection.execute(
        "SELECT detail, next_lookup_at - unknown_since, ambiguous FROM requests WHERE id = %s", [request_id]
    ).fetchone()
    assert row == (f"{RESTORED_DETAIL}; {LOOKUP_SCHEDULED_DETAIL}", timedelta(minutes=1), True)


def test_request_with_a_known_job_becomes_accepted(restored: RestoredDatabase) -> None:
    request_id = restored.submit(notify_url="https://shop.example/told")
    restored.claim(request_id, restored.before - HOUR)
    reconcile(restored.connection, [event(status=JobStatus.ACCEPTED, at=0.0, request_id=request_id)])
    restored.connection.execute("UPDATE events SET received_at = now()")
    assert restored.recover() == RecoveredCounts(accepted=1)
    assert restored.find_status(request_id) == "accepted"
    assert restored.connection.execute("SELECT request_id FROM notification_outbox").fetchall() == [(request_id,)]


def test_recovery_continues_after_an_interruption(restored: RestoredDatabase) -> None:
    for _ in range(5):
        restored.submit()
    restored.connection.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM actions) >= 4 THEN RAISE EXCEPTION 'interrupted'; END IF; RETURN new; END $$"""
    )
    restored.connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION refuse()")
    with suppress(psycopg.errors.RaiseException):
        restored.recover()
    [(unknown,)] = restored.connection.execute("SELECT count(*) FROM requests WHERE status = 'unknown'").fetchall()
    assert unknown == 4
    restored.connection.execute("DROP TRIGGER refuse ON actions")
    assert restored.recover() == RecoveredCounts(unknown=1)
