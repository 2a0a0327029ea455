"""Access tokens with a real token endpoint: requested once for all workers, renewed in time, replaced after a 401."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from receiver.domain.sending import NoResponse, NotSent, Outcome, Response
from receiver.exchange.channels import Channels
from receiver.exchange.client import Client
from receiver.providers.capabilities import OutgoingRequest
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.providers import find_pauses
from tests.support.oauth_provider import CLIENT_SECRET, NAME, OAuthProvider, oauth_provider
from tests.support.processes import assert_ends_well, running_worker, wait_for
from tests.support.provider import Reply
from tests.support.scene import open_scene

REQUEST = OutgoingRequest("POST", "/v1/jobs", {"content-type": "application/json"}, b'{"client_reference": "c"}')
KEYS = ("the-first-secret-key", "the-former-secret-key")
INVALID_CLIENT = Reply(401, b'{"error": "invalid_client", "error_description": "Unknown client"}')


@pytest.fixture
def oauth() -> Iterator[OAuthProvider]:
    with oauth_provider() as running:
        yield running


@contextmanager
def opened(
    oauth: OAuthProvider, database: Database, keys: Sequence[str] = KEYS, client_secret: str = CLIENT_SECRET
) -> Iterator[Client]:
    """Open the client of a worker that has no token in memory yet."""
    providers = {NAME: oauth.build_provider(client_secret)}
    with Channels(database, providers, {NAME: "http://here"}, keys) as channels:
        yield channels[NAME].client


def exchange(oauth: OAuthProvider, database: Database, *keys: str, client_secret: str = CLIENT_SECRET) -> Outcome:
    """Return the outcome of an exchange of a worker that has no token in memory yet."""
    with opened(oauth, database, keys or KEYS, client_secret) as client:
        return client.exchange(REQUEST)


def get_status(outcome: Outcome | None) -> int | None:
    return outcome.status if isinstance(outcome, Response) else None


def test_token_is_requested_once_for_all_workers(oauth: OAuthProvider, database: Database) -> None:
    with opened(oauth, database) as first, opened(oauth, database) as second:
        outcomes = [client.exchange(REQUEST, nullcontext()) for client in (first, second, first, second)]
    assert [get_status(outcome) for outcome in outcomes] == [202] * 4
    assert oauth.tokens == ["token-1"] * 4
    [request] = oauth.token_requests
    assert (request.method, request.body) == ("POST", b"grant_type=client_credentials")
    assert request.headers["authorization"] == "Basic b3VyLWlkOnRoZS1jbGllbnQtc2VjcmV0"


def test_greenlets_wait_for_one_token_request(oauth: OAuthProvider, database: Database) -> None:
    oauth.released.clear()
    with opened(oauth, database) as first, opened(oauth, database) as second:
        greenlets = [gevent.spawn(client.exchange, REQUEST) for client in (first, second) * 5]
        gevent.sleep(0.3)
        oauth.released.set()
        gevent.joinall(greenlets, raise_error=True)
    assert [get_status(greenlet.value) for greenlet in greenlets] == [202] * 10
    assert len(oauth.token_requests) == 1


def test_expired_token_is_renewed(oauth: OAuthProvider, database: Database, connection: Connection) -> None:
    with opened(oauth, database) as client:
        oauth.expires_in = "0.2"
        assert get_status(client.exchange(REQUEST)) == 202
        oauth.expires_in = None
        gevent.sleep(0.2)
        assert get_status(client.exchange(REQUEST)) == 202
    assert oauth.tokens == ["token-1", "token-2"]
    connection.execute("UPDATE access_tokens SET expires_at = now()")
    exchange(oauth, database)
    assert oauth.tokens[-1] == "token-3"


def test_due_token_is_used_while_it_cannot_be_renewed(
    oauth: OAuthProvider, database: Database, connection: Connection
) -> None:
    exchange(oauth, database)
    connection.execute("UPDATE access_tokens SET renew_at = now()")
    oauth.token_replies = [Reply(503)]
    assert get_status(exchange(oauth, database)) == 202
    assert get_status(exchange(oauth, database)) == 202
    assert (oauth.tokens, len(oauth.token_requests)) == (["token-1"] * 3, 2)
    connection.execute("UPDATE access_tokens SET retry_at = now()")
    exchange(oauth, database)
    assert oauth.tokens[-1] == "token-2"


def test_refused_token_is_replaced_once(oauth: OAuthProvider, database: Database, connection: Connection) -> None:
    oauth.refused = {"token-1"}
    with opened(oauth, database) as first, opened(oauth, database) as second:
        assert get_status(second.exchange(REQUEST)) is None
        assert get_status(first.exchange(REQUEST)) == get_status(second.exchange(REQUEST)) == 202
        assert oauth.tokens == ["token-1", "token-2", "token-2"]
        # The token was accepted, so that it may have been revoked since.
        oauth.refused = {"token-2", "token-3", "token-4", "token-5"}
        assert isinstance(first.exchange(REQUEST), NotSent)
        # Another worker still has the same token.
        assert isinstance(second.exchange(REQUEST), NotSent)
        assert get_status(first.exchange(REQUEST)) == 401
        connection.execute("UPDATE access_tokens SET refused_at = refused_at - interval '2 hours'")
        assert isinstance(first.exchange(REQUEST), NotSent)
        assert get_status(first.exchange(REQUEST)) == 401
    assert len(oauth.token_requests) == 5


def test_tokens_that_are_refused_for_some_requests_are_not_replaced_for_ever(
    oauth: OAuthProvider, database: Database
) -> None:
    """As if the credentials lacked a scope that only some requests need."""
    refused_request = replace(REQUEST, method="GET")
    statuses = []
    with opened(oauth, database) as client:
        for number in range(1, 8):
            oauth.refused = set()
            assert get_status(client.exchange(REQUEST)) == 202
            oauth.refused = {f"token-{number}"}
            statuses.append(get_status(client.exchange(refused_request)))
    assert statuses[:2] == [None, None]
    assert 401 in statuses


def test_refusal_by_several_at_once_replaces_the_token_once(oauth: OAuthProvider, database: Database) -> None:
    with opened(oauth, database) as client:
        client.exchange(REQUEST)
        oauth.refused = {"token-1"}
        greenlets = [gevent.spawn(client.exchange, REQUEST) for _ in range(5)]
        gevent.joinall(greenlets, raise_error=True)
        assert {get_status(greenlet.value) for greenlet in greenlets} <= {None, 202}
        assert get_status(client.exchange(REQUEST)) == 202
    assert len(oauth.token_requests) == 2


def test_token_is_stored_encrypted(oauth: OAuthProvider, database: Database, connection: Connection) -> None:
    outcome = exchange(oauth, database)
    assert isinstance(outcome, Response)
    assert b'"echo": "[redacted]"' in outcome.body
    [row] = connection.execute("SELECT to_jsonb(access_tokens)::text, token FROM access_tokens").fetchall()
    assert "token-1" not in row[0]
    assert CLIENT_SECRET not in row[0]
    assert b"token-1" not in row[1]


def test_token_is_read_with_any_secret_key(oauth: OAuthProvider, database: Database) -> None:
    for keys in ([KEYS[1]], KEYS, KEYS, [KEYS[0]], [KEYS[0]]):
        assert get_status(exchange(oauth, database, *keys)) == 202
    # It is not encrypted again under the new key: whoever has only that key requests another token.
    assert oauth.tokens == ["token-1"] * 3 + ["token-2"] * 2


def test_changed_credentials_have_a_token_of_their_own(oauth: OAuthProvider, database: Database) -> None:
    exchange(oauth, database)
    exchange(oauth, database, client_secret="another-secret")
    exchange(oauth, database)
    assert oauth.tokens == ["token-1", "token-2", "token-1"]


def test_token_is_bound_to_its_credentials(oauth: OAuthProvider, database: Database, connection: Connection) -> None:
    exchange(oauth, database)
    exchange(oauth, database, client_secret="another-secret")
    copy = """UPDATE access_tokens SET token = other.token FROM access_tokens AS other
        WHERE other.fingerprint <> access_tokens.fingerprint"""
    connection.execute(copy)
    exchange(oauth, database)
    assert oauth.tokens == ["token-1", "token-2", "token-3"]


def test_failing_token_endpoint_is_called_less_and_less(
    oauth: OAuthProvider, database: Database, connection: Connection
) -> None:
    oauth.token_replies = [Reply(503), Reply(200, b"<html>maintenance</html>")]
    error = "no access token: the token endpoint responded with 503"
    with opened(oauth, database) as client:
        assert client.exchange(REQUEST) == client.exchange(REQUEST) == NoResponse(error, sent=False)
    assert exchange(oauth, database) == NoResponse(error, sent=False)
    assert len(oauth.token_requests) == 1
    connection.execute("UPDATE access_tokens SET retry_at = now()")
    error = "no access token: no access token at `access_token` in the response"
    assert exchange(oauth, database) == NoResponse(error, sent=False)
    [(failures, seconds)] = connection.execute(
        "SELECT failures, extract(epoch FROM retry_at - now()) FROM access_tokens"
    ).fetchall()
    assert (failures, 0.9 < seconds < 2.0) == (2, True)
    connection.execute("UPDATE access_tokens SET retry_at = now()")
    assert get_status(exchange(oauth, database)) == 202
    assert connection.execute("SELECT failures, failure FROM access_tokens").fetchone() == (0, None)


def test_unreachable_token_endpoint_is_not_sent(oauth: OAuthProvider, database: Database) -> None:
    provider = oauth.build_provider()
    assert provider.token_request is not None
    provider = replace(provider, token_request=replace(provider.token_request, origin="http://127.0.0.1:9"))
    with Channels(database, {NAME: provider}, {NAME: ""}, KEYS) as channels:
        outcome = channels[NAME].client.exchange(REQUEST)
    assert isinstance(outcome, NoResponse)
    assert (outcome.sent, "no response from the token endpoint" in outcome.error) == (False, True)


def test_renewal_of_a_dead_worker_is_taken_over(
    oauth: OAuthProvider, database: Database, connection: Connection
) -> None:
    exchange(oauth, database)
    connection.execute(
        """UPDATE access_tokens SET expires_at = now(), lease_id = gen_random_uuid(),
        leased_until = clock_timestamp() + interval '0.3 seconds'"""
    )
    assert get_status(exchange(oauth, database)) == 202
    assert oauth.tokens == ["token-1", "token-2"]


def test_exchange_without_the_store_is_not_sent(oauth: OAuthProvider, dsn: str) -> None:
    with closing(Database(dsn)) as database, opened(oauth, database) as client:
        database.is_closed = True
        outcome = client.exchange(REQUEST)
        database.is_closed = False
    assert isinstance(outcome, NotSent)
    assert (outcome.refusal, oauth.received) == (None, [])


def test_racing_workers_request_one_token(oauth: OAuthProvider, dsn: str, tmp_path: Path, names: Sequence[str]) -> None:
    oauth.released.clear()
    config = oauth.build_toml()
    with (
        open_scene(dsn, oauth) as scene,
        running_worker(tmp_path, dsn, config, "first") as first,
        running_worker(tmp_path, dsn, config, "second") as second,
    ):
        requests = scene.submit(NAME, *names[:20])
        wait_for(lambda: oauth.token_requests)
        gevent.sleep(0.3)
        oauth.released.set()
        assert {scene.wait_until_settled(request).status for request in requests} == {"accepted"}
        wait_for(lambda: all(set(scene.look(request).jobs.values()) == {"succeeded"} for request in requests))
        for worker in (first, second):
            assert_ends_well(worker)
            assert "token-1" not in worker.output
            assert CLIENT_SECRET not in worker.output
        attempts = scene.connection.execute("SELECT count(*) FROM attempts").fetchone()
    assert len(oauth.token_requests) == 1
    assert attempts == (20,)


@pytest.mark.slow
def test_refused_client_pauses_until_it_is_corrected(
    oauth: OAuthProvider, dsn: str, tmp_path: Path, names: Sequence[str]
) -> None:
    oauth.token_replies = [INVALID_CLIENT] * 3
    detail = "no access token: the token endpoint responded with 401: Unknown client"
    with open_scene(dsn, oauth) as scene:
        with running_worker(tmp_path, dsn, oauth.build_toml("wrong")) as worker:
            requests = scene.submit(NAME, *names[:5])
            worker.wait_until(lambda: bool(find_pauses(scene.connection)))
            [pause] = find_pauses(scene.connection)
            assert (pause.pause_cause, pause.pause_reason) == ("credentials", detail)
            wait_for(lambda: all(scene.look(request).status == "queued" for request in requests))
            assert_ends_well(worker)
        assert {scene.look(request)[:3] for request in requests} <= {("queued", detail, 0), ("queued", None, 0)}
        oauth.token_replies.clear()
        with running_worker(tmp_path, dsn, oauth.build_toml(), "corrected"):
            assert {scene.wait_until_settled(request).status for request in requests} == {"accepted"}


def test_refusal_by_the_token_endpoint_pauses_once(oauth: OAuthProvider, database: Database) -> None:
    """Else an operator who resumes the provider at once would find it paused again, although nothing was tried."""
    oauth.token_replies = [INVALID_CLIENT]
    error = "no access token: the token endpoint responded with 401: Unknown client"
    assert exchange(oauth, database) == NotSent(error, refusal=error)
    assert exchange(oauth, database) == NotSent(error)
    assert len(oauth.token_requests) == 1


def test_revoked_token_costs_no_request(oauth: OAuthProvider, dsn: str, tmp_path: Path, names: Sequence[str]) -> None:
    with open_scene(dsn, oauth) as scene, running_worker(tmp_path, dsn, oauth.build_toml()):
        [request] = scene.submit(NAME, names[0])
        scene.wait_until_settled(request)
        oauth.refused = {"token-1"}
        requests = scene.submit(NAME, *names[1:10])
        assert {scene.wait_until_settled(request)[:3] for request in requests} == {("accepted", None, 1)}
        assert find_pauses(scene.connection) == []
        oauth.refused = {"token-2", "token-3"}
        [request] = scene.submit(NAME, names[10])
        wait_for(lambda: find_pauses(scene.connection))
        assert find_pauses(scene.connection)[0].pause_reason.startswith("401: Authentication failed")


@pytest.mark.slow
def test_renewal_of_a_killed_worker_is_taken_over(
    oauth: OAuthProvider, dsn: str, tmp_path: Path, names: Sequence[str]
) -> None:
    oauth.released.clear()
    config = oauth.build_toml(connect_timeout=1.5, timeout=1.5)
    with open_scene(dsn, oauth) as scene:
        with running_worker(tmp_path, dsn, config, "killed") as worker:
            scene.submit(NAME, names[0])
            wait_for(lambda: oauth.token_requests)
            worker.kill()
        oauth.released.set()
        with running_worker(tmp_path, dsn, config):
            [request] = scene.submit(NAME, names[1])
            assert scene.wait_until_settled(request)[:3] == ("accepted", None, 1)
    assert (len(oauth.token_requests), set(oauth.tokens)) == (2, {"token-2"})
