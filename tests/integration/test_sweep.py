"""What a sweep does with attempts whose worker is gone."""

from uuid import uuid4

from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from tests.factories import NOON, provider
from tests.scene import send_policy


def test_a_lost_attempt_of_a_provider_that_is_no_longer_configured_ends_as_unknown(database: Database) -> None:
    request = NewRequest(uuid4(), "removed", "send", {}, {}, NOON, None, 1e9)
    with database.connection() as connection:
        submit_requests(connection, [request])
        claim_requests(connection, [ProviderCapacity("removed", 1)], -1.0)
    with send_policy(database, provider()) as dispatcher:
        dispatcher.sweep()
    with database.connection() as connection:
        assert connection.execute("SELECT status, ambiguous FROM requests").fetchall() == [("unknown", True)]
