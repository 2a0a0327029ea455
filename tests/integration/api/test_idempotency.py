"""`Idempotency-Key` on submissions, over real HTTP and from two processes."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.store.database import Connection
from tests.http import Server, problem_of
from tests.integration.api.calls import new_key, post, send, submission
from tests.integration.api.conftest import CONFIG
from tests.processes import ADMIN_KEY, assert_ends_well, declared, running_web


def test_whoever_repeats_a_call_is_given_the_first_answer(api: Server, connection: Connection) -> None:
    key, given = uuid4().hex, submission()
    first = post(api, given, idempotency_key=key)
    connection.execute("UPDATE requests SET detail = 'moved on' WHERE id = %s", [UUID(first.json["id"])])
    again = post(api, dict(reversed(given.items())), idempotency_key=f'"{key}"')
    assert (again.status, again.body, again.headers["location"]) == (202, first.body, first.headers["location"])
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_another_body_under_the_same_key_is_409_and_sends_nothing(api: Server, connection: Connection) -> None:
    key = uuid4().hex
    assert post(api, submission(), idempotency_key=key).status == 202
    before = connection.execute("SELECT count(*) FROM requests").fetchone()
    for path, other in (("/v1/requests", submission()), ("/v1/requests/batch", {"requests": [submission()]})):
        response = send(api, "POST", path, other, idempotency_key=key)
        assert response.status == 409
        assert "Idempotency-Key" in problem_of(response)["detail"]
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == before


def test_a_call_that_was_refused_does_not_use_its_key_up(api: Server) -> None:
    key = uuid4().hex
    assert post(api, submission(operation="fax"), idempotency_key=key).status == 400
    assert post(api, submission(), idempotency_key=key).status == 202


def test_a_batch_is_repeated_whole(api: Server) -> None:
    key, given = uuid4().hex, {"requests": [submission(), submission()]}
    first, again = (send(api, "POST", "/v1/requests/batch", given, idempotency_key=key) for _ in range(2))
    assert first.status == again.status == 202
    assert first.body == again.body


def test_keys_of_two_clients_do_not_meet(api: Server) -> None:
    key, given = uuid4().hex, submission()
    ids = {post(api, given, key=new_key(api), idempotency_key=key).json["id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("bad", ["", '""', '"open', "a" * 256, "with\ttab", 'in"side'])
def test_a_malformed_key_is_400_and_named(api: Server, bad: str) -> None:
    response = post(api, submission(), idempotency_key=bad)
    assert response.status == 400
    assert problem_of(response)["errors"].keys() == {"Idempotency-Key"}


def test_a_hundred_twins_at_two_processes_are_one_request(
    api: Server, connection: Connection, dsn: str, tmp_path: Path
) -> None:
    key, mark = uuid4().hex, uuid4().hex
    given = submission(metadata={"twin": mark})
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, CONFIG, listener) as web,
        ThreadPoolExecutor(50) as pool,
    ):
        second = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        responses = list(pool.map(lambda n: post((api, second)[n % 2], given, idempotency_key=key), range(200)))
        assert_ends_well(web)
    assert {response.status for response in responses} == {202}
    assert len({response.body for response in responses}) == 1
    stored = connection.execute("SELECT count(*) FROM requests WHERE metadata ->> 'twin' = %s", [mark])
    assert stored.fetchone() == (1,)


def test_what_was_taken_is_not_judged_again_when_it_is_repeated(api: Server, dsn: str, tmp_path: Path) -> None:
    key, given = uuid4().hex, {"requests": [submission(provider="another")]}
    alone = submission(provider="another")
    first = post(api, alone, idempotency_key=key)
    batch = send(api, "POST", "/v1/requests/batch", given, idempotency_key=f"{key}-batch")
    assert (first.status, batch.status) == (202, 202)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, declared("sandbox"), listener) as web,
    ):
        later = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert post(later, submission(provider="another")).status == 400
        assert post(later, alone, idempotency_key=key).body == first.body
        assert send(later, "POST", "/v1/requests/batch", given, idempotency_key=f"{key}-batch").body == batch.body
        assert_ends_well(web)
