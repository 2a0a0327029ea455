"""Who may use `/v1`: keys, scopes, bindings to providers, and how often."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.store.database import Connection
from receiver.store.keys import lease_tokens
from tests.http import Server, problem_of
from tests.integration.api.calls import ANY, is_now, new_key, send, submission
from tests.integration.api.conftest import CONFIG
from tests.processes import ADMIN_KEY, Web, assert_ends_well, running_web, wait_for

STRANGERS = {
    "no key": {},
    "a wrong key": {"authorization": f"Bearer {ADMIN_KEY}x"},
    "an empty key": {"authorization": "Bearer "},
    "another scheme": {"authorization": f"Basic {ADMIN_KEY}"},
    "a broken scheme": {"authorization": "Basic \xff\xfe"},
    "a key that is not ASCII": {"authorization": "Bearer \xff"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
def test_without_a_good_key_the_answer_is_401(web: Web, headers: dict[str, str]) -> None:
    response = web.call("GET", "/v1/providers", b"", headers)
    assert response.status == 401
    assert response.headers["www-authenticate"].lower().startswith("bearer")
    problem_of(response)


def test_the_scheme_may_be_written_in_any_case(web: Web) -> None:
    assert web.call("GET", "/v1/providers", b"", {"authorization": f"bearer {ADMIN_KEY}"}).status == 200


def test_a_key_is_shown_once_and_kept_as_a_hash(api: Server, connection: Connection) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"]})
    assert response.status == 201
    made = response.json
    assert len(made["key"]) > 40
    assert made["key"].startswith(made["prefix"])
    assert len(made["prefix"]) < 12
    stored = connection.execute("SELECT api_keys::text FROM api_keys WHERE id = %s", [made["id"]]).fetchone()
    assert made["key"] not in str(stored)
    (listed,) = [item for item in send(api, "GET", "/v1/keys?limit=500").json["items"] if item["id"] == made["id"]]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (listed["scopes"], listed["providers"], listed["revoked_at"]) == (["read"], None, None)


def test_a_key_lets_do_what_its_scopes_say(api: Server) -> None:
    reader, submitter, admin = (new_key(api, scopes=[scope]) for scope in ("read", "submit", "admin"))
    assert send(api, "GET", "/v1/jobs", key=reader).status == 200
    assert send(api, "POST", "/v1/requests", submission(), key=submitter).status == 202
    refused = send(api, "POST", "/v1/requests", submission(), key=reader)
    assert refused.status == 403
    assert "submit" in problem_of(refused)["detail"]
    assert send(api, "GET", "/v1/jobs", key=submitter).status == 403
    for key in (reader, submitter):
        assert send(api, "GET", "/v1/keys", key=key).status == 403
    assert send(api, "GET", "/v1/jobs", key=admin).status == 200
    assert send(api, "POST", "/v1/requests", submission(), key=admin).status == 202
    assert send(api, "GET", "/v1/keys", key=admin).status == 200


def test_a_revoked_key_is_refused_within_a_second_and_a_second_revocation_changes_nothing(api: Server) -> None:
    made = send(api, "POST", "/v1/keys", {"name": "leaked", "scopes": ["read"]}).json
    assert send(api, "GET", "/v1/jobs", key=made["key"]).status == 200
    first = send(api, "POST", f"/v1/keys/{made['id']}/revoke", {"reason": "leaked"}).json
    again = send(api, "POST", f"/v1/keys/{made['id']}/revoke").json
    assert first["revoked_at"] == again["revoked_at"] is not None
    wait_for(lambda: send(api, "GET", "/v1/jobs", key=made["key"]).status == 401, within=1.5)
    assert send(api, "POST", f"/v1/keys/{ANY}/revoke").status == 404


def test_a_key_expires(api: Server) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    key = new_key(api, expires_at=soon)
    assert send(api, "GET", "/v1/jobs", key=key).status == 200
    wait_for(lambda: send(api, "GET", "/v1/jobs", key=key).status == 401, within=3.0)
    gone_by = send(api, "POST", "/v1/keys", {"name": "late", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"})
    assert "expires_at" in problem_of(gone_by)["errors"]


def test_the_last_use_of_a_key_is_noted(api: Server) -> None:
    made = send(api, "POST", "/v1/keys", {"name": "used", "scopes": ["read"]}).json
    assert made["last_used_at"] is None
    send(api, "GET", "/v1/jobs", key=made["key"])
    (listed,) = [item for item in send(api, "GET", "/v1/keys?limit=500").json["items"] if item["id"] == made["id"]]
    assert is_now(listed["last_used_at"])


@pytest.mark.parametrize(
    ("given", "field"),
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
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_key_is_400_and_names_the_field(api: Server, given: dict[str, object], field: str) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "bad", "scopes": ["read"]} | given)
    assert response.status == 400
    assert field in problem_of(response)["errors"]


def test_a_key_that_is_bound_to_providers_makes_and_sees_no_keys(api: Server) -> None:
    key = new_key(api, scopes=["admin"], providers=["another"])
    assert send(api, "GET", "/v1/keys", key=key).status == 403
    assert send(api, "POST", "/v1/keys", {"name": "more", "scopes": ["admin"]}, key=key).status == 403
    assert send(api, "POST", f"/v1/keys/{ANY}/revoke", key=key).status == 403


def early_in_a_minute() -> None:
    """Wait where the minute is almost over, so that what follows is within one."""
    left = 60 - datetime.now(UTC).timestamp() % 60
    if left < 5:
        time.sleep(left + 0.1)


def test_every_answer_tells_what_is_left_of_the_keys_allowance(api: Server) -> None:
    early_in_a_minute()
    key = new_key(api, per_minute=3)
    left = []
    for path in ("/v1/jobs", "/v1/jobs?limit=0", f"/v1/jobs/{ANY}"):
        response = send(api, "GET", path, key=key)
        assert response.headers["ratelimit-policy"] == '"key";q=3;w=60'
        left.append(response.headers["ratelimit"].partition(";t=")[0])
    assert left == ['"key";r=2', '"key";r=1', '"key";r=0']
    refused = send(api, "GET", "/v1/jobs", key=key)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert "3 times" in problem_of(refused)["detail"]


def test_an_allowance_is_shared_by_all_processes(api: Server, dsn: str, tmp_path: Path) -> None:
    early_in_a_minute()
    key = new_key(api, per_minute=500)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, CONFIG, listener) as second,
        ThreadPoolExecutor(8) as pool,
    ):
        statuses = list(
            pool.map(lambda n: send((api, second)[n % 2], "GET", f"/v1/jobs/{ANY}", key=key).status, range(560))
        )
        assert_ends_well(second)
    assert statuses.count(404) == 500
    assert statuses.count(429) == 60


def test_a_second_minute_begins_anew(connection: Connection) -> None:
    key = uuid4()
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 8
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 2
    assert lease_tokens(connection, key, per_minute=10, count=8).granted == 0
    connection.execute("UPDATE rate_limit_usage SET minute = minute - interval '1 minute' WHERE key_id = %s", [key])
    again = lease_tokens(connection, key, per_minute=10, count=8)
    assert (again.granted, again.remaining) == (8, 2)
    assert 0 < again.resets_in <= 60
