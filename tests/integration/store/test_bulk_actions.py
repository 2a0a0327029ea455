"""Previews of actions on many requests: how long they are stored, and what finding their requests reads."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from receiver.devtools.scratch import scratch_database
from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.domain.filters import RequestFilter
from receiver.domain.sending import RequestStatus
from receiver.store.bulk_actions import MAX_PREVIEWS, insert_bulk_action, lock_bulk_action
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from tests.support.plans import JOB_COUNT, explain, record_statements
from tests.support.population import RARE, RARE_CLIENT, populate

CALL = BulkCall("shop", None, BulkActionKind.CANCEL, RequestFilter())


@pytest.fixture(scope="module")
def populated_connection(server: str, template: str) -> Iterator[Connection]:
    """A connection to a database as it is after some time in production."""
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        populate(connection, JOB_COUNT)
        yield connection


def insert(connection: Connection, client: str = "shop") -> UUID:
    call = BulkCall(client, None, BulkActionKind.CANCEL, RequestFilter())
    with connection.transaction():
        return insert_bulk_action(
            connection, uuid7(), call, statuses=[RequestStatus.QUEUED], providers=None, limit=10
        ).id


def list_previews(connection: Connection) -> list[UUID]:
    return [token for (token,) in connection.execute("SELECT id FROM bulk_actions ORDER BY id")]


def test_newest_previews_of_each_client_are_stored(connection: Connection) -> None:
    other = insert(connection, "kiosk")
    tokens = [insert(connection) for _ in range(MAX_PREVIEWS + 2)]
    assert list_previews(connection) == [other, *tokens[2:]]


def test_expired_previews_are_deleted_by_the_next_one(connection: Connection) -> None:
    expired = insert(connection, "kiosk")
    connection.execute("UPDATE bulk_actions SET expires_at = now()")
    assert lock_bulk_action(connection, expired, "kiosk") is None
    assert list_previews(connection) == [expired]
    token = insert(connection)
    assert list_previews(connection) == [token]


def test_preview_that_is_carried_out_is_not_waited_for(connection: Connection, database: Database) -> None:
    tokens = [insert(connection) for _ in range(MAX_PREVIEWS)]
    with database.transaction() as other:
        assert lock_bulk_action(other, tokens[0], "shop")
        assert len(list_previews(connection)) == MAX_PREVIEWS
        insert(connection)
        assert tokens[0] in list_previews(connection)


@pytest.mark.parametrize("status", [RequestStatus.QUEUED, RequestStatus.FAILED])
@pytest.mark.parametrize(
    "fields",
    [
        {"request_filter": RequestFilter()},
        {"request_filter": RequestFilter(operation="render")},
        {"request_filter": RequestFilter(), "own_client": RARE_CLIENT},
        {"request_filter": RequestFilter(metadata={"order": "777"})},
        {"request_filter": RequestFilter(metadata={"environment": "production", "order": "777"})},
    ],
    ids=["all", "operation", "client", "metadata", "frequent metadata"],
)
def test_requests_of_a_preview_are_found_by_index(
    populated_connection: Connection, fields: dict[str, Any], status: RequestStatus
) -> None:
    call = BulkCall(**{"client": "shop", "own_client": None, "kind": BulkActionKind.CANCEL, **fields})
    with populated_connection.transaction(force_rollback=True):
        with record_statements(populated_connection) as statements:
            action = insert_bulk_action(
                populated_connection, uuid7(), call, statuses=[status], providers=[RARE], limit=100_001
            )
        populated_connection.execute("DELETE FROM bulk_actions")
        plan = explain(populated_connection, statements[-1])
    assert plan.scanned_tables <= {"bulk_actions"}, plan.text
    assert plan.rows <= 10 * (action.count + 10), plan.text
