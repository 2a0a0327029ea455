"""The exchange loop when an exchange cannot be recorded, and the leases of a killed worker."""

import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from uuid import uuid4

import gevent
import pytest

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import UNSTORABLE_RESPONSE_DETAIL, Attempt, OnAmbiguous, Response
from receiver.exchange import loop as loop_module
from receiver.exchange.channels import Channel
from receiver.exchange.work import CompletedExchange
from receiver.followup.poll import PollBatch, PollTask
from receiver.outbound.send import SendTask
from receiver.providers.capabilities import OutgoingRequest
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import FailureKind, StoreUnavailable
from receiver.store.group_commit import QueueFull
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, submit_requests
from tests.support.factories import NOON, attempt, event, provider
from tests.support.logs import capture_log
from tests.support.processes import running_worker, wait_for
from tests.support.provider import DROP, Reply, accept_request, listening, reply_after, state
from tests.support.scene import open_scene, running_loop, running_send_loop


def submit_three_requests(connection: Connection) -> list[str]:
    """Queue three requests, and return their client references."""
    names = [f"request-{number}" for number in range(3)]
    payloads = [{"client_reference": name, "to": ["2348030000000"], "text": "hello"} for name in names]
    submit_requests(connection, [NewRequest(uuid4(), "sandbox", "send", p, {}, None, None, 3_600.0) for p in payloads])
    return names


def test_send_with_unstorable_response_becomes_unknown(database: Database, connection: Connection) -> None:
    connection.execute("ALTER TABLE attempts ADD CHECK (response_status IS NULL)")
    retrying = replace(provider().retry_rules, on_ambiguous=OnAmbiguous.RETRY)
    payload = {"client_reference": "unstorable", "to": ["2348030000000"], "text": "hello"}
    submit_requests(connection, [NewRequest(uuid4(), "sandbox", "send", payload, {}, None, None, 3_600.0)])
    with listening() as server:
        server.script("unstorable", accept_request())
        with running_send_loop(database, provider(origin=server.url, retry_rules=retrying)) as loop:
            loop.step()
        assert len(server.find_received("unstorable")) == 1
    [(status, detail)] = connection.execute("SELECT status, detail FROM requests").fetchall()
    assert status == "unknown"
    assert detail.startswith(f"{UNSTORABLE_RESPONSE_DETAIL}: ")


def test_due_work_is_looked_for_unless_the_last_claim_was_full(database: Database, connection: Connection) -> None:
    observed: list[bool] = []

    class ObservedTask(SendTask):
        def find_due(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
            observed.extend(capacity.likely_due for capacity in capacities)
            return super().find_due(connection, capacities)

    names = submit_three_requests(connection)
    with listening() as server:
        for name in names:
            server.script(name, accept_request())
        policy = replace(provider().send_policy, max_concurrency=2)
        double = provider(origin=server.url, send_policy=policy)
        with running_loop(ObservedTask({"sandbox": double}), database, double) as loop:
            for expected_count in (2, 3, 3):
                loop.step()
                give_up_at = time.monotonic() + 10.0
                while loop.commit_stats.items < expected_count and time.monotonic() < give_up_at:
                    gevent.sleep(0.01)
    assert observed == [False, True, False]


class FirstComposeFails(SendTask):
    """A task of which the first request cannot be composed, because of a programming error."""

    has_failed = False

    def compose(self, channel: Channel, work: Attempt) -> OutgoingRequest:
        if not self.has_failed:
            self.has_failed = True
            raise AssertionError("a programming error")
        return super().compose(channel, work)


def test_error_of_one_exchange_does_not_stop_the_others(database: Database, connection: Connection) -> None:
    names = submit_three_requests(connection)
    with listening() as server:
        for name in names:
            server.script(name, accept_request())
        policy = replace(provider().send_policy, max_concurrency=1)
        single = provider(origin=server.url, send_policy=policy)
        with running_loop(FirstComposeFails({"sandbox": single}), database, single) as loop:
            give_up_at = time.monotonic() + 10.0
            while len(server.received) < 2 and time.monotonic() < give_up_at:
                loop.step()
                gevent.sleep(0.01)
    statuses = connection.execute("SELECT status FROM requests ORDER BY status").fetchall()
    assert statuses == [("accepted",), ("accepted",), ("sending",)]


def test_poll_that_cannot_be_recorded_is_left_to_its_lease(database: Database, connection: Connection) -> None:
    job = event("silent", JobStatus.ACCEPTED)
    reconcile(connection, [job])
    connection.execute("UPDATE jobs SET poll_at = now()")
    connection.execute("ALTER TABLE events ADD CHECK (source <> 'poll')")
    with listening() as server:
        server.script("silent", state("DELIVERED"))
        polled = provider(origin=server.url)
        with running_loop(PollTask({"sandbox": polled}), database, polled) as loop:
            loop.step()
        assert len(server.find_received("silent")) == 1
    [(status, is_leased)] = connection.execute("SELECT status, poll_at > now() FROM jobs").fetchall()
    assert (status, is_leased) == ("accepted", True)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_compressed_poll_is_read_or_logged(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    logs = capture_log(monkeypatch, loop_module)
    reconcile(connection, [event("compressed", JobStatus.ACCEPTED)])
    connection.execute("UPDATE jobs SET poll_at = now()")
    with listening() as server:
        body = gzip.compress(b'{"id": "compressed", "state": "DELIVERED"}')
        server.script("compressed", Reply(200, body, {"Content-Encoding": encoding}))
        polled = provider(origin=server.url)
        with running_loop(PollTask({"sandbox": polled}), database, polled) as loop:
            loop.step()
    [(status,)] = connection.execute("SELECT status FROM jobs").fetchall()
    problems = [entry["problem"] for entry in logs if entry["event"] == "poll.response_unreadable"]
    assert (status == "succeeded") is (encoding == "gzip")
    assert problems == ([] if encoding == "gzip" else ["the response is encoded in br, which is not read"])


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (
            Reply(200, b"<title>Log in</title>", {"content-type": "text/html"}),
            "the body is not JSON (text/html): Log in",
        ),
        (Reply(200, b""), "the body is empty"),
        (Reply(200, b'{"id": "another", "state": "DELIVERED"}'), "there is no report on the job silent"),
        (Reply(403), "the provider responded with 403"),
        (Reply(404), None),
        (Reply(503), None),
        (state("TELEPORTED"), None),
    ],
)
def test_poll_without_a_report_is_logged(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, reply: Reply, problem: str | None
) -> None:
    logs = capture_log(monkeypatch, loop_module)
    reconcile(connection, [event("silent", JobStatus.ACCEPTED)])
    connection.execute("UPDATE jobs SET poll_at = now()")
    with listening() as server:
        server.script("silent", reply)
        polled = provider(origin=server.url)
        with running_loop(PollTask({"sandbox": polled}), database, polled) as loop:
            loop.step()
    problems = [entry["problem"] for entry in logs if entry["event"] == "poll.response_unreadable"]
    assert problems == ([problem] if problem else [])


def test_nothing_is_claimed_while_commits_fail(database: Database, connection: Connection) -> None:
    payload = {"client_reference": "kept", "to": ["2348030000000"], "text": "hello"}
    submit_requests(connection, [NewRequest(uuid4(), "sandbox", "send", payload, {}, None, None, 3_600.0)])
    with running_send_loop(database, provider()) as loop:
        database.health.close()  # else a probe would find that commits succeed
        database.health.record_commit_failure(StoreUnavailable("no room", FailureKind.DISK_FULL))
        with pytest.raises(StoreUnavailable, match="no room"):
            loop.step()
    assert connection.execute("SELECT status FROM requests").fetchall() == [("queued",)]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), QueueFull("full")])
def test_only_a_send_is_recorded_again_after_the_store_was_away(error: Exception) -> None:
    response = Response(204, {}, b"")
    sent = CompletedExchange(provider(), attempt(), response, NOON, jitter=0.5)
    assert SendTask({}).on_record_failure(sent, sent.work, error) is sent
    poll = CompletedExchange(provider(), PollBatch("sandbox", []), response, NOON, jitter=0.5)
    assert PollTask({}).on_record_failure(poll, poll.work, error) is None


@pytest.mark.slow
def test_killed_workers_leases_follow_each_providers_timeout(dsn: str, tmp_path: Path) -> None:
    never = Event()
    with listening() as server, open_scene(dsn, server) as scene:
        config = scene.build_provider_toml("fast", "timeout = 0.5\nconnect_timeout = 0.5")
        config += scene.build_provider_toml("slow", "timeout = 300")
        for name in ("to-fast", "to-slow"):
            scene.script(name, reply_after(never, DROP))
        try:
            with running_worker(tmp_path, dsn, config, "victim") as victim:
                [fast], [slow] = scene.submit("fast", "to-fast"), scene.submit("slow", "to-slow")
                wait_for(lambda: scene.received("to-fast") and scene.received("to-slow"))
                victim.kill()
            # As if 40 seconds had passed: the timeout of `fast` is over, that of `slow` is not.
            scene.connection.execute("UPDATE requests SET leased_until = leased_until - interval '40 seconds'")
            with running_worker(tmp_path, dsn, config, "successor"):
                assert scene.wait_until_settled(fast).detail == "the worker was lost during the attempt"
                assert scene.look(slow).status == "sending"
        finally:
            never.set()
