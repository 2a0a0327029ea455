"""The sweep of attempts whose worker was lost."""

from uuid import uuid4

from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from tests.factories import NOON, provider
from tests.scene import running_send_loop


def test_lost_attempt_of_removed_provider_becomes_unknown(database: Database) -> None:
    request = NewRequest(uuid4(), "removed", "send", {}, {}, NOON, None, 1e9)
    with database.connection() as connection:
        submit_requests(connection, [request])
        claim_requests(connection, [ProviderCapacity("removed", 1)], -1.0)
    with running_send_loop(database, provider()) as send_loop:
        send_loop.sweep()
    with database.connection() as connection:
        assert connection.execute("SELECT status, ambiguous FROM requests").fetchall() == [("unknown", True)]
