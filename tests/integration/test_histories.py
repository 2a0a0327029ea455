"""Whatever happens to requests, in whatever order: what is stored is proven, and every end is told."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.access import OperatorAction
from receiver.domain.audit import Finding
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.sending import Attempt, NoResponse, NotSent, RequestStatus, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.followup import lookup
from receiver.followup import operations as of_jobs
from receiver.followup.audit import Audit
from receiver.inbound.receive import ParsedCallback, parse_callback, record_callbacks
from receiver.inbound.replay import record_replay
from receiver.outbound import dispatch, operations
from receiver.outbound.notifications import queue_notifications
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.store.database import Connection, Database, connect, translate_errors
from receiver.store.jobs import find_job
from receiver.store.limits import ProviderCapacity
from receiver.store.notifications import find_pending_notifications
from receiver.store.requests import NewRequest, Request, claim_requests, expire_requests, find_requests, submit_requests
from receiver.store.scratch import scratch_database
from receiver.store.unknown_requests import claim_lookups
from tests.factories import SECRET, settings
from tests.http import says

STEPS = 60
HERE = [ProviderCapacity("acme", 100)]
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
TROUBLE = """
    SELECT reference, jobs.notify, requests.notify_url FROM jobs JOIN requests ON requests.id = jobs.request_id
    WHERE jobs.notify IS DISTINCT FROM (requests.notify_url IS NOT NULL)
"""


def configured(on_ambiguous: str, not_found: str) -> Provider:
    asked = {"path": "/v1/sent/{request_id}", "not_found": not_found}
    return build_provider("acme", {**PROVIDER, "on_ambiguous": on_ambiguous, "lookup": asked})


@dataclass
class History:
    """What happens to some requests at a provider, drawn by chance."""

    connection: Connection
    database: Database
    provider: Provider
    chance: random.Random
    attempts: list[Attempt] = field(default_factory=list)
    unsaid: set[UUID] = field(default_factory=set)
    doubts: list[UnknownRequest] = field(default_factory=list)
    kept: list[ParsedCallback] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def step(self) -> None:
        """Let one thing happen."""
        steps = [self.submit, self.claim, self.end, self.end, self.end, self.lose, self.expire, self.look_up]
        steps += [self.call_back, self.call_back, self.say_again, self.operate, self.operate, self.end_a_job, self.tell]
        chosen = self.chance.choice(steps)
        self.told.append(chosen.__name__)
        chosen()

    def submit(self) -> None:
        url = self.chance.choice([None, "https://shop.example/told"])
        submit_requests(self.connection, [NewRequest(uuid4(), "acme", "send", {}, {}, None, None, 3_600.0, url)])

    def claim(self) -> None:
        self.connection.execute("UPDATE requests SET due_at = now() WHERE due_at IS NOT NULL AND provider = 'acme'")
        self.attempts += claim_requests(self.connection, HERE, 60.0)

    def end(self) -> None:
        """An attempt ends, one of the last of them or, late, one that was given up."""
        if self.attempts:
            attempt = self.chance.choice(self.attempts[-4:])
            outcome = self.outcome()
            # Of an attempt that certainly came to nothing nobody calls back.
            if isinstance(outcome, NotSent) or (isinstance(outcome, Response) and outcome.status == 401):
                self.unsaid.add(attempt.id)
            self.told.append(f"{attempt.id} {outcome}")
            dispatch.record_attempts(
                self.connection, [dispatch.CompletedAttempt(self.provider, attempt, outcome, datetime.now(UTC))]
            )

    def outcome(self) -> Response | NoResponse | NotSent:
        lost, away = NoResponse("dropped", sent=True), NoResponse("refused", sent=False)
        outcomes: list[Response | NoResponse | NotSent] = [lost, lost, away, NotSent("busy")]
        outcomes += [Response(status, {}, b"") for status in (202, 204, 400, 401, 409, 500, 503, 504)]
        return self.chance.choice([*outcomes, self.items(202), self.items(409)])

    def items(self, status: int) -> Response:
        codes = self.chance.choices((1800, 1801, 1801, 1804, 9999), k=self.chance.choice([1, 1, 2]))
        items = [{"id": self.chance.choice([self.reference(), None]), "code": code} for code in codes]
        return Response(status, {}, json.dumps({"items": items}).encode())

    def reference(self) -> str:
        return f"ref-{self.chance.randrange(12)}"

    def lose(self) -> None:
        """A worker is lost, as the sweep finds it."""
        row = self.connection.execute(
            "SELECT id FROM attempts WHERE finished_at IS NULL ORDER BY random() LIMIT 1"
        ).fetchone()
        for attempt in self.attempts:
            if row and attempt.id == row[0]:
                lost = dispatch.CompletedAttempt(
                    self.provider, attempt, NoResponse("lost", sent=True), datetime.now(UTC)
                )
                dispatch.record_attempts(self.connection, [lost])

    def expire(self) -> None:
        self.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [self.request().id])
        expire_requests(self.connection, 10, {"acme": 0.0})

    def request(self) -> Request:
        rows = self.connection.execute("SELECT id FROM requests WHERE provider = 'acme' ORDER BY id").fetchall()
        [found] = find_requests(self.connection, [self.chance.choice(rows)[0]])
        return found

    def look_up(self) -> None:
        """What is due is asked about; some answer comes, now or when it was asked about once more."""
        self.connection.execute("UPDATE requests SET next_lookup_at = now() WHERE next_lookup_at IS NOT NULL")
        self.doubts += claim_lookups(self.connection, HERE, 60.0)
        if self.doubts and self.chance.random() < 0.7:
            unknown_request = self.doubts.pop(self.chance.randrange(len(self.doubts)))
            outcomes: list[Response | NoResponse] = [NoResponse("dropped", sent=True)]
            outcomes += [Response(status, {}, b"") for status in (200, 404, 404, 401, 500)]
            outcome = self.chance.choice([*outcomes, *(self.items(200) for _ in range(6))])
            self.told.append(f"{unknown_request.id} {outcome}")
            looked_up = lookup.interpret_lookup(
                self.provider, unknown_request, outcome, datetime.now(UTC), self.chance.random()
            )
            with self.connection.transaction():
                lookup.record_lookups(self.connection, [looked_up])

    def call_back(self) -> None:
        """A callback comes: to the URL of an attempt that may have been acted on, or to none."""
        tokens = [attempt.id for attempt in self.attempts if attempt.id not in self.unsaid]
        token = self.chance.choice([None, *tokens[-4:]])
        body = says(self.reference(), self.chance.choice(["SENT", "DELIVERED", "EXPIRED", "WHAT"]))
        target = "/callbacks/acme" + (f"?request={token}" if token else "")
        self.told.append(f"{target} {body!r}")
        headers = {"webhook-id": uuid4().hex, "content-type": "application/json"}
        received = parse_callback(self.provider, IncomingCallback("POST", target, headers, body, datetime.now(UTC)))
        self.kept.append(received)
        record_callbacks(self.connection, received.events, [received.callback], received.job_ids_to_poll)

    def say_again(self) -> None:
        """A kept callback is read again."""
        if self.kept:
            with self.connection.transaction():
                record_replay(self.connection, self.chance.choice(self.kept), "somebody", None)

    def operate(self) -> None:
        request, operator = self.request(), OperatorAction("somebody", datetime.now(UTC), "they said so")
        status = self.chance.choice([RequestStatus.ACCEPTED, RequestStatus.REJECTED, RequestStatus.FAILED])
        references = [self.reference()] if status is RequestStatus.ACCEPTED else []
        with suppress(StateConflict), self.connection.transaction():
            match self.chance.choice(["retry", "cancel", "resolve"]):
                case "retry":
                    operations.retry(self.connection, request, self.provider, "somebody", None)
                case "cancel":
                    operations.cancel(self.connection, request, self.provider, "somebody", None)
                case _:
                    resolution = operations.RequestResolution(status, references)
                    operations.resolve(self.connection, request, self.provider, resolution, operator)
            self.told.append(f"{request.id} was {request.status}")

    def end_a_job(self) -> None:
        job = find_job(self.connection, derive_job_id("acme", self.reference()))
        if job:
            with self.connection.transaction():
                of_jobs.resolve(
                    self.connection, job, JobStatus.SUCCEEDED, OperatorAction("somebody", datetime.now(UTC), "seen")
                )

    def tell(self) -> None:
        queue_notifications(self.database)


def assert_told(connection: Connection, history: History) -> None:
    """Let all that can be told be told, and assert that nothing is missing."""
    while connection.execute("SELECT id FROM notification_outbox").fetchone():
        history.tell()
    ids = [row[0] for row in connection.execute("SELECT id FROM requests")]
    assert find_pending_notifications(connection, ids) == [], "\n".join(history.told)
    assert connection.execute(TROUBLE).fetchall() == [], "\n".join(history.told)


@contextmanager
def beginning(dsn: str, provider: Provider, seed: str) -> Iterator[History]:
    """Give a history of its own connections, with a request."""
    with closing(connect(dsn)) as connection, closing(Database(dsn, size=2)) as database:
        history = History(connection, database, provider, random.Random(seed))
        history.submit()
        yield history


def findings(history: History, dsn: str) -> list[Finding]:
    reader = ConfiguredCallbackReader(settings(dsn, Path(), {"acme": history.provider}))
    return [one for found in Audit(history.database, reader).run() for one in found]


@pytest.fixture(scope="module")
def shared(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture
def dsn(shared: str) -> str:
    with closing(connect(shared)) as connection:
        connection.execute("TRUNCATE requests, jobs, callbacks, actions, notification_outbox CASCADE")
    return shared


@pytest.mark.parametrize("not_found", ["unknown", "retry"])
@pytest.mark.parametrize("on_ambiguous", ["hold", "retry"])
def test_whatever_happens_is_proven_and_every_end_is_told(dsn: str, on_ambiguous: str, not_found: str) -> None:
    with beginning(dsn, configured(on_ambiguous, not_found), f"{on_ambiguous} {not_found}") as history:
        for _ in range(STEPS):
            history.step()
            assert findings(history, dsn) == [], "\n".join(history.told)
        assert_told(history.connection, history)


@pytest.mark.parametrize("on_ambiguous", ["hold", "retry"])
def test_what_happens_at_once_is_proven_and_told_and_nobody_deadlocks(dsn: str, on_ambiguous: str) -> None:
    provider = configured(on_ambiguous, "retry")

    def live(seed: int) -> None:
        with beginning(dsn, provider, f"{on_ambiguous} {seed}") as history, translate_errors():
            for _ in range(2 * STEPS):
                history.step()

    with ThreadPoolExecutor(4) as pool:
        for life in [pool.submit(live, seed) for seed in range(4)]:
            life.result(60)
    with beginning(dsn, provider, "afterwards") as history:
        assert findings(history, dsn) == []
        assert_told(history.connection, history)
