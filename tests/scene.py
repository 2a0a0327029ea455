"""Requests on their way through a real worker to a provider of the test's own."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from receiver.exchange.channels import Channels
from receiver.outbound.dispatch import SendLoop
from receiver.providers.base import Provider as AnyProvider
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database, connect
from receiver.store.requests import NewRequest, submit_requests
from tests.processes import declared, wait_for
from tests.provider import Provider, Received, Script

SETTLED = frozenset({"accepted", "completed", "rejected", "failed", "unknown"})


class Sent(NamedTuple):
    """What became of a request; its jobs' statuses by reference."""

    status: str
    detail: str | None
    failures: int
    jobs: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """A database, and a provider that workers send to."""

    dsn: str
    connection: Connection
    provider: Provider

    def script(self, name: str, *replies: Script) -> None:
        """Say how the provider answers requests of a name."""
        self.provider.script(name, *replies)

    def received(self, name: str) -> list[Received]:
        """Give what the provider received of a name."""
        return self.provider.of(name)

    def submit(
        self,
        via: str,
        *names: str,
        deadline: float = 3_600.0,
        send_after: datetime | None = None,
        tell: bool = False,
    ) -> list[UUID]:
        """Queue a request for each name, all at once; give their ids. With `tell` the provider is also told the end."""
        requests = [
            NewRequest(
                id=uuid4(),
                provider=via,
                operation="send",
                payload={"client_reference": name, "to": ["2348030000000"], "text": "hello"},
                metadata={},
                due_at=send_after,
                deadline_at=None,
                deadline_after=deadline,
                notify_url=f"{self.provider.url}/told/told-{name}" if tell else None,
            )
            for name in names
        ]
        submit_requests(self.connection, requests)
        return [request.id for request in requests]

    def look(self, request: UUID) -> Sent:
        """Give what has become of a request until now."""
        row = self.connection.execute(
            "SELECT status, detail, failures FROM requests WHERE id = %s", [request]
        ).fetchone()
        assert row is not None
        jobs = self.connection.execute("SELECT reference, status FROM jobs WHERE request_id = %s", [request]).fetchall()
        status, detail, failures = row
        return Sent(status, detail, failures, dict(jobs))

    def becomes(self, request: UUID, *statuses: str) -> Sent:
        """Wait until a request has one of the statuses."""
        wait_for(lambda: self.look(request).status in statuses)
        return self.look(request)

    def settled(self, request: UUID) -> Sent:
        """Wait until a request is neither queued nor being sent."""
        return self.becomes(request, *SETTLED)

    def responses(self, request: UUID) -> list[int | None]:
        """Give the answer's status of each attempt; all must be over."""
        rows = self.connection.execute(
            "SELECT response_status, finished_at, error FROM attempts WHERE request_id = %s ORDER BY number", [request]
        ).fetchall()
        assert all(finished_at and (status is None) == (error is not None) for status, finished_at, error in rows)
        return [status for status, _, _ in rows]

    def lose_leases(self, *requests: UUID) -> None:
        """Let the leases of requests have run out."""
        expire = "UPDATE requests SET leased_until = now() - interval '1 second' WHERE id = ANY(%s)"
        self.connection.execute(expire, [list(requests)])

    def declared(self, name: str, more: str) -> str:
        """Declare a provider that is served under its name."""
        return declared(name, f"{self.provider.url}/{name}", more)


@contextmanager
def set_scene(dsn: str, provider: Provider) -> Iterator[Scene]:
    """Look at a database within the context."""
    with closing(connect(dsn)) as connection:
        yield Scene(dsn, connection, provider)


@contextmanager
def send_policy(database: Database, *providers: AnyProvider) -> Iterator[SendLoop]:
    """Give a dispatcher that may send for some seconds; what it sends is recorded at the end of the context."""
    clock = Clock(database)
    named = {provider.name: provider for provider in providers}
    with closing(clock), Channels(database, named, dict.fromkeys(named, "http://here")) as channels:
        channels.rate_limiter.renew()
        dispatcher = SendLoop(database, channels, clock)
        yield dispatcher
        dispatcher.drain(20.0)
