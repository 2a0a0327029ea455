"""Unknown requests in the database: which are locked when a job of them becomes known."""

from receiver.store.unknown_requests import lock_undecided_requests
from tests.support.request_database import RequestDatabase, build_accepted_response


def test_only_undecided_requests_are_locked(request_database: RequestDatabase) -> None:
    waiting, decided = request_database.start_attempts(2)
    request_database.end_attempt(decided, build_accepted_response("r"))
    assert lock_undecided_requests(request_database.connection, [waiting.request_id, decided.request_id]) == {
        waiting.request_id
    }
