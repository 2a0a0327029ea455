"""A scene for tests of sending: a database, a real worker, and the test's own provider."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.domain.sending import DEFAULT_PRIORITY, Attempt
from receiver.exchange.admission import NO_SLOT
from receiver.exchange.channels import Channels
from receiver.exchange.loop import ExchangeLoop, ExchangeTask
from receiver.exchange.work import UpdateT, WorkT
from receiver.outbound.send import SendTask
from receiver.outbound.sweep import sweep_requests
from receiver.providers.base import Provider as AnyProvider
from receiver.store.clock import Clock
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.requests import AttemptOutcome, NewRequest, submit_requests
from tests.support.processes import build_provider_toml, wait_for
from tests.support.provider import Provider, Received, Script

SETTLED = frozenset({"accepted", "completed", "rejected", "failed", "unknown"})


class Sent(NamedTuple):
    """The state of a request; `jobs` maps references to statuses."""

    status: str
    detail: str | None
    failures: int
    jobs: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """A database, and the provider that workers send to."""

    dsn: str
    connection: Connection
    provider: Provider

    def script(self, name: str, *replies: Script) -> None:
        """Set the provider's replies to requests of this name."""
        self.provider.script(name, *replies)

    def received(self, name: str) -> list[Received]:
        """Return the requests of this name that the provider received."""
        return self.provider.find_received(name)

    def received_by(self, via: str) -> list[Received]:
        """Return all requests that the provider received under one of its names."""
        return [received for received in self.provider.received if received.path.startswith(f"/{via}/")]

    def submit(
        self,
        via: str,
        *names: str,
        deadline: float = 3_600.0,
        send_after: datetime | None = None,
        notify: bool = False,
        notify_events: Sequence[str] | None = None,
        priority: int = DEFAULT_PRIORITY,
    ) -> list[UUID]:
        """Queue a request for each name in one transaction and return their ids.

        With `notify` the provider also gets the webhook notifications, of the `notify_events`.
        """
        requests = [
            NewRequest(
                id=uuid7(),
                provider=via,
                operation="send",
                payload={"client_reference": name, "to": ["2348030000000"], "text": "hello"},
                metadata={},
                due_at=send_after,
                deadline_at=None,
                deadline_after=deadline,
                notify_url=f"{self.provider.url}/webhook/notified-{name}" if notify else None,
                notify_events=notify_events,
                priority=priority,
            )
            for name in names
        ]
        submit_requests(self.connection, requests)
        return [request.id for request in requests]

    def look(self, request: UUID) -> Sent:
        """Return the current state of a request."""
        row = self.connection.execute(
            "SELECT status, detail, failures FROM requests WHERE id = %s", [request]
        ).fetchone()
        assert row is not None
        jobs = self.connection.execute("SELECT reference, status FROM jobs WHERE request_id = %s", [request]).fetchall()
        status, detail, failures = row
        return Sent(status, detail, failures, dict(jobs))

    def wait_until(self, request: UUID, *statuses: str) -> Sent:
        """Wait until a request has one of the statuses, and return its state."""
        wait_for(lambda: self.look(request).status in statuses)
        return self.look(request)

    def wait_until_settled(self, request: UUID) -> Sent:
        """Wait until a request is neither queued nor being sent, and return its state."""
        return self.wait_until(request, *SETTLED)

    def responses(self, request: UUID) -> list[int | None]:
        """Return the response status of each attempt; all attempts must have ended.

        Attempts without a send slot are left out: they sent nothing, and on a loaded machine there is one now and then
        after the provider has slowed down.
        """
        select = b"""
            SELECT response_status, finished_at, error FROM attempts
            WHERE request_id = %s AND error IS DISTINCT FROM %s ORDER BY number
            """
        rows = self.connection.execute(select, [request, NO_SLOT]).fetchall()
        assert all(finished_at and (status is None) == (error is not None) for status, finished_at, error in rows)
        return [status for status, _, _ in rows]

    def lose_leases(self, *requests: UUID) -> None:
        """Expire the leases of requests."""
        expire = "UPDATE requests SET leased_until = now() - interval '1 second' WHERE id = ANY(%s)"
        self.connection.execute(expire, [list(requests)])

    def build_provider_toml(self, name: str, more: str) -> str:
        """Build the configuration of a provider that is served under its name."""
        return build_provider_toml(name, f"{self.provider.url}/{name}", more)


@contextmanager
def open_scene(dsn: str, provider: Provider) -> Iterator[Scene]:
    """Open a scene of this database and provider."""
    with closing(connect(dsn)) as connection:
        yield Scene(dsn, connection, provider)


@contextmanager
def running_loop(
    task: ExchangeTask[WorkT, UpdateT], database: Database, *providers: AnyProvider
) -> Iterator[ExchangeLoop[WorkT, UpdateT]]:
    """Yield a loop that may exchange for some seconds; its outcomes are recorded at the end of the context."""
    clock = Clock(database)
    by_name = {provider.name: provider for provider in providers}
    with closing(clock), Channels(database, by_name, dict.fromkeys(by_name, "http://here")) as channels:
        channels.rate_limiter.renew()
        loop = ExchangeLoop(task, database, channels, clock)
        yield loop
        loop.drain(20.0)


def running_send_loop(
    database: Database, *providers: AnyProvider
) -> AbstractContextManager[ExchangeLoop[Attempt, AttemptOutcome]]:
    """Return a context with a loop that sends; see `running_loop`."""
    return running_loop(SendTask({provider.name: provider for provider in providers}), database, *providers)


@contextmanager
def sweeping(database: Database, *providers: AnyProvider) -> Iterator[Callable[[], float]]:
    """Yield a function that sweeps the requests once, with these providers configured."""
    with closing(Clock(database)) as clock:
        yield partial(sweep_requests, database, {provider.name: provider for provider in providers}, clock)
