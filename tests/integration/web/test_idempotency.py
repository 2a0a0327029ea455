"""`Idempotency-Key` on submissions, over real HTTP and from two processes."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.store.connections import Connection
from receiver.web.problems import ProblemType
from tests.support.api_calls import build_submission, create_key, send, submit
from tests.support.api_service import CONFIG
from tests.support.declared_operations import assert_invalid, build_target, get_example_body
from tests.support.http import Server, parse_problem
from tests.support.processes import ADMIN_KEY, assert_ends_well, build_provider_toml, running_web, wait_for
from tests.support.proxy import Proxy


def test_repeated_call_gets_first_response(api: Server, web_connection: Connection) -> None:
    key, body = uuid4().hex, build_submission()
    first = submit(api, body, idempotency_key=key)
    web_connection.execute("UPDATE requests SET detail = 'moved on' WHERE id = %s", [UUID(first.json["id"])])
    again = submit(api, dict(reversed(body.items())), idempotency_key=f'"{key}"')
    assert (again.status, again.body, again.headers["location"]) == (202, first.body, first.headers["location"])
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_stored_response_has_no_payload_and_metadata(api: Server, web_connection: Connection) -> None:
    key, marker = uuid4().hex, uuid4().hex
    body = build_submission(metadata={"customer": marker})
    first = submit(api, body, idempotency_key=key)
    stored = web_connection.execute("SELECT response FROM idempotency_keys WHERE key = %s", [key]).fetchone()
    assert stored
    assert marker.encode() not in stored[0]
    assert body["payload"]["client_reference"].encode() not in stored[0]
    web_connection.execute(
        "UPDATE requests SET payload = NULL, metadata = '{}', status = 'failed', due_at = NULL, finished_at = now()"
        " WHERE id = %s",
        [UUID(first.json["id"])],
    )
    again = submit(api, body, idempotency_key=key)
    assert again.status == 202
    assert again.json == first.json | {"payload": None, "metadata": {}}


def test_other_body_with_same_key_is_409(api: Server, web_connection: Connection) -> None:
    key = uuid4().hex
    assert submit(api, build_submission(), idempotency_key=key).status == 202
    before = web_connection.execute("SELECT count(*) FROM requests").fetchone()
    for path, other in (
        ("/v1/requests", build_submission()),
        ("/v1/requests/batch", {"requests": [build_submission()]}),
    ):
        response = send(api, "POST", path, other, idempotency_key=key)
        assert "Idempotency-Key" in parse_problem(response, ProblemType.IDEMPOTENCY_KEY_REUSED)["detail"]
    assert web_connection.execute("SELECT count(*) FROM requests").fetchone() == before


def test_refused_call_does_not_use_up_its_key(api: Server) -> None:
    key = uuid4().hex
    assert submit(api, build_submission(operation="fax"), idempotency_key=key).status == 400
    assert submit(api, build_submission(), idempotency_key=key).status == 202


def test_repeated_batch_gets_first_response(api: Server) -> None:
    key, body = uuid4().hex, {"requests": [build_submission(), build_submission()]}
    first, again = (send(api, "POST", "/v1/requests/batch", body, idempotency_key=key) for _ in range(2))
    assert first.status == again.status == 202
    assert first.body == again.body


def test_clients_do_not_share_idempotency_keys(api: Server) -> None:
    key, body = uuid4().hex, build_submission()
    ids = {submit(api, body, key=create_key(api), idempotency_key=key).json["id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", '""', '"open', "a" * 256, "with\ttab", 'in"side'])
def test_malformed_idempotency_key_is_400_and_named(api: Server, key: str) -> None:
    response = submit(api, build_submission(), idempotency_key=key)
    assert response.status == 400
    assert parse_problem(response)["errors"].keys() == {"Idempotency-Key"}


def test_concurrent_repeats_create_one_request(
    api: Server, web_connection: Connection, web_dsn: str, tmp_path: Path
) -> None:
    key, marker = uuid4().hex, uuid4().hex
    body = build_submission(metadata={"twin": marker})
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, web_dsn, CONFIG, listener) as web,
        ThreadPoolExecutor(50) as pool,
    ):
        second = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        responses = list(pool.map(lambda n: submit((api, second)[n % 2], body, idempotency_key=key), range(200)))
        assert_ends_well(web)
    assert {response.status for response in responses} == {202}
    assert len({response.body for response in responses}) == 1
    stored = web_connection.execute("SELECT count(*) FROM requests WHERE metadata ->> 'twin' = %s", [marker])
    assert stored.fetchone() == (1,)


def test_call_whose_key_is_being_reserved_delays_no_other(api: Server, web_connection: Connection) -> None:
    first_key, key = uuid4().hex, uuid4().hex
    assert submit(api, build_submission(), idempotency_key=first_key).status == 202
    with ThreadPoolExecutor(3) as pool:
        web_connection.execute("BEGIN")
        try:
            web_connection.execute(
                "INSERT INTO idempotency_keys (client, key, fingerprint, created_at) "
                "SELECT client, %s, fingerprint, now() FROM idempotency_keys WHERE key = %s",
                [key, first_key],
            )
            waiting = pool.submit(submit, api, build_submission(), idempotency_key=key)
            others = [
                pool.submit(submit, api, build_submission(), **headers)
                for headers in ({}, {"idempotency_key": uuid4().hex})
            ]
            assert [other.result(5).status for other in others] == [202, 202]
            assert not waiting.done()
        finally:
            web_connection.execute("ROLLBACK")
        assert waiting.result(5).status == 202


def test_repeated_call_is_not_validated_again(api: Server, web_dsn: str, tmp_path: Path) -> None:
    key, body = uuid4().hex, {"requests": [build_submission(provider="another")]}
    single = build_submission(provider="another")
    first = submit(api, single, idempotency_key=key)
    batch = send(api, "POST", "/v1/requests/batch", body, idempotency_key=f"{key}-batch")
    assert (first.status, batch.status) == (202, 202)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, web_dsn, build_provider_toml("sandbox"), listener) as web,
    ):
        later = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert submit(later, build_submission(provider="another")).status == 400
        assert submit(later, single, idempotency_key=key).body == first.body
        assert send(later, "POST", "/v1/requests/batch", body, idempotency_key=f"{key}-batch").body == batch.body
        assert_ends_well(web)


def test_keys_of_one_client_share_idempotency_keys(api: Server, web_connection: Connection) -> None:
    client, idempotency_key, body = f"shop-{uuid4().hex}", uuid4().hex, build_submission()
    old, new = (create_key(api, client=client) for _ in range(2))
    first = submit(api, body, key=old, idempotency_key=idempotency_key)
    repeated = submit(api, body, key=new, idempotency_key=idempotency_key)
    assert (repeated.status, repeated.body) == (202, first.body)
    assert repeated.headers["idempotent-replayed"] == "true"
    other = submit(api, build_submission(), key=new, idempotency_key=idempotency_key)
    parse_problem(other, ProblemType.IDEMPOTENCY_KEY_REUSED)
    stored = web_connection.execute("SELECT count(*) FROM requests WHERE client = %s", [client]).fetchone()
    assert stored == (1,)


def test_rotated_key_repeats_a_call_of_its_predecessor(api: Server) -> None:
    client, idempotency_key, body = f"shop-{uuid4().hex}", uuid4().hex, build_submission()
    old = send(api, "POST", "/v1/keys", {"name": f"old-{client}", "client": client, "scopes": ["submit"]}).json
    first = submit(api, body, key=old["key"], idempotency_key=idempotency_key)
    new = create_key(api, name=f"new-{client}", client=client)
    assert send(api, "POST", f"/v1/keys/{old['id']}/revoke", {"reason": "rotation"}).status == 200
    wait_for(lambda: submit(api, body, key=old["key"], idempotency_key=idempotency_key).status == 401)
    repeated = submit(api, body, key=new, idempotency_key=idempotency_key)
    assert (repeated.body, repeated.headers["location"]) == (first.body, first.headers["location"])
    assert send(api, "GET", first.headers["location"], key=new).json["id"] == first.json["id"]


def test_batch_of_another_key_of_the_client_gets_first_response(api: Server) -> None:
    client, idempotency_key, body = f"shop-{uuid4().hex}", uuid4().hex, {"requests": [build_submission()]}
    bodies = {
        send(
            api, "POST", "/v1/requests/batch", body, key=create_key(api, client=client), idempotency_key=idempotency_key
        ).body
        for _ in range(2)
    }
    assert len(bodies) == 1


@pytest.mark.parametrize("key", ["", " ", '"', '""', "back\\slash", "\xff", "x" * 256, f'"{"x" * 256}"', "tab\there"])
@pytest.mark.parametrize("name", ["submit_request", "submit_batch"])
def test_invalid_idempotency_key_is_named(api: Server, name: str, key: str) -> None:
    method, path = build_target(name)
    headers = {"content-type": "application/json", "idempotency-key": key}
    assert_invalid(api.call(method, path, json.dumps(get_example_body(name)).encode(), headers), "Idempotency-Key")


@pytest.mark.parametrize("key", [None, "a-key"])
def test_submission_whose_commit_lost_its_reply_is_one_request(
    dsn: str, connection: Connection, tmp_path: Path, key: str | None
) -> None:
    headers = {} if key is None else {"idempotency_key": key}
    with (
        Proxy(dsn) as proxy,
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, proxy.dsn, build_provider_toml(), listener, WEB_CONCURRENCY="1") as web,
    ):
        service = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert submit(service, build_submission()).status == 202
        is_cut = proxy.cut_after(b"COMMIT")
        response = submit(service, build_submission(), **headers)
        assert response.status == 202
        assert is_cut.is_set()
        assert_ends_well(web)
    ids = {str(row[0]) for row in connection.execute("SELECT id FROM requests").fetchall()}
    assert response.json["id"] in ids
    assert len(ids) == 2
