"""What a sweep does with attempts whose worker is gone."""

from uuid import uuid4

from receiver.client import ProviderClient
from receiver.outbound.dispatch import Dispatcher
from receiver.store.database import Database
from receiver.store.requests import Lane, NewRequest, claim_requests, submit_requests
from tests.factories import NOON, provider


def test_a_lost_attempt_of_a_provider_that_is_no_longer_configured_ends_as_unknown(database: Database) -> None:
    ours = provider()
    dispatcher = Dispatcher(database, {ours.name: ProviderClient(ours)}, {ours.name: ours}, {ours.name: "http://here"})
    request = NewRequest(uuid4(), "removed", "send", {}, {}, NOON, None, 1e9)
    with database.connection() as connection:
        submit_requests(connection, [request])
        claim_requests(connection, [Lane("removed", 1)], -1.0)
    dispatcher.sweep()
    dispatcher.drain(1.0)
    with database.connection() as connection:
        assert connection.execute("SELECT status, ambiguous FROM requests").fetchall() == [("unknown", True)]
