"""A database with requests, whose attempts, responses and callbacks a test creates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.sending import Attempt, NoResponse, Response
from receiver.exchange.loop import record_exchanges
from receiver.exchange.work import CompletedExchange
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.outbound.send import SendTask
from receiver.providers.base import Provider
from receiver.store.connections import Connection
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from tests.support.factories import provider
from tests.support.http import build_report

WITHOUT_TOKENS = provider()
HOLD = provider(callback_token=True)
NO_RESPONSE = NoResponse("dropped", sent=True)


def complete(provider: Provider, attempt: Attempt, outcome: Response | NoResponse) -> CompletedExchange[Attempt]:
    return CompletedExchange(provider, attempt, outcome, datetime.now(UTC), jitter=0.5)


def record_attempts(connection: Connection, exchanges: Sequence[CompletedExchange[Attempt]]) -> None:
    record_exchanges(connection, SendTask({each.provider.name: each.provider for each in exchanges}), exchanges)


@dataclass
class RequestDatabase:
    """A database with requests, whose attempts, responses and callbacks a test creates."""

    connection: Connection
    provider: Provider = HOLD

    def start_attempts(self, number: int = 1, lease: float = 60.0) -> list[Attempt]:
        """Submit requests and start an attempt of each."""
        requests = [NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 3_600.0) for _ in range(number)]
        submit_requests(self.connection, requests)
        return claim_requests(self.connection, [ProviderCapacity("sandbox", number)], {"sandbox": lease})

    def start_next_attempt(self) -> Attempt:
        """Start the next attempt of the queued request."""
        self.connection.execute("UPDATE requests SET due_at = now() WHERE status = 'queued'")
        [attempt] = claim_requests(self.connection, [ProviderCapacity("sandbox", 1)], {"sandbox": 60.0})
        return attempt

    def end_attempt(self, attempt: Attempt, outcome: Response | NoResponse = NO_RESPONSE) -> None:
        """Record the outcome of an attempt."""
        record_attempts(self.connection, [complete(self.provider, attempt, outcome)])

    def call_back(self, reference: str, token: UUID | str | None, state: str = "SENT") -> None:
        """Record a callback that was sent to the URL of an attempt."""
        parsed = parse_callback(VerifiedCallback(self.provider, build_incoming(build_report(reference, state), token)))
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)

    def status(self, attempt: Attempt) -> str:
        return str(self._find_request(attempt)[0])

    def detail(self, attempt: Attempt) -> str:
        return str(self._find_request(attempt)[1])

    def owner(self, reference: str) -> UUID | None:
        row = self.connection.execute("SELECT request_id FROM jobs WHERE reference = %s", [reference]).fetchone()
        assert row
        return UUID(str(row[0])) if row[0] else None

    def _find_request(self, attempt: Attempt) -> Sequence[Any]:
        row = self.connection.execute(
            "SELECT status, detail FROM requests WHERE id = %s", [attempt.request_id]
        ).fetchone()
        assert row
        return row


def build_incoming(body: bytes, token: UUID | str | None = None) -> IncomingCallback:
    target = "/callbacks/sandbox" + (f"?request={token}" if token else "")
    return IncomingCallback("POST", target, {"webhook-id": uuid4().hex}, body, datetime.now(UTC))


def build_accepted_response(reference: str) -> Response:
    return Response(202, {}, b'{"items": [{"id": "%s", "status": "ACK", "code": 1801}]}' % reference.encode())
