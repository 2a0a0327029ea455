"""The group commit of submissions: one transaction for many calls, and one request for each idempotency key."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from uuid_utils.compat import uuid7

from receiver.domain.paging import Page
from receiver.outbound.submission_batcher import SubmissionBatcher, SubmittedCall, _submit_calls
from receiver.schemas.api.common import list_of
from receiver.schemas.api.requests import RequestSchema, RequestSummarySchema
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import Unstorable
from receiver.store.keys import IdempotentResponse
from receiver.store.requests import NewRequest, find_request_details
from tests.support.factories import NOON

TIMEOUT_S = 10.0


def build_call(*, count: int = 1, key: str | None = None, fingerprint: bytes = b"same", **fields: Any) -> SubmittedCall:
    requests = [build_request(idempotency_key=key, **fields) for _ in range(count)]
    return SubmittedCall(requests, count > 1, 100, fingerprint, "/v1/requests/1")


def build_request(**fields: Any) -> NewRequest:
    defaults: dict[str, Any] = {
        "id": uuid7(),
        "provider": "acme",
        "operation": "send",
        "payload": {"to": "1", "b": [1.5]},
        "metadata": {"order": 7},
        "due_at": None,
        "deadline_at": None,
        "deadline_after": 600.0,
        "client": "shop",
    }
    return NewRequest(**defaults | fields)


def read_stored(connection: Connection, calls: Sequence[SubmittedCall]) -> list[bytes]:
    """Return the responses that the schemas make of the stored requests."""
    stored = [find_request_details(connection, [request.id for request in call.requests]) for call in calls]
    return [
        orjson.dumps(list_of(RequestSummarySchema)().dump(Page(details)))
        if call.is_batch
        else orjson.dumps(RequestSchema().dump(details[0]))
        for call, details in zip(calls, stored, strict=True)
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"provider": "acme/north", "priority": 9, "key": "a-key"},
        {"due_at": NOON, "deadline_at": NOON + timedelta(days=90_000)},
        {"due_at": NOON + timedelta(days=90_000), "deadline_after": 0.1234567},
        {"notify_url": "https://shop.example/hook", "notify_events": ["request", "job"]},
        {"payload": {"long name": 1, "é": {"z": None, "a": -0.5}, "n": 10**18}, "metadata": {}},
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_response_is_that_of_the_stored_requests(connection: Connection, fields: dict[str, Any], count: int) -> None:
    call = build_call(count=count, **fields)

    assert _submit_calls(connection, [call]) == read_stored(connection, [call])


def test_calls_of_a_group_with_one_key_are_one_request(connection: Connection) -> None:
    calls = [build_call(key="once"), build_call(key="once"), build_call(key="once", fingerprint=b"other"), build_call()]

    first, again, other, without_key = _submit_calls(connection, calls)

    assert [first, without_key] == read_stored(connection, [calls[0], calls[3]])
    assert isinstance(first, bytes)
    assert isinstance(again, IdempotentResponse)
    assert again == other
    assert again.fingerprint == b"same"
    assert orjson.loads(again.response) == orjson.loads(first) | {"payload": None, "metadata": None}
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM request_metadata").fetchone() == (2,)


def test_clients_with_one_key_do_not_share_it(connection: Connection) -> None:
    calls = [build_call(key="1", client="shop"), build_call(key="1", client="bank")]

    assert _submit_calls(connection, calls) == read_stored(connection, calls)


def test_call_that_is_stored_again_has_its_first_response(connection: Connection) -> None:
    calls = [build_call(), build_call(count=2), build_call(key="once")]
    first = _submit_calls(connection, calls)

    single, batch, idempotent = _submit_calls(connection, calls)

    assert [single, batch] == first[:2]
    assert isinstance(idempotent, IdempotentResponse)
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == (4,)


def test_unstorable_call_fails_alone(database: Database, connection: Connection) -> None:
    calls = [build_call(key=uuid4().hex, payload={"text": "nul\0" if number == 3 else "ok"}) for number in range(8)]

    def commit(call: SubmittedCall) -> bytes | IdempotentResponse | None:
        try:
            return batcher.commit(call, timeout=TIMEOUT_S)
        except Unstorable:
            return None

    with closing(SubmissionBatcher(database)) as batcher, ThreadPoolExecutor(len(calls)) as pool:
        responses = list(pool.map(commit, calls))

    assert responses.pop(3) is None
    assert responses == read_stored(connection, [*calls[:3], *calls[4:]])
    assert connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (7,)
