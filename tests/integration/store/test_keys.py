"""API keys in the database: their list, and the calls that a key may make in a minute."""

from functools import partial
from uuid import uuid4

from receiver.store.connections import Connection
from receiver.store.keys import (
    ApiKey,
    lease_tokens,
    list_idempotent_responses,
    reserve_idempotency_key,
    save_response,
)
from tests.support.factories import NOON
from tests.support.list_search import fetch_all
from tests.support.listed import (
    sort_newest_first,
)
from tests.support.lists import list_keys


def test_rate_limit_resets_every_minute(connection: Connection) -> None:
    key = uuid4()
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 8
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 2
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 0
    connection.execute("UPDATE rate_limit_usage SET minute = minute - interval '1 minute' WHERE key_id = %s", [key])
    again = lease_tokens(connection, key, per_minute=10, count=8)
    assert (again.granted, again.remaining) == (8, 2)
    assert 0 < again.resets_in <= 60


def test_key_list_returns_each_key_once_newest_first(connection: Connection) -> None:
    connection.execute(
        b"""INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
        SELECT gen_random_uuid(), 'shop', 'key', n::text::bytea, 'rcv_', '{read}', 1, %s + n / 3 * interval '1 s'
        FROM generate_series(1, 100) AS n""",
        [NOON],
    )
    all_keys: list[ApiKey] = fetch_all(partial(list_keys, connection), 500)
    assert all_keys == sort_newest_first(all_keys, lambda key: key.created_at)
    assert len({key.id for key in all_keys}) == 100
    for limit in (1, 7, 99, 100):
        assert fetch_all(partial(list_keys, connection), limit) == all_keys


def test_idempotency_key_is_found_for_each_client(connection: Connection) -> None:
    for client in ("a", "b", "c"):
        for key in ("k", client):
            reserve_idempotency_key(connection, client, key, client.encode())
            save_response(connection, client, key, b"{}", f"/v1/requests/{client}")

    def find(key: str, client: str | None = None, limit: int = 10) -> set[str | None]:
        return {found.location for found in list_idempotent_responses(connection, key, client=client, limit=limit)}

    assert find("k") == {"/v1/requests/a", "/v1/requests/b", "/v1/requests/c"}
    assert find("b") == find("k", "b") == {"/v1/requests/b"}
    assert find("b", "a") == find("none") == find("k", "none") == set()
    assert len(find("k", limit=2)) == 2
