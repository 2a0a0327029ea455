"""Actions on many requests: exactly those of the preview, each once, also beside workers, other calls and crashes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.domain.errors import StateConflict
from receiver.domain.filters import RequestFilter
from receiver.domain.sending import CANCELLED_AMBIGUOUS_DETAIL, RequestStatus
from receiver.operations import bulk_actions
from receiver.operations.bulk_actions import UnknownPreview, carry_out, preview
from receiver.store.actions import find_actions
from receiver.store.bulk_actions import BulkAction
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, find_requests, submit_requests
from tests.support.factories import NOON, provider
from tests.support.processes import wait_for

OPERATOR = OperatorAction("ops", NOON, "sent by mistake")
PROVIDERS = {"sandbox": provider()}
CANCEL = BulkCall("shop", None, BulkActionKind.CANCEL, RequestFilter())
NOTIFY_URL = "https://shop.example/webhook"
CARRY_OUT = """
import sys
from uuid import UUID
from receiver.operations import bulk_actions
from receiver.store.database import Database
from tests.integration.operations.test_bulk_actions import CANCEL, OPERATOR, PROVIDERS

bulk_actions.BATCH_SIZE = 10
bulk_actions.carry_out(Database(sys.argv[1]), CANCEL, PROVIDERS, UUID(sys.argv[2]), OPERATOR, time_limit_s=60.0)
"""


def submit(connection: Connection, count: int, **overrides: Any) -> list[UUID]:
    """Queue requests and return their ids."""
    request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 3_600.0)
    requests = [replace(request, id=uuid7(), **overrides) for _ in range(count)]
    submit_requests(connection, requests)
    return [request.id for request in requests]


def set_status(connection: Connection, ids: Sequence[UUID], status: str, *, ambiguous: bool = False) -> None:
    finished = status in {"rejected", "failed", "cancelled", "completed"}
    connection.execute(
        """
        UPDATE requests SET status = %s, ambiguous = %s, finished_at = CASE WHEN %s THEN now() END,
            due_at = CASE WHEN %s = 'queued' THEN now() + interval '1 hour' END
        WHERE id = ANY(%s)
        """,
        [status, ambiguous, finished, status, list(ids)],
    )


def preview_call(connection: Connection, call: BulkCall = CANCEL, *, limit: int = 100_001) -> BulkAction:
    with connection.transaction():
        return preview(connection, call, PROVIDERS, uuid7(), limit)


def run(database: Database, action: BulkAction, call: BulkCall = CANCEL) -> BulkAction:
    return carry_out(database, call, PROVIDERS, action.id, OPERATOR, time_limit_s=60.0)


def count_by_status(connection: Connection, ids: Sequence[UUID]) -> Mapping[str, int]:
    rows = connection.execute("SELECT status, count(*) FROM requests WHERE id = ANY(%s) GROUP BY 1", [list(ids)])
    return dict(rows.fetchall())


def count_actions(connection: Connection) -> Sequence[Any]:
    return connection.execute("SELECT action, count(*), count(DISTINCT subject) FROM actions GROUP BY 1").fetchall()


def test_action_changes_exactly_the_requests_of_its_preview(database: Database, connection: Connection) -> None:
    ids = submit(connection, 2_500)
    action = preview_call(connection)
    later = submit(connection, 10)
    assert (action.count, action.processed, list(action.sample_ids)) == (2_500, 0, ids[:10])
    set_status(connection, ids[:7], "accepted")
    done = run(database, action)
    assert (done.count, done.processed, done.applied) == (2_500, 2_500, 2_493)
    assert count_by_status(connection, ids) == {"cancelled": 2_493, "accepted": 7}
    assert count_by_status(connection, later) == {"queued": 10}
    assert count_actions(connection) == [("cancel", 2_493, 2_493)]
    [recorded] = find_actions(connection, ids[-1])
    assert (recorded.actor, recorded.action, recorded.reason) == ("ops", "cancel", "sent by mistake")


def test_repeated_call_changes_nothing_and_returns_the_result(database: Database, connection: Connection) -> None:
    ids = submit(connection, 20)
    action = preview_call(connection)
    first = run(database, action)
    set_status(connection, ids, "queued")
    second = run(database, action)
    assert (second.processed, second.applied) == (first.processed, first.applied) == (20, 20)
    assert count_by_status(connection, ids) == {"queued": 20}
    assert count_actions(connection) == [("cancel", 20, 20)]


def test_concurrent_calls_with_one_token_act_once(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_actions, "BATCH_SIZE", 20)
    submit(connection, 200)
    action = preview_call(connection)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(database, action), range(4)))
    assert {(result.processed, result.applied) for result in results} == {(200, 200)}
    assert count_actions(connection) == [("cancel", 200, 200)]


def test_cancelled_request_is_not_claimed_by_a_worker(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_actions, "BATCH_SIZE", 20)
    ids = submit(connection, 400)
    action = preview_call(connection)
    claimed: list[UUID] = []

    def claim() -> None:
        with database.connection() as worker_connection:
            while attempts := claim_requests(worker_connection, [ProviderCapacity("sandbox", 7)], {"sandbox": 60.0}):
                claimed.extend(attempt.request_id for attempt in attempts)

    workers = [threading.Thread(target=claim) for _ in range(2)]
    for worker in workers:
        worker.start()
    done = run(database, action)
    for worker in workers:
        worker.join()
    assert done.processed == 400
    assert len(claimed) == len(set(claimed)) == 400 - done.applied
    assert count_by_status(connection, claimed) == ({"sending": len(claimed)} if claimed else {})
    assert count_by_status(connection, list(set(ids) - set(claimed))) == (
        {"cancelled": done.applied} if done.applied else {}
    )


def test_action_continues_after_its_process_was_killed(database: Database, connection: Connection) -> None:
    ids = submit(connection, 100)
    action = preview_call(connection)
    connection.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END'"
    )
    connection.execute("CREATE TRIGGER slowly AFTER UPDATE ON requests EXECUTE FUNCTION slowly()")
    process = subprocess.Popen([sys.executable, "-c", CARRY_OUT, database.dsn, str(action.id)])
    wait_for(lambda: count_by_status(connection, ids).get("cancelled", 0) >= 20)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    connection.execute("DROP TRIGGER slowly ON requests")
    assert 20 <= count_by_status(connection, ids)["cancelled"] < 100
    done = run(database, action)
    assert (done.processed, done.applied) == (100, 100)
    assert count_by_status(connection, ids) == {"cancelled": 100}
    assert count_actions(connection) == [("cancel", 100, 100)]


def test_time_limit_leaves_the_rest_for_the_next_call(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_actions, "BATCH_SIZE", 10)
    submit(connection, 25)
    action = preview_call(connection)
    processed = [
        carry_out(database, CANCEL, PROVIDERS, action.id, OPERATOR, time_limit_s=0.0).processed for _ in range(4)
    ]
    assert processed == [10, 20, 25, 25]


def test_lost_connection_is_replaced_and_acts_once(database: Database, connection: Connection) -> None:
    submit(connection, 30)
    action = preview_call(connection)
    connection.execute(
        """
        CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('failures') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
            RETURN NULL;
        END $$
        """
    )
    connection.execute("CREATE SEQUENCE failures")
    connection.execute("CREATE TRIGGER fail_once AFTER UPDATE ON bulk_actions EXECUTE FUNCTION fail_once()")
    assert run(database, action).applied == 30
    assert count_actions(connection) == [("cancel", 30, 30)]


def test_cancelled_requests_are_notified_unless_ambiguous(database: Database, connection: Connection) -> None:
    certain, ambiguous = submit(connection, 2, notify_url=NOTIFY_URL), submit(connection, 1, notify_url=NOTIFY_URL)
    set_status(connection, ambiguous, "queued", ambiguous=True)
    assert run(database, preview_call(connection)).applied == 3
    assert count_by_status(connection, certain + ambiguous) == {"cancelled": 2, "unknown": 1}
    [detail] = connection.execute("SELECT detail FROM requests WHERE status = 'unknown'").fetchone() or ()
    assert detail == CANCELLED_AMBIGUOUS_DETAIL
    outbox = connection.execute("SELECT request_id FROM notification_outbox ORDER BY request_id").fetchall()
    assert [request_id for (request_id,) in outbox] == certain


@pytest.mark.parametrize("metadata", [{}, {"campaign": "spring"}])
def test_notifications_match_only_by_their_provider(connection: Connection, metadata: dict[str, str]) -> None:
    requests = submit(connection, 2, metadata=metadata)
    notifications = submit(connection, 1, provider="notify", operation="notify", metadata=metadata)
    unnamed, named = RequestFilter(metadata=metadata), RequestFilter(metadata=metadata, providers=["notify"])
    assert list(preview_call(connection, replace(CANCEL, request_filter=unnamed)).sample_ids) == requests
    assert list(preview_call(connection, replace(CANCEL, request_filter=named)).sample_ids) == notifications


def test_retry_queues_requests_of_configured_providers(database: Database, connection: Connection) -> None:
    ids = [request_id for status in BulkActionKind.RETRY.statuses for request_id in submit(connection, 2)]
    for index, status in enumerate(BulkActionKind.RETRY.statuses):
        set_status(connection, ids[2 * index : 2 * index + 2], status)
    removed = submit(connection, 3, provider="removed")
    set_status(connection, removed, "failed")
    call = replace(CANCEL, kind=BulkActionKind.RETRY)
    action = preview_call(connection, call)
    assert (action.count, run(database, action, call).applied) == (8, 8)
    assert count_by_status(connection, ids + removed) == {"queued": 8, "failed": 3}
    with pytest.raises(StateConflict, match="removed is not configured"):
        preview_call(connection, replace(call, request_filter=RequestFilter(providers=["removed"])))


def test_provider_of_the_filter_includes_its_accounts(connection: Connection) -> None:
    providers = {name: provider(name=name) for name in ("sandbox", "acme/north", "acme/south")}
    by_name = {name: submit(connection, 1, provider=name)[0] for name in (*providers, "acme")}
    expected = {"acme": ["acme/north", "acme/south", "acme"], "acme/north": ["acme/north"], "sandbox": ["sandbox"]}
    for name, names in expected.items():
        call = replace(CANCEL, request_filter=RequestFilter(providers=[name]))
        for kind in (BulkActionKind.CANCEL, BulkActionKind.SEND_NOW):
            with connection.transaction():
                action = preview(connection, replace(call, kind=kind), providers, uuid7(), 100)
            is_sent_to = kind is BulkActionKind.CANCEL
            assert set(action.sample_ids) == {by_name[each] for each in names if is_sent_to or each in providers}


def test_waiting_requests_are_sent_now(database: Database, connection: Connection) -> None:
    ids = submit(connection, 5)
    set_status(connection, ids, "queued")
    call = replace(CANCEL, kind=BulkActionKind.SEND_NOW)
    assert claim_requests(connection, [ProviderCapacity("sandbox", 9)], {"sandbox": 60.0}) == []
    assert run(database, preview_call(connection, call), call).applied == 5
    assert len(claim_requests(connection, [ProviderCapacity("sandbox", 9)], {"sandbox": 60.0})) == 5


def test_unknown_requests_are_resolved_without_their_provider(database: Database, connection: Connection) -> None:
    ids = submit(connection, 3, provider="removed", notify_url=NOTIFY_URL)
    set_status(connection, ids, "unknown")
    call = replace(CANCEL, kind=BulkActionKind.RESOLVE, status=RequestStatus.REJECTED)
    assert run(database, preview_call(connection, call), call).applied == 3
    stored = find_requests(connection, ids)
    assert {(request.status, request.detail) for request in stored} == {
        (RequestStatus.REJECTED, "resolved by ops: sent by mistake")
    }
    [recorded] = find_actions(connection, ids[0])
    assert (recorded.action, recorded.reason) == ("resolve", "rejected: sent by mistake")
    assert connection.execute("SELECT count(*) FROM notification_outbox").fetchone() == (3,)


@pytest.mark.parametrize("metadata", [{}, {"campaign": "spring"}], ids=["all", "metadata"])
@pytest.mark.parametrize(
    ("request_filter", "expected"),
    [
        (RequestFilter(), [0, 2]),
        (RequestFilter(reference_conflict=True), [0]),
        (RequestFilter(reference_conflict=False), [2]),
        (RequestFilter(status=RequestStatus.ACCEPTED), [0]),
        (RequestFilter(status=RequestStatus.UNKNOWN), [2]),
        (RequestFilter(operation="render"), []),
        (RequestFilter(providers=["other"]), []),
        (RequestFilter(created_to=NOON), []),
    ],
)
def test_reference_conflicts_are_resolved_as_unknown_requests_are(
    database: Database,
    connection: Connection,
    request_filter: RequestFilter,
    expected: list[int],
    metadata: Mapping[str, str],
) -> None:
    ids = submit(connection, 3, metadata=metadata)
    set_status(connection, ids[:2], "accepted")
    set_status(connection, ids[2:], "unknown")
    connection.execute("UPDATE requests SET conflict_deadline_at = now() WHERE id = %s", ids[:1])
    call = replace(
        CANCEL,
        kind=BulkActionKind.RESOLVE,
        status=RequestStatus.COMPLETED,
        request_filter=replace(request_filter, metadata=metadata),
    )
    action = preview_call(connection, call)
    assert list(action.sample_ids) == [ids[index] for index in expected]
    assert run(database, action, call).applied == len(expected)
    assert count_by_status(connection, ids).get("completed", 0) == len(expected)
    assert count_by_status(connection, ids[1:2]) == {"accepted": 1}


@pytest.mark.parametrize("metadata", [{}, {"campaign": "spring"}], ids=["all", "metadata"])
def test_requests_with_an_erased_payload_are_not_retried(connection: Connection, metadata: Mapping[str, str]) -> None:
    ids = submit(connection, 2, metadata=metadata)
    set_status(connection, ids, "failed")
    connection.execute("UPDATE requests SET payload = NULL, erased_at = now() WHERE id = %s", ids[:1])
    call = replace(CANCEL, kind=BulkActionKind.RETRY, request_filter=RequestFilter(metadata=metadata))
    assert list(preview_call(connection, call).sample_ids) == ids[1:]


@pytest.mark.parametrize(
    ("request_filter", "own_client", "expected"),
    [
        (RequestFilter(metadata={"campaign": "spring"}), None, [0, 1]),
        (RequestFilter(metadata={"campaign": "spring", "order": "2"}), None, [1]),
        (RequestFilter(metadata={"campaign": "spring"}), "shop", [0]),
        (RequestFilter(providers=["other"]), None, [2]),
        (RequestFilter(providers=[]), None, []),
        (RequestFilter(operation="render"), None, [3]),
        (RequestFilter(), "shop", [0, 3]),
        (RequestFilter(status=RequestStatus.QUEUED), None, [0, 1, 2, 3]),
        (RequestFilter(providers=["notify"]), None, [5]),
        (RequestFilter(reference_conflict=True), None, []),
    ],
)
def test_preview_finds_the_requests_of_the_filter(
    connection: Connection, request_filter: RequestFilter, own_client: str | None, expected: list[int]
) -> None:
    ids = [
        *submit(connection, 1, client="shop", metadata={"campaign": "spring", "order": 1}),
        *submit(connection, 1, client="kiosk", metadata={"campaign": "spring", "order": 2}),
        *submit(connection, 1, client="kiosk", provider="other"),
        *submit(connection, 1, client="shop", operation="render"),
        *submit(connection, 1, client="shop"),
        *submit(connection, 1, client="shop", provider="notify"),
    ]
    set_status(connection, ids[4:5], "accepted")
    action = preview_call(connection, replace(CANCEL, request_filter=request_filter, own_client=own_client))
    assert list(action.sample_ids) == [ids[index] for index in expected]
    assert action.count == len(expected)


def test_preview_counts_to_its_limit(connection: Connection) -> None:
    submit(connection, 12, metadata={"campaign": "spring"})
    assert preview_call(connection, limit=11).count == 11
    call = replace(CANCEL, request_filter=RequestFilter(metadata={"campaign": "spring"}))
    assert preview_call(connection, call, limit=11).count == 11


def test_status_to_which_the_action_does_not_apply_is_a_conflict(connection: Connection) -> None:
    call = replace(CANCEL, request_filter=RequestFilter(status=RequestStatus.ACCEPTED))
    with pytest.raises(StateConflict, match="action cancel applies to queued requests"):
        preview_call(connection, call)


@pytest.mark.parametrize(
    "other",
    [
        replace(CANCEL, kind=BulkActionKind.SEND_NOW),
        replace(CANCEL, request_filter=RequestFilter(operation="send")),
        replace(CANCEL, own_client="shop"),
    ],
    ids=["action", "filter", "client"],
)
def test_token_of_another_call_is_a_conflict(database: Database, connection: Connection, other: BulkCall) -> None:
    ids = submit(connection, 1)
    with pytest.raises(StateConflict, match="another action or filter"):
        run(database, preview_call(connection), other)
    assert count_by_status(connection, ids) == {"queued": 1}


def test_unknown_expired_or_foreign_token_is_refused(database: Database, connection: Connection) -> None:
    ids = submit(connection, 1)
    action = preview_call(connection)
    with pytest.raises(UnknownPreview):
        run(database, replace(action, id=uuid4()))
    with pytest.raises(UnknownPreview):
        run(database, action, replace(CANCEL, client="kiosk"))
    connection.execute("UPDATE bulk_actions SET expires_at = now()")
    with pytest.raises(UnknownPreview):
        run(database, action)
    assert count_by_status(connection, ids) == {"queued": 1}
