"""The sweep of attempts whose worker was lost."""

from uuid import uuid4

from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from tests.support.factories import NOON, provider
from tests.support.scene import sweeping


def test_lost_attempt_of_removed_provider_becomes_unknown(database: Database) -> None:
    request = NewRequest(uuid4(), "removed", "send", {}, {}, NOON, None, 1e9)
    with database.connection() as connection:
        submit_requests(connection, [request])
        claim_requests(connection, [ProviderCapacity("removed", 1)], {"removed": -1.0})
    with sweeping(database, provider()) as sweep:
        sweep()
    with database.connection() as connection:
        assert connection.execute("SELECT status, ambiguous FROM requests").fetchall() == [("unknown", True)]
