"""Unknown requests in the database: which are locked when a job of them becomes known, and the leases of lookups."""

from uuid import uuid4

from receiver.store.connections import Connection
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, submit_requests
from receiver.store.unknown_requests import claim_lookups, lock_undecided_requests
from tests.support.request_database import RequestDatabase, build_accepted_response


def test_only_undecided_requests_are_locked(request_database: RequestDatabase) -> None:
    waiting, decided = request_database.start_attempts(2)
    request_database.end_attempt(decided, build_accepted_response("r"))
    assert lock_undecided_requests(request_database.connection, [waiting.request_id, decided.request_id]) == {
        waiting.request_id
    }


def test_lookups_are_leased_for_their_providers_seconds(connection: Connection) -> None:
    leases = {"fast": 10.0, "slow": 1_000.0}
    submit_requests(connection, [NewRequest(uuid4(), name, "send", {}, {}, None, None, 3_600.0) for name in leases])
    connection.execute(
        "UPDATE requests SET status = 'unknown', due_at = NULL, unknown_since = now(), next_lookup_at = now()"
    )
    assert len(claim_lookups(connection, [ProviderCapacity(name, 1) for name in leases], leases)) == 2
    rows = connection.execute("SELECT provider, extract(epoch FROM next_lookup_at - now()) FROM requests").fetchall()
    assert {name: round(float(seconds), -1) for name, seconds in rows} == leases
