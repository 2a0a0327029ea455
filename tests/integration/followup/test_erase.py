"""`erase` leaves nothing of a person in any table, and everything that proves a status."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobStatus
from receiver.domain.sending import NoResponse, Response
from receiver.followup.audit import Audit
from receiver.followup.erase import AmbiguousReference, ErasedCounts, Erasure, Selection, erase
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile
from receiver.store.actions import find_actions, record_action
from receiver.store.callbacks import RefusedCallback, Verdict, save_refused
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, find_requests, submit_requests
from tests.support.factories import PUBLIC_URL, event, provider, settings
from tests.support.http import build_report
from tests.support.processes import wait_for
from tests.support.request_database import complete, record_attempts

MARKER = "ada.lovelace"
TABLES = (
    "requests, request_metadata, attempts, jobs, events, callbacks, actions, notification_outbox, idempotency_keys, "
    "reference_generations"
)
LIST_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@dataclass(frozen=True)
class Store:
    """A database with the data of several persons, of whom one is to be erased."""

    connection: Connection
    database: Database

    def submit(self, person: str = MARKER, *, notify: bool = False) -> UUID:
        """Submit a request about a person."""
        payload, metadata = {"to": [person], "text": "hello"}, {"customer": person, "order": {"name": person}}
        request = NewRequest(uuid4(), "sandbox", "send", payload, metadata, None, None, 3_600.0, client="shop")
        submit_requests(self.connection, [replace(request, notify_url="https://shop.example/x" if notify else None)])
        return request.id

    def send(self, reference: str, person: str = MARKER) -> None:
        """Send the due request; the first attempt gets no response, the second names a job."""
        for outcome in (
            NoResponse(f"cannot send to {person}", sent=False),
            Response(202, {"x-to": person}, b'{"items": [{"id": "%s", "code": 1801}]}' % reference.encode()),
        ):
            self.connection.execute("UPDATE requests SET due_at = now() WHERE status = 'queued'")
            [attempt] = claim_requests(self.connection, [ProviderCapacity("sandbox", 1)], {"sandbox": 60.0})
            record_attempts(self.connection, [complete(provider(), attempt, outcome)])

    def call_back(self, reference: str, state: str = "DELIVERED", person: str = MARKER) -> UUID:
        """Record a callback about a job."""
        body = build_report(reference, state)
        headers = {"webhook-id": uuid4().hex, "x-to": person}
        target = f"/callbacks/sandbox?to={person}"
        incoming = IncomingCallback("POST", target, headers, body, datetime.now(UTC), PUBLIC_URL, "192.0.2.77")
        parsed = parse_callback(VerifiedCallback(provider(), incoming))
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
        return parsed.stored.id

    def record_event(self, reference: str, person: str = MARKER) -> None:
        """Record the word of an operator who names a person."""
        job_event = event(reference, JobStatus.FAILED, source=EventSource.OPERATOR)
        now = datetime.now(UTC)
        reconcile(self.connection, [replace(job_event, detail=f"{person} says so", actor="op", received_at=now)])

    def refuse(self, body: bytes) -> UUID:
        """Store a refused callback in the sample."""
        sample = RefusedCallback(
            id=uuid4(),
            identity=uuid4(),
            provider="sandbox",
            received_at=datetime.now(UTC),
            verdict=Verdict.REFUSED,
            method="POST",
            target="/callbacks/sandbox",
            headers={},
            body=body,
            errors={"signature": [f"of {MARKER}"]},
            caller_address="192.0.2.77",
            form="x",
        )
        save_refused(self.connection, [sample], max_per_provider=100)
        return sample.id

    def erase(self, selection: Selection, *, dry_run: bool = False) -> Erasure:
        return erase(self.database, selection, "their request of 23 November", dry_run=dry_run)

    def find_tables_with(self, text: str) -> set[str]:
        """Return the tables in which a text stands, also within bytes."""
        names = [name for (name,) in self.connection.execute(LIST_TABLES).fetchall()]
        forms = [text, text.encode().hex()]
        return {
            name
            for name in names
            for (row,) in self.connection.execute(f'SELECT t::text FROM "{name}" AS t'.encode())
            if any(form in row for form in forms)
        }

    def find_statuses(self) -> list[tuple[object, ...]]:
        """Return what must stay as it is."""
        return self.connection.execute(
            "SELECT 'request', id::text, status, attempts::text FROM requests WHERE provider = 'sandbox'"
            " UNION ALL SELECT 'job', id::text, status, reference FROM jobs"
            " UNION ALL SELECT 'event', key::text, status, source FROM events"
            " UNION ALL SELECT 'callback', id::text, verdict, identity::text FROM callbacks ORDER BY 1, 2"
        ).fetchall()

    def collect_findings(self) -> list[object]:
        reader = ConfiguredCallbackReader(settings(self.database.dsn, Path(), {"sandbox": provider()}))
        return [finding for batch in Audit(self.database, reader).run() for finding in batch]


@pytest.fixture
def store(shared_dsn: str) -> Iterator[Store]:
    with closing(connect(shared_dsn)) as connection, closing(Database(shared_dsn)) as database:
        connection.execute(f"TRUNCATE {TABLES} CASCADE".encode())
        yield Store(connection, database)


def finish_notifications(store: Store) -> None:
    store.connection.execute(
        "UPDATE requests SET status = 'completed', due_at = NULL, finished_at = now() WHERE provider = 'notify'"
    )


def test_nothing_of_the_person_is_left(store: Store) -> None:
    request_id = store.submit(notify=True)
    store.send("ref-1042")
    callback_id = store.call_back("ref-1042")
    store.connection.execute("UPDATE callbacks SET errors = jsonb_build_object('time', jsonb_build_array(target))")
    store.record_event("ref-1042")
    queue_notifications(store.database)
    finish_notifications(store)
    record_action(store.connection, request_id, "retry", "op", f"{MARKER} complained")
    record_action(store.connection, callback_id, "replay", "op", f"{MARKER} complained")
    store.refuse(f"a=1&to={MARKER}&id=ref-1042".encode())
    store.connection.execute("UPDATE jobs SET location = '/jobs?to=' || %s", [MARKER])
    store.connection.execute("UPDATE requests SET detail = %s WHERE provider = 'sandbox'", [f"no {MARKER}"])
    assert {"requests", "request_metadata", "attempts", "jobs", "events", "callbacks", "actions"} <= (
        store.find_tables_with(MARKER)
    )
    before, findings = store.find_statuses(), store.collect_findings()
    preview = store.erase(Selection(metadata={"customer": MARKER}), dry_run=True)
    assert "requests" in store.find_tables_with(MARKER)
    erasure = store.erase(Selection(metadata={"customer": MARKER}))
    assert erasure == preview
    assert erasure == Erasure(ErasedCounts(requests=2, attempts=2, jobs=1, events=2, callbacks=2), 1, [], True)
    assert store.find_tables_with(MARKER) == set()
    assert store.find_tables_with("192.0.2.77") == set()
    assert (store.find_statuses(), store.collect_findings()) == (before, findings)
    actions = find_actions(store.connection, request_id)
    assert [(each.action, each.actor, each.reason) for each in actions] == [
        ("retry", "op", None),
        ("erase", "receiver erase", "their request of 23 November"),
    ]
    assert store.erase(Selection([request_id])).counts == ErasedCounts()
    assert len(find_actions(store.connection, request_id)) == 2


def test_data_of_others_is_kept(store: Store) -> None:
    store.submit("grace.hopper")
    store.send("ref-of-grace", "grace.hopper")
    store.call_back("ref-of-grace", person="grace.hopper")
    kept_sample = store.refuse(b"of somebody else")
    request_id = store.submit()
    store.send("ref-of-ada")
    store.call_back("ref-of-ada")
    before = store.find_tables_with("grace.hopper")
    assert store.erase(Selection([request_id])).counts.requests == 1
    assert store.find_tables_with("grace.hopper") == before
    query = "SELECT erased_at FROM callbacks WHERE id = %s"
    assert store.connection.execute(query, [kept_sample]).fetchone() == (None,)


def test_stored_answers_are_erased(store: Store) -> None:
    """As previous releases stored them, with payloads, and those of tracked jobs, with events."""
    reserve = "INSERT INTO idempotency_keys (client, key, fingerprint, created_at, response, location) VALUES"
    with store.connection.transaction():
        request_id = store.submit()
        item = {"id": str(request_id), "payload": {"to": MARKER}, "metadata": {"customer": MARKER}, "detail": MARKER}
        for key, answer in (("one", item), ("batch", {"items": [{**item}, {"id": "other"}]})):
            store.connection.execute(f"{reserve} ('shop', %s, '', now(), %s, NULL)", [key, json.dumps(answer).encode()])
    store.send("ref-1042")
    [(job_id,)] = store.connection.execute("SELECT id FROM jobs").fetchall()
    tracked = {"id": str(job_id), "status": "accepted", "events": [{"detail": MARKER}]}
    store.connection.execute(
        f"{reserve} ('shop', 'tracked', '', now(), %s, %s)", [json.dumps(tracked).encode(), f"/v1/jobs/{job_id}"]
    )
    kept = json.dumps({"id": "other", "payload": {}}).encode()
    store.connection.execute(f"{reserve} ('shop', 'kept', '', now() - interval '1 s', %s, NULL)", [kept])
    store.erase(Selection([request_id]))
    assert store.find_tables_with(MARKER) == set()
    rows: dict[str, bytes] = dict(store.connection.execute("SELECT key, response FROM idempotency_keys").fetchall())
    erased = {"id": str(request_id), "payload": None, "metadata": None, "detail": None}
    assert json.loads(rows["batch"]) == {"items": [erased, {"id": "other"}]}
    assert json.loads(rows["tracked"]) == {"id": str(job_id), "status": "accepted", "events": []}
    assert rows["kept"] == kept


def test_unsent_notification_is_named(store: Store) -> None:
    request_id = store.submit(notify=True)
    store.send("ref-1042")
    store.call_back("ref-1042")
    queue_notifications(store.database)
    [(notification_id,)] = store.connection.execute("SELECT id FROM requests WHERE provider = 'notify'").fetchall()
    assert store.erase(Selection([request_id])).open_requests == [notification_id]
    finish_notifications(store)
    assert store.erase(Selection([request_id])).open_requests == []
    assert store.find_tables_with(MARKER) == set()


def test_accounts_are_erased_with_their_provider(store: Store) -> None:
    ids = {name: store.submit() for name in ("acme", "acme/north", "acme-2")}
    for name, request_id in ids.items():
        store.connection.execute("UPDATE requests SET provider = %s WHERE id = %s", [name, request_id])
        accepted = event("ref-1", JobStatus.FAILED, request_id=request_id, actor=provider(name=name))
        reconcile(store.connection, [replace(accepted, received_at=datetime.now(UTC))])
    with pytest.raises(AmbiguousReference, match=r"acme, acme/north\. Add --account"):
        store.erase(Selection(provider="acme", reference="ref-1"), dry_run=True)
    assert store.erase(Selection(provider="acme/north", reference="ref-1"), dry_run=True).selected == 2
    store.connection.execute("UPDATE requests SET status = 'cancelled', finished_at = now(), due_at = NULL")
    assert store.erase(Selection(provider="acme", metadata={"customer": MARKER}), dry_run=True).selected == 2
    assert store.erase(Selection(provider="acme/north", metadata={"customer": MARKER}), dry_run=True).selected == 1


@pytest.mark.parametrize("has_request", [True, False])
def test_job_is_erased_by_reference(store: Store, has_request: bool) -> None:
    if has_request:
        store.submit()
        store.send("ref-1042")
    store.call_back("ref-1042")
    store.call_back("ref-1042")
    erasure = store.erase(Selection(provider="sandbox", reference="ref-1042"))
    assert (erasure.counts.requests, erasure.counts.callbacks) == (int(has_request), 2)
    assert store.find_tables_with(MARKER) == set()
    erased = store.connection.execute("SELECT detail, status FROM events WHERE actor = 'receiver erase'").fetchall()
    assert erased == ([] if has_request else [("erased: their request of 23 November", None)])
    assert store.collect_findings() == []


def test_erasure_is_an_event_of_the_job_whose_reference_names_another(store: Store) -> None:
    store.call_back("ref-1042")
    [(job_id,)] = store.connection.execute("SELECT id FROM jobs").fetchall()
    store.connection.execute("INSERT INTO reference_generations VALUES (%s, 2, %s, now())", [job_id, uuid4()])
    store.erase(Selection(provider="sandbox", reference="ref-1042"))
    erased = store.connection.execute("SELECT job_id FROM events WHERE actor = 'receiver erase'").fetchall()
    assert erased == [(job_id,)]


def test_job_of_another_provider_is_not_erased(store: Store) -> None:
    store.call_back("ref-1042")
    assert store.erase(Selection(provider="other", reference="ref-1042")).selected == 0
    assert store.find_tables_with(MARKER)


@pytest.mark.parametrize("status", ["queued", "sending", "unknown"])
def test_request_that_may_be_sent_again_is_named_and_kept(store: Store, status: str) -> None:
    request_id = store.submit()
    if status != "queued":
        [attempt] = claim_requests(store.connection, [ProviderCapacity("sandbox", 1)], {"sandbox": 60.0})
        if status == "unknown":
            record_attempts(store.connection, [complete(provider(), attempt, NoResponse("lost", sent=True))])
    erasure = store.erase(Selection(metadata={"customer": MARKER}))
    assert (erasure.open_requests, erasure.counts) == ([request_id], ErasedCounts())
    [request] = find_requests(store.connection, [request_id])
    assert (request.status, request.payload is not None, request.metadata != {}) == (status, True, True)


def test_request_with_an_open_job_is_erased_and_named(store: Store) -> None:
    request_id = store.submit()
    store.send("ref-1042")
    store.call_back("ref-1042", "SENT")
    erasure = store.erase(Selection([request_id]))
    assert (erasure.open_requests, erasure.counts.requests) == ([request_id], 1)
    assert store.find_tables_with(MARKER) == set()
    store.call_back("ref-1042")
    assert store.erase(Selection([request_id])) == Erasure(ErasedCounts(callbacks=1), 1, [], True)
    assert store.find_tables_with(MARKER) == set()


def test_metadata_must_match_as_a_whole(store: Store) -> None:
    store.submit()
    for metadata in ({"customer": MARKER, "order": "1"}, {"customer": "another"}):
        assert store.erase(Selection(metadata=metadata)).selected == 0
    assert store.erase(Selection(provider="other", metadata={"customer": MARKER})).selected == 0


def test_callback_committed_meanwhile_is_erased_too(store: Store) -> None:
    request_id = store.submit()
    store.send("ref-1042")
    store.call_back("ref-1042", "SENT")
    other = connect(store.database.dsn)
    with closing(other), ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN")
        Store(other, store.database).call_back("ref-1042")
        erasure = pool.submit(store.erase, Selection([request_id]))
        query = "SELECT count(*) FROM requests WHERE erased_at IS NOT NULL"
        wait_for(lambda: store.connection.execute(query).fetchone() == (1,))
        other.execute("COMMIT")
        assert erasure.result(10).is_settled
    assert store.find_tables_with(MARKER) == set()


def test_transaction_that_stays_open_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.followup.erase._SETTLE_TIMEOUT_S", 0.1)
    request_id = store.submit()
    store.send("ref-1042")
    other = connect(store.database.dsn)
    with closing(other):
        other.execute("BEGIN")
        Store(other, store.database).call_back("ref-1042")
        assert not store.erase(Selection([request_id])).is_settled
