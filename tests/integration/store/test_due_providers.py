"""The providers that have due work."""

from uuid import uuid4

from receiver.domain.jobs import JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.due_providers import (
    list_providers_with_due_lookups,
    list_providers_with_due_polls,
    list_providers_with_due_requests,
)
from receiver.store.requests import NewRequest, submit_requests
from tests.support.factories import event, provider


def submit(connection: Connection, *names: str) -> None:
    submit_requests(connection, [NewRequest(uuid4(), name, "send", {}, {}, None, None, 3_600.0) for name in names])


def test_providers_with_due_requests_are_listed_once(connection: Connection) -> None:
    submit(connection, "acme", "acme/north", "acme/north", "other")
    connection.execute("UPDATE requests SET due_at = now() + interval '1 hour' WHERE provider = 'other'")
    assert list_providers_with_due_requests(connection) == ["acme", "acme/north"]


def test_providers_with_due_polls_are_listed_once(connection: Connection) -> None:
    for name in ("acme/north", "acme/south", "other"):
        reconcile(connection, [event(f"ref-{n}", JobStatus.ACCEPTED, actor=provider(name=name)) for n in range(2)])
    connection.execute("UPDATE jobs SET poll_at = now() + interval '1 hour' * (provider = 'other')::integer")
    assert list_providers_with_due_polls(connection) == ["acme/north", "acme/south"]


def test_providers_with_due_lookups_are_listed_once(connection: Connection) -> None:
    submit(connection, "acme/north", "acme/north", "other")
    connection.execute("""UPDATE requests SET status = 'unknown', due_at = NULL, unknown_since = now(),
        next_lookup_at = CASE WHEN provider = 'other' THEN now() + interval '1 hour' ELSE now() END""")
    assert list_providers_with_due_lookups(connection) == ["acme/north"]
