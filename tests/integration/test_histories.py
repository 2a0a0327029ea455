"""Random histories of requests: an audit finds nothing, and the client is notified of every end."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.access import OperatorAction
from receiver.domain.audit import Finding
from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.domain.filters import RequestFilter
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.notifications import NotifyEvent
from receiver.domain.sending import Attempt, NoResponse, NotSent, Outcome, RequestStatus, Response
from receiver.domain.targets import TargetRules
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.loop import record_exchanges
from receiver.exchange.work import CompletedExchange
from receiver.followup.audit import Audit
from receiver.followup.lookup import LookupTask
from receiver.followup.recover import recover
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import ParsedCallback, parse_callback, record_callbacks
from receiver.inbound.replay import record_replay
from receiver.operations import jobs as job_operations
from receiver.operations import requests as operations
from receiver.operations.bulk_actions import carry_out, preview
from receiver.outbound.notifications import queue_notifications
from receiver.outbound.send import SendTask
from receiver.outbound.track import AlreadyTracked, TrackedReference, track_reference
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.store.connections import Connection, connect, translate_errors
from receiver.store.database import Database
from receiver.store.errors import StoreConflict
from receiver.store.jobs import find_job
from receiver.store.limits import ProviderCapacity
from receiver.store.notifications import find_pending_jobs, find_pending_notifications
from receiver.store.requests import NewRequest, Request, claim_requests, expire_requests, find_requests, submit_requests
from receiver.store.unknown_requests import claim_lookups
from tests.support.factories import SECRET, settings
from tests.support.http import build_report

STEP_COUNT = 60
NOTIFY_TARGETS = TargetRules(["shop.example"])
CAPACITIES = [ProviderCapacity("acme", 100)]
LEASES = {"acme": 60.0}
PROVIDER: dict[str, Any] = {
    "kind": "declared",
    "base_url": "http://127.0.0.1:9",
    "retry": {"attempts": 3},
    "signature": {"scheme": "standard-webhooks", "secrets": [SECRET]},
    "operations": {
        "send": {"path": "/v1/m", "request_id": "id", "callback_url": "callback", "callback_token": True},
    },
    "response": {
        "items": "items",
        "reference": "id",
        "code": "code",
        "codes": {"1800": "succeeded", "1801": "accepted", "1804": "rejected"},
    },
    "callback": {
        "items": "results",
        "reference": "id",
        "status": "state",
        "statuses": {"SENT": "in_progress", "DELIVERED": "succeeded", "EXPIRED": "failed"},
    },
}
FIND_OUTBOX = "SELECT id FROM notification_outbox UNION ALL SELECT id FROM job_notification_outbox"
FIND_WRONG_NOTIFY = """
    SELECT reference, jobs.notify, requests.notify_url FROM jobs JOIN requests ON requests.id = jobs.request_id
    WHERE jobs.notify IS DISTINCT FROM (requests.notify_url IS NOT NULL)
        OR jobs.notify_events IS DISTINCT FROM requests.notify_events
"""


def build_acme(on_ambiguous: str, not_found: str, reuse_after: float | None) -> Provider:
    lookup_settings = {"path": "/v1/sent/{request_id}", "not_found": not_found}
    reuse = {} if reuse_after is None else {"reference_reuse_after": reuse_after}
    return build_provider("acme", {**PROVIDER, **reuse, "on_ambiguous": on_ambiguous, "lookup": lookup_settings})


@dataclass
class History:
    """Random actions on requests of one provider, reproducible by a seed; `log` lists them."""

    connection: Connection
    database: Database
    provider: Provider
    rng: random.Random
    attempts: list[Attempt] = field(default_factory=list)
    unsent_attempt_ids: set[UUID] = field(default_factory=set)
    unknown_requests: list[UnknownRequest] = field(default_factory=list)
    parsed_callbacks: list[ParsedCallback] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def step(self) -> None:
        """Carry out one random action; those listed more than once are more likely."""
        actions = [
            self.submit,
            self.claim,
            self.end_attempt,
            self.end_attempt,
            self.end_attempt,
            self.lose_worker,
            self.expire_request,
            self.look_up,
        ]
        actions += [
            self.call_back,
            self.call_back,
            self.replay_callback,
            self.operate_on_request,
            self.operate_on_request,
            self.operate_on_requests,
            self.resolve_job,
            self.queue_notifications_once,
            self.restore_backup,
            self.track_reference,
        ]
        action = self.rng.choice(actions)
        self.log.append(action.__name__)
        action()

    def submit(self) -> None:
        url, events = self.choose_notifications()
        request = NewRequest(uuid4(), "acme", "send", {}, {}, None, None, 3_600.0, url, events)
        submit_requests(self.connection, [replace(request, priority=self.rng.randrange(10))])

    def choose_notifications(self) -> tuple[str | None, list[NotifyEvent] | None]:
        url = self.rng.choice([None, "https://shop.example/told"])
        job, request, change = NotifyEvent.JOB, NotifyEvent.REQUEST, NotifyEvent.JOB_CHANGE
        return url, self.rng.choice([None, [job], [job, request], [change]]) if url else None

    def claim(self) -> None:
        self.connection.execute("UPDATE requests SET due_at = now() WHERE due_at IS NOT NULL AND provider = 'acme'")
        self.attempts += claim_requests(self.connection, CAPACITIES, LEASES)

    def end_attempt(self) -> None:
        """End one of the latest attempts; it may be one that was given up before."""
        if self.attempts:
            attempt = self.rng.choice(self.attempts[-4:])
            result = self.choose_outcome()
            # The provider never received such an attempt or refused it, so it sends no callback about it.
            if isinstance(result, NotSent) or (isinstance(result, Response) and result.status == 401):
                self.unsent_attempt_ids.add(attempt.id)
            self.log.append(f"{attempt.id} {result}")
            self.record_attempt(attempt, result)

    def record_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        exchange = CompletedExchange(self.provider, attempt, outcome, datetime.now(UTC), self.rng.random())
        record_exchanges(self.connection, SendTask({self.provider.name: self.provider}), [exchange])

    def choose_outcome(self) -> Outcome:
        dropped, refused = NoResponse("dropped", sent=True), NoResponse("refused", sent=False)
        outcomes: list[Outcome] = [dropped, dropped, refused, NotSent("busy")]
        outcomes += [Response(status, {}, b"") for status in (202, 204, 400, 401, 409, 500, 503, 504)]
        return self.rng.choice([*outcomes, self.build_item_response(202), self.build_item_response(409)])

    def build_item_response(self, status: int) -> Response:
        codes = self.rng.choices((1800, 1801, 1801, 1804, 9999), k=self.rng.choice([1, 1, 2]))
        documents = [{"id": self.rng.choice([self.choose_reference(), None]), "code": code} for code in codes]
        return Response(status, {}, json.dumps({"items": documents}).encode())

    def choose_reference(self) -> str:
        return f"ref-{self.rng.randrange(12)}"

    def lose_worker(self) -> None:
        """End an open attempt as the sweep does for a lost worker."""
        row = self.connection.execute(
            "SELECT id FROM attempts WHERE finished_at IS NULL ORDER BY random() LIMIT 1"
        ).fetchone()
        for attempt in self.attempts:
            if row and attempt.id == row[0]:
                self.record_attempt(attempt, NoResponse("lost", sent=True))

    def expire_request(self) -> None:
        self.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [self.choose_request().id])
        expire_requests(self.connection, 10, {"acme": 0.0})

    def choose_request(self) -> Request:
        rows = self.connection.execute("SELECT id FROM requests WHERE provider = 'acme' ORDER BY id").fetchall()
        [request] = find_requests(self.connection, [self.rng.choice(rows)[0]])
        return request

    def look_up(self) -> None:
        """Claim all lookups, and record a random outcome of one, perhaps after a later lookup of the same request."""
        self.connection.execute("UPDATE requests SET next_lookup_at = now() WHERE next_lookup_at IS NOT NULL")
        self.unknown_requests += claim_lookups(self.connection, CAPACITIES, LEASES)
        if self.unknown_requests and self.rng.random() < 0.7:
            unknown_request = self.unknown_requests.pop(self.rng.randrange(len(self.unknown_requests)))
            outcomes: list[Response | NoResponse] = [NoResponse("dropped", sent=True)]
            outcomes += [Response(status, {}, b"") for status in (200, 404, 404, 401, 500)]
            result = self.rng.choice([*outcomes, *(self.build_item_response(200) for _ in range(6))])
            self.log.append(f"{unknown_request.id} {result}")
            exchange = CompletedExchange(self.provider, unknown_request, result, datetime.now(UTC), self.rng.random())
            record_exchanges(self.connection, LookupTask({"acme": self.provider}), [exchange])

    def call_back(self) -> None:
        """Record a callback, to the URL of an attempt that the provider may have received or to the registered URL."""
        tokens = [attempt.id for attempt in self.attempts if attempt.id not in self.unsent_attempt_ids]
        token = self.rng.choice([None, *tokens[-4:]])
        body = build_report(self.choose_reference(), self.rng.choice(["SENT", "DELIVERED", "EXPIRED", "WHAT"]))
        target = "/callbacks/acme" + (f"?request={token}" if token else "")
        self.log.append(f"{target} {body!r}")
        headers = {"webhook-id": uuid4().hex, "content-type": "application/json"}
        incoming = IncomingCallback("POST", target, headers, body, datetime.now(UTC))
        parsed = parse_callback(VerifiedCallback(self.provider, incoming))
        self.parsed_callbacks.append(parsed)
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)

    def replay_callback(self) -> None:
        """Replay a stored callback."""
        if self.parsed_callbacks:
            with self.connection.transaction():
                record_replay(self.connection, self.rng.choice(self.parsed_callbacks), "somebody", None)

    def operate_on_request(self) -> None:
        request, operator = self.choose_request(), OperatorAction("somebody", datetime.now(UTC), "confirmed by phone")
        status = self.rng.choice([RequestStatus.ACCEPTED, RequestStatus.REJECTED, RequestStatus.FAILED])
        references = [self.choose_reference()] if status is RequestStatus.ACCEPTED else []
        with suppress(AlreadyTracked, StateConflict), self.connection.transaction():
            match self.rng.choice(["retry", "cancel", "resolve", "send-now"]):
                case "send-now":
                    operations.send_now(self.connection, request, self.provider, "somebody", None)
                case "retry":
                    operations.retry(self.connection, request, self.provider, "somebody", None)
                case "cancel":
                    operations.cancel(self.connection, request, self.provider, "somebody", None)
                case _:
                    resolution = operations.RequestResolution(status, references)
                    operations.resolve(self.connection, request, self.provider, resolution, operator)
            self.log.append(f"{request.id} was {request.status}")

    def operate_on_requests(self) -> None:
        """Carry out an action on many requests, perhaps after another action of this or another history."""
        kind, token = self.rng.choice(list(BulkActionKind)), uuid4()
        status = self.rng.choice([RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED])
        request_filter = RequestFilter(providers=["acme"])
        # A client of its own: of one client, ten newer previews of other histories would delete this one.
        client = str(token)
        call = BulkCall(client, None, kind, request_filter, status if kind is BulkActionKind.RESOLVE else None)
        with self.connection.transaction():
            preview(self.connection, call, {"acme": self.provider}, token, 3)
        if self.rng.random() < 0.3:
            self.operate_on_request()
        operator = OperatorAction("ops", datetime.now(UTC), "confirmed by phone")
        progress = carry_out(self.database, call, {"acme": self.provider}, token, operator, time_limit_s=10.0)
        self.log.append(f"{kind} {status}: {progress.applied} of {progress.count}")

    def resolve_job(self) -> None:
        job = find_job(self.connection, derive_job_id("acme", self.choose_reference()))
        if job:
            with self.connection.transaction():
                job_operations.resolve(
                    self.connection,
                    job,
                    JobStatus.SUCCEEDED,
                    OperatorAction("somebody", datetime.now(UTC), "confirmed by phone"),
                )

    def restore_backup(self) -> None:
        """Recover as if the database was restored from a backup of this moment, for a short while."""
        if self.rng.random() < 0.3:
            recover(self.database, datetime.now(UTC), {"acme": self.provider}, batch_size=2)

    def track_reference(self) -> None:
        """Track a reference that may already belong to another request of this client or of another."""
        url, events = self.choose_notifications()
        client = self.rng.choice(["shop", "bank"])
        tracked = TrackedReference(
            "acme", self.choose_reference(), {}, client, notify_url=url, notify_events=events or [NotifyEvent.REQUEST]
        )
        self.log.append(tracked.reference)
        with suppress(AlreadyTracked, StateConflict), self.connection.transaction():
            operator = OperatorAction("shop", datetime.now(UTC))
            track_reference(self.connection, {"acme": self.provider}, tracked, operator, NOTIFY_TARGETS)

    def queue_notifications_once(self) -> None:
        queue_notifications(self.database)


def assert_notified(connection: Connection, history: History) -> None:
    """Queue all pending notifications, and assert that none is missing."""
    while connection.execute(FIND_OUTBOX).fetchone():
        history.queue_notifications_once()
    ids = [row[0] for row in connection.execute("SELECT id FROM requests")]
    assert find_pending_notifications(connection, ids) == [], "\n".join(history.log)
    job_ids = [row[0] for row in connection.execute("SELECT id FROM jobs")]
    assert find_pending_jobs(connection, job_ids) == [], "\n".join(history.log)
    assert connection.execute(FIND_WRONG_NOTIFY).fetchall() == [], "\n".join(history.log)


@contextmanager
def start_history(dsn: str, provider: Provider, seed: str) -> Iterator[History]:
    """Yield a history with connections of its own and one request."""
    with closing(connect(dsn)) as connection, closing(Database(dsn, size=2)) as database:
        history = History(connection, database, provider, random.Random(seed))
        history.submit()
        yield history


def collect_findings(history: History, dsn: str) -> list[Finding]:
    reader = ConfiguredCallbackReader(settings(dsn, Path(), {"acme": history.provider}))
    return [finding for batch in Audit(history.database, reader).run() for finding in batch]


@pytest.fixture
def emptied_dsn(shared_dsn: str) -> str:
    with closing(connect(shared_dsn)) as connection:
        connection.execute(
            "TRUNCATE requests, jobs, callbacks, actions, notification_outbox, job_notification_outbox, "
            "reference_generations CASCADE"
        )
    return shared_dsn


@pytest.mark.parametrize(
    ("on_ambiguous", "not_found", "reuse_after"),
    [
        ("hold", "unknown", None),
        pytest.param("hold", "retry", None, marks=pytest.mark.slow),
        pytest.param("retry", "unknown", None, marks=pytest.mark.slow),
        ("retry", "retry", None),
        pytest.param("hold", "retry", 0.01, marks=pytest.mark.slow),
        ("retry", "unknown", 0.01),
    ],
)
def test_random_history_is_proven_and_notified(
    emptied_dsn: str, on_ambiguous: str, not_found: str, reuse_after: float | None
) -> None:
    provider = build_acme(on_ambiguous, not_found, reuse_after)
    with start_history(emptied_dsn, provider, f"{on_ambiguous} {not_found}") as history:
        for _ in range(STEP_COUNT):
            history.step()
            assert collect_findings(history, emptied_dsn) == [], "\n".join(history.log)
        assert_notified(history.connection, history)


@pytest.mark.parametrize(
    ("on_ambiguous", "reuse_after"),
    [
        ("hold", None),
        pytest.param("retry", None, marks=pytest.mark.slow),
        pytest.param("hold", 0.01, marks=pytest.mark.slow),
    ],
)
def test_concurrent_histories_are_proven_and_notified(
    emptied_dsn: str, on_ambiguous: str, reuse_after: float | None
) -> None:
    provider = build_acme(on_ambiguous, "retry", reuse_after)

    def run_history(seed: int) -> None:
        with start_history(emptied_dsn, provider, f"{on_ambiguous} {seed}") as history:
            for _ in range(2 * STEP_COUNT):
                with suppress(StoreConflict), translate_errors():  # Postgres ends a deadlock by aborting one of two
                    history.step()

    with ThreadPoolExecutor(4) as pool:
        for running in [pool.submit(run_history, seed) for seed in range(4)]:
            running.result(60)
    with start_history(emptied_dsn, provider, "afterwards") as history:
        assert collect_findings(history, emptied_dsn) == []
        assert_notified(history.connection, history)
