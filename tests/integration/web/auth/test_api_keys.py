"""API keys: which are accepted, and what their scopes allow."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.access import Scope
from receiver.store import keys as store
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import FailureKind, StoreUnavailable
from receiver.store.keys import NewApiKey, TokenLease, lease_tokens
from receiver.web.auth import api_keys
from receiver.web.auth.api_keys import ApiKeyAuthenticator, InvalidApiKey, generate_key, hash_key
from tests.support.api_calls import UNKNOWN_ID, build_submission, create_key, is_now, send
from tests.support.http import Server, parse_problem
from tests.support.processes import ADMIN_KEY, Web, wait_for

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


def test_key_is_limited_to_its_scopes(api: Server) -> None:
    reader, submitter, admin = (create_key(api, scopes=[scope]) for scope in ("read", "submit", "admin"))
    assert send(api, "GET", "/v1/jobs", key=reader).status == 200
    assert send(api, "POST", "/v1/requests", build_submission(), key=submitter).status == 202
    refused = send(api, "POST", "/v1/requests", build_submission(), key=reader)
    assert refused.status == 403
    assert "submit" in parse_problem(refused)["detail"]
    assert send(api, "GET", "/v1/providers", key=submitter).status == 403
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


def test_concurrent_first_calls_lease_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leases: list[TokenLease] = []

    def lease_slowly(*arguments: Any) -> TokenLease:
        leases.append(lease_tokens(*arguments))
        time.sleep(0.3)  # while the other call comes in
        return leases[-1]

    monkeypatch.setattr(api_keys, "lease_tokens", lease_slowly)
    with closing(Database(dsn)) as database, ThreadPoolExecutor(2) as pool:
        authenticator = ApiKeyAuthenticator(database, ADMIN_KEY, 500)
        first = pool.submit(authenticator.authenticate, ADMIN_KEY)
        wait_for(lambda: bool(leases))
        second = pool.submit(authenticator.authenticate, ADMIN_KEY)
        remaining = [call.result()[1].remaining for call in (first, second)]
    assert len(leases) == 1
    assert remaining == [leases[0].granted + leases[0].remaining - used for used in (1, 2)]


class InterruptedDatabase(Database):
    """A database after whose next use others run, as other greenlets may."""

    run_others: Callable[[], object] | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with super().connection() as connection:
            yield connection
        run_others, self.run_others = self.run_others, None
        if run_others:
            run_others()


def test_call_whose_lease_others_use_up_leases_again(dsn: str) -> None:
    with closing(InterruptedDatabase(dsn)) as database:
        authenticator = ApiKeyAuthenticator(database, ADMIN_KEY, 1_000)
        for _ in range(9):
            authenticator.authenticate(ADMIN_KEY)
        cached = authenticator._cache[hash_key(ADMIN_KEY)]
        assert cached.tokens == 1
        cached.looked_up_at -= 60.0
        database.run_others = lambda: authenticator.authenticate(ADMIN_KEY)
        authenticator.authenticate(ADMIN_KEY)
        assert authenticator._cache[hash_key(ADMIN_KEY)].tokens == 9


def test_cached_key_can_read_while_commits_fail(dsn: str, connection: Connection) -> None:
    with closing(Database(dsn)) as database:
        known, other, revoked = (generate_key() for _ in range(3))
        for name, key in (("known", known), ("other", other), ("revoked", revoked)):
            stored = NewApiKey(uuid4(), name, name, hash_key(key), key[:10], [Scope.READ], None, 1, None)
            store.create_key(connection, stored)
        authenticator = ApiKeyAuthenticator(database, None, per_minute=1)
        for key in (known, revoked):
            authenticator.authenticate(key)
        database.health.close()  # else a probe would find that commits succeed
        database.health.record_commit_failure(StoreUnavailable("read-only", FailureKind.READ_ONLY))
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'")
        with pytest.raises(StoreUnavailable, match="read-only"):
            authenticator.authenticate(other)
        connection.execute("ALTER TABLE rate_limit_usage ADD CHECK (false) NOT VALID")  # no call can be counted
        time.sleep(1.0)  # the validity of the cache
        assert authenticator.authenticate(known)[0].name == "known"
        with pytest.raises(InvalidApiKey):
            authenticator.authenticate(revoked)
