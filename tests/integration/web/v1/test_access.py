"""Access to `/v1`: API keys, scopes, restrictions to providers, and rate limits."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.store.database import Connection
from receiver.store.keys import lease_tokens
from receiver.web.problems import ProblemType
from tests.integration.web.v1.calls import UNKNOWN_ID, build_submission, create_key, create_request, is_now, send
from tests.integration.web.v1.conftest import CONFIG
from tests.support.http import Server, parse_problem
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, running_web, wait_for

INVALID_CREDENTIALS = {
    "no key": {},
    "a wrong key": {"authorization": f"Bearer {ADMIN_KEY}x"},
    "an empty key": {"authorization": "Bearer "},
    "another scheme": {"authorization": f"Basic {ADMIN_KEY}"},
    "a broken scheme": {"authorization": "Basic \xff\xfe"},
    "a key that is not ASCII": {"authorization": "Bearer \xff"},
}


@pytest.mark.parametrize("headers", INVALID_CREDENTIALS.values(), ids=INVALID_CREDENTIALS)
def test_missing_or_invalid_key_is_401(web: Web, headers: dict[str, str]) -> None:
    response = web.call("GET", "/v1/providers", b"", headers)
    assert response.status == 401
    assert response.headers["www-authenticate"].lower().startswith("bearer")
    parse_problem(response)


def test_bearer_scheme_is_case_insensitive(web: Web) -> None:
    assert web.call("GET", "/v1/providers", b"", {"authorization": f"bearer {ADMIN_KEY}"}).status == 200


def test_key_is_shown_once_and_stored_hashed(api: Server, connection: Connection) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"]})
    assert response.status == 201
    created = response.json
    assert len(created["key"]) > 40
    assert created["key"].startswith(created["prefix"])
    assert len(created["prefix"]) < 12
    stored = connection.execute("SELECT api_keys::text FROM api_keys WHERE id = %s", [created["id"]]).fetchone()
    assert created["key"] not in str(stored)
    (item,) = [item for item in send(api, "GET", "/v1/keys?limit=500").json["items"] if item["id"] == created["id"]]
    assert item == {name: value for name, value in created.items() if name != "key"}
    assert (item["scopes"], item["providers"], item["revoked_at"]) == (["read"], None, None)


def test_key_is_limited_to_its_scopes(api: Server) -> None:
    reader, submitter, admin = (create_key(api, scopes=[scope]) for scope in ("read", "submit", "admin"))
    assert send(api, "GET", "/v1/jobs", key=reader).status == 200
    assert send(api, "POST", "/v1/requests", build_submission(), key=submitter).status == 202
    refused = send(api, "POST", "/v1/requests", build_submission(), key=reader)
    assert refused.status == 403
    assert "submit" in parse_problem(refused)["detail"]
    assert send(api, "GET", "/v1/jobs", key=submitter).status == 403
    for key in (reader, submitter):
        assert send(api, "GET", "/v1/keys", key=key).status == 403
    assert send(api, "GET", "/v1/jobs", key=admin).status == 200
    assert send(api, "POST", "/v1/requests", build_submission(), key=admin).status == 202
    assert send(api, "GET", "/v1/keys", key=admin).status == 200


def test_revoked_key_is_refused_within_a_second(api: Server) -> None:
    created = send(api, "POST", "/v1/keys", {"name": "leaked", "scopes": ["read"]}).json
    assert send(api, "GET", "/v1/jobs", key=created["key"]).status == 200
    first = send(api, "POST", f"/v1/keys/{created['id']}/revoke", {"reason": "leaked"}).json
    again = send(api, "POST", f"/v1/keys/{created['id']}/revoke").json
    assert first["revoked_at"] == again["revoked_at"] is not None
    wait_for(lambda: send(api, "GET", "/v1/jobs", key=created["key"]).status == 401, timeout_s=1.5)
    assert send(api, "POST", f"/v1/keys/{UNKNOWN_ID}/revoke").status == 404


def test_key_expires(api: Server) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    key = create_key(api, expires_at=soon)
    assert send(api, "GET", "/v1/jobs", key=key).status == 200
    wait_for(lambda: send(api, "GET", "/v1/jobs", key=key).status == 401, timeout_s=3.0)
    past = send(api, "POST", "/v1/keys", {"name": "late", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"})
    assert "expires_at" in parse_problem(past)["errors"]


def test_last_use_of_key_is_recorded(api: Server) -> None:
    created = send(api, "POST", "/v1/keys", {"name": "used", "scopes": ["read"]}).json
    assert created["last_used_at"] is None
    send(api, "GET", "/v1/jobs", key=created["key"])
    (item,) = [item for item in send(api, "GET", "/v1/keys?limit=500").json["items"] if item["id"] == created["id"]]
    assert is_now(item["last_used_at"])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"providers": []}, "providers"),
        ({"providers": ["nobody"]}, "providers"),
        ({"per_minute": 0}, "per_minute"),
        ({"per_minute": 10**12}, "per_minute"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"client": ""}, "client"),
        ({"client": "nul\0"}, "client"),
        ({"client": 7}, "client"),
        ({"client": "x" * 101}, "client"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_invalid_new_key_is_400_and_names_field(api: Server, fields: dict[str, object], field: str) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "bad", "scopes": ["read"]} | fields)
    assert response.status == 400
    assert field in parse_problem(response)["errors"]


def test_restricted_key_cannot_administer_keys(api: Server) -> None:
    key = create_key(api, scopes=["admin"], providers=["another"])
    assert send(api, "GET", "/v1/keys", key=key).status == 403
    assert send(api, "POST", "/v1/keys", {"name": "more", "scopes": ["admin"]}, key=key).status == 403
    assert send(api, "POST", f"/v1/keys/{UNKNOWN_ID}/revoke", key=key).status == 403


def test_key_belongs_to_client_named_after_it_by_default(api: Server, connection: Connection) -> None:
    for fields, client in (({}, "shop-key"), ({"client": None}, "shop-key"), ({"client": "shop"}, "shop")):
        created = send(api, "POST", "/v1/keys", {"name": "shop-key", "scopes": ["submit", "read"], **fields}).json
        assert (created["name"], created["client"]) == ("shop-key", client)
        request = create_request(Server(api.host, api.port, headers={"authorization": f"Bearer {created['key']}"}))
        stored = connection.execute("SELECT client FROM requests WHERE id = %s", [request["id"]]).fetchone()
        assert stored == (client,)


def test_client_of_bootstrap_key_is_bootstrap(api: Server, connection: Connection) -> None:
    request = create_request(api)
    stored = connection.execute("SELECT client FROM requests WHERE id = %s", [request["id"]]).fetchone()
    assert stored == ("bootstrap",)


@pytest.mark.parametrize("fields", [{"name": "bootstrap"}, {"client": "bootstrap"}, {"client": "BootStrap"}])
def test_bootstrap_is_reserved(api: Server, fields: dict[str, str]) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"], **fields})
    errors = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
    assert errors == {field: ["bootstrap is reserved for RECEIVER_ADMIN_KEY."] for field in fields}


@pytest.mark.parametrize("name", [" shop", "shop\t", "  ", "shop\u00a0", "shop\nshop", "shop\x7fshop"])
def test_key_name_and_client_have_no_hidden_characters(api: Server, name: str) -> None:
    for fields in ({"name": name}, {"name": "shop", "client": name}):
        response = send(api, "POST", "/v1/keys", {"scopes": ["read"], **fields})
        errors = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
        error = "Must not begin or end with a space, and must not contain control characters."
        assert list(errors.values()) == [[error]]


def wait_for_early_minute() -> None:
    """Wait if the current minute is almost over, so that the test ends within one minute."""
    seconds_left = 60 - datetime.now(UTC).timestamp() % 60
    if seconds_left < 5:
        time.sleep(seconds_left + 0.1)


def test_every_response_has_rate_limit_headers(api: Server) -> None:
    wait_for_early_minute()
    key = create_key(api, per_minute=3)
    remaining = []
    for path in ("/v1/jobs", "/v1/jobs?limit=0", f"/v1/jobs/{UNKNOWN_ID}"):
        response = send(api, "GET", path, key=key)
        assert response.headers["ratelimit-policy"] == '"key";q=3;w=60'
        remaining.append(response.headers["ratelimit"].partition(";t=")[0])
    assert remaining == ['"key";r=2', '"key";r=1', '"key";r=0']
    refused = send(api, "GET", "/v1/jobs", key=key)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert "3 calls" in parse_problem(refused)["detail"]


def test_rate_limit_is_shared_by_processes(api: Server, dsn: str, tmp_path: Path) -> None:
    wait_for_early_minute()
    key = create_key(api, per_minute=500)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, CONFIG, listener) as second,
        ThreadPoolExecutor(8) as pool,
    ):
        statuses = list(
            pool.map(lambda n: send((api, second)[n % 2], "GET", f"/v1/jobs/{UNKNOWN_ID}", key=key).status, range(560))
        )
        assert_ends_well(second)
    assert statuses.count(404) == 500
    assert statuses.count(429) == 60


def test_rate_limit_resets_every_minute(connection: Connection) -> None:
    key = uuid4()
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 8
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 2
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 0
    connection.execute("UPDATE rate_limit_usage SET minute = minute - interval '1 minute' WHERE key_id = %s", [key])
    again = lease_tokens(connection, key, per_minute=10, count=8)
    assert (again.granted, again.remaining) == (8, 2)
    assert 0 < again.resets_in <= 60
