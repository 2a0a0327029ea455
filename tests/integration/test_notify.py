"""Clients are told that their requests are over, through real workers and by real HTTP, whatever ended them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest
from standardwebhooks.webhooks import Webhook

from receiver.domain.access import OperatorAction
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.followup.operations import resolve
from receiver.outbound.operations import cancel, retry
from receiver.providers.webhook import NAME
from receiver.reconcile import reconcile
from receiver.store.database import Connection
from receiver.store.jobs import find_job
from receiver.store.requests import find_requests, list_requests
from receiver.store.scratch import scratch_database
from tests.factories import SECRET, event, notifier, provider
from tests.http import Json
from tests.processes import Process, assert_ends_well, running_worker, wait_for
from tests.provider import DROP, Received, Reply, Script, items, listening, once, state, taken
from tests.scene import Scene, set_scene

ANOTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
MAY = {
    "RECEIVER_NOTIFY_HOSTS": "127.0.0.1,localhost",
    "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
    "RECEIVER_NOTIFY_SECRETS": f"{SECRET} {ANOTHER}",
}
QUICK = "retry = { attempts = 2, base = 0.01, max = 0.02 }"


@pytest.fixture(scope="module")
def worker(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    config = scene.declared("hold", QUICK) + scene.declared("polled", "poll = { first_after = 0.05 }")
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, config, environ=MAY) as running:
        yield running
        assert_ends_well(running)


pytestmark = pytest.mark.usefixtures("worker")


@dataclass(frozen=True)
class Client:
    """A client that wants to be told of its request."""

    scene: Scene
    name: str

    def submit(self, via: str = "hold", **given: Any) -> UUID:
        [request] = self.scene.submit(via, self.name, tell=True, **given)
        return request

    def responses(self, *replies: Script) -> None:
        self.scene.script(f"told-{self.name}", *replies)

    @property
    def received(self) -> list[Received]:
        return self.scene.received(f"told-{self.name}")

    def told(self, times: int = 1) -> Json:
        """Wait until it was told so often, and no more is to come; give what it was told last."""
        self.wait_until_received(times)
        assert len(self.received) == times
        return read(self.received[-1])

    def wait_until_received(self, times: int) -> None:
        wait_for(lambda: len(self.received) >= times and self.scene_is_quiet())

    def scene_is_quiet(self) -> bool:
        """Whether all notices are taken, and all that they made is sent."""
        waiting = self.scene.connection.execute(
            """SELECT FROM notification_outbox UNION ALL SELECT FROM requests
            WHERE provider = 'notify' AND (status = 'sending' OR due_at < now() + interval '1 second')"""
        )
        return waiting.fetchone() is None

    def not_told(self) -> None:
        wait_for(self.scene_is_quiet)
        assert self.received == []

    def says(self, reference: str, status: JobStatus = JobStatus.SUCCEEDED, via: str = "hold", **more: Any) -> None:
        """Let the provider call back."""
        actor = provider(name=via)
        reconcile(self.scene.connection, [event(f"{self.name}{reference}", status, actor=actor, **more)])


@pytest.fixture
def client(scene: Scene) -> Client:
    found = Client(scene, f"c-{uuid4().hex}")
    found.responses(Reply(204))
    return found


def read(received: Received) -> Json:
    """Read a notification, which the library of Standard Webhooks must take by either secret."""
    for secret in (SECRET, ANOTHER):
        Webhook(secret).verify(received.body, dict(received.headers))
    assert received.headers["content-type"] == "application/json"
    document: Json = json.loads(received.body)
    assert document["type"] == "request.finished"
    return document


def statuses(told: Json) -> list[str]:
    return [job["status"] for job in told["data"]["jobs"]]


def notifications(connection: Connection, request: UUID) -> list[Any]:
    """Give what was queued to be told of a request, the newest first."""
    found = list_requests(connection, metadata={"request_id": str(request)}).items
    assert all(one.provider == NAME for one in found)
    return list(found)


def hurry(connection: Connection) -> None:
    connection.execute("UPDATE requests SET due_at = now() WHERE provider = 'notify' AND status = 'queued'")


def test_a_client_is_told_once_after_the_last_job_has_ended(client: Client, scene: Scene) -> None:
    scene.script(client.name, items((1801, "-0"), (1801, "-1")))
    request = client.submit()
    scene.settled(request)
    client.says("-0")
    client.not_told()
    client.says("-1", JobStatus.FAILED)
    client.says("-1", JobStatus.FAILED)
    told = client.told()
    data = told["data"]
    assert (data["id"], data["status"], data["jobs_total"]) == (str(request), "accepted", 2)
    assert sorted(statuses(told)) == ["failed", "succeeded"]
    assert "payload" not in data
    assert data["notify_url"].endswith(f"told-{client.name}")
    [notification] = notifications(scene.connection, request)
    assert client.received[0].headers["webhook-id"] == str(notification.id)
    assert notification.status == "completed"


def test_a_callback_that_overtook_the_answer_is_told_of_as_well(client: Client, scene: Scene) -> None:
    scene.script(client.name, taken())
    client.says("-0")
    client.submit()
    assert statuses(client.told()) == ["succeeded"]


def test_a_poll_that_ends_a_job_is_told_of(client: Client, scene: Scene) -> None:
    scene.script(client.name, taken())
    scene.script(f"{client.name}-0", state("UNDELIVERED"))
    client.submit("polled")
    assert statuses(client.told()) == ["failed"]


def test_an_operator_who_ends_a_job_is_told_of(client: Client, scene: Scene) -> None:
    scene.script(client.name, taken())
    scene.settled(client.submit())
    job = find_job(scene.connection, derive_job_id("hold", f"{client.name}-0"))
    assert job
    resolve(
        scene.connection,
        job,
        JobStatus.SUCCEEDED,
        OperatorAction("operations", datetime.now(UTC), "seen in their console"),
    )
    assert statuses(client.told()) == ["succeeded"]


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(204), "completed"), (Reply(400), "rejected"), (Reply(500), "failed"), (items((1800, None)), "completed")],
    ids=["done", "refused", "used up", "done by its code"],
)
def test_a_request_that_ends_by_itself_is_told_of(client: Client, scene: Scene, reply: Reply, status: str) -> None:
    scene.script(client.name, reply)
    client.submit()
    told = client.told()
    assert told["data"]["status"] == status
    assert told["data"]["attempts"]


def test_a_request_whose_deadline_passes_in_the_queue_is_told_of(client: Client) -> None:
    client.submit(deadline=0.0)
    assert client.told()["data"]["status"] == "failed"


def test_a_request_that_was_cancelled_is_told_of(client: Client, scene: Scene) -> None:
    request = client.submit("paused")
    [found] = find_requests(scene.connection, [request])
    cancel(scene.connection, found, None, "operations", None)
    assert client.told()["data"]["status"] == "cancelled"


def test_doubt_is_no_end_and_is_told_of_once_it_is_decided(client: Client, scene: Scene) -> None:
    scene.script(client.name, DROP, taken())
    request = client.submit()
    assert scene.settled(request).status == "unknown"
    client.not_told()
    [found] = find_requests(scene.connection, [request])
    retry(scene.connection, found, provider(name="hold"), "operations", "it did not arrive")
    scene.becomes(request, "accepted")
    deadline = "UPDATE jobs SET deadline_at = now() WHERE request_id = %s"
    scene.connection.execute(deadline, [request])
    wait_for(lambda: set(scene.look(request).jobs.values()) == {"unresolved"})
    client.not_told()
    client.says("-0")
    assert statuses(client.told()) == ["succeeded"]


def test_a_word_that_changes_the_end_is_told_of_again_and_one_that_does_not_is_not(
    client: Client, scene: Scene
) -> None:
    scene.script(client.name, taken())
    request = client.submit()
    scene.settled(request)
    client.says("-0")
    first = client.told()
    client.says("-0", JobStatus.FAILED, at=1)
    disputed = client.told(2)
    assert [(job["status"], job["disputed"]) for job in disputed["data"]["jobs"]] == [("succeeded", True)]
    client.says("-0", JobStatus.FAILED, superseding=True, at=2)
    reversed_ = client.told(3)
    assert statuses(reversed_) == ["failed"]
    client.says("-0", JobStatus.FAILED, superseding=True, at=3)
    client.told(3)
    assert first["timestamp"] < disputed["timestamp"] < reversed_["timestamp"]
    assert len({received.headers["webhook-id"] for received in client.received}) == 3


def test_a_request_that_fails_again_after_a_retry_is_told_of_again(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(400))
    request = client.submit()
    client.told()
    [found] = find_requests(scene.connection, [request])
    retry(scene.connection, found, provider(name="hold"), "operations", None)
    assert client.told(2)["data"]["actions"][0]["action"] == "retry"


def test_a_receiver_that_does_not_take_it_is_told_again_the_same(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    client.responses(Reply(500), Reply(302, headers={"location": "/elsewhere"}), Reply(401), DROP, Reply(200))
    request = client.submit()
    for times in range(1, 5):
        client.wait_until_received(times)
        hurry(scene.connection)
    client.told(5)
    assert len({(one.headers["webhook-id"], one.body) for one in client.received}) == 1
    [notification] = notifications(scene.connection, request)
    assert notification.status == "completed"
    assert scene.responses(notification.id) == [500, 302, 401, None, 200]


def test_a_receiver_that_is_gone_is_told_no_more(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    client.responses(Reply(410))
    request = client.submit()
    client.told()
    [notification] = notifications(scene.connection, request)
    assert (notification.status, notification.detail.partition(":")[0]) == ("rejected", "410")


def test_tls_that_fails_is_told_to_operators_and_tried_again(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    request = client.submit("paused")
    url = scene.provider.url.replace("http:", "https:")
    scene.connection.execute("UPDATE requests SET notify_url = %s WHERE id = %s", [f"{url}/told", request])
    [found] = find_requests(scene.connection, [request])
    cancel(scene.connection, found, None, "operations", None)
    [notification] = wait_for(lambda: [one for one in notifications(scene.connection, request) if one.detail])
    assert "cannot connect: [SSL" in notification.detail
    scene.connection.execute("DELETE FROM requests WHERE id = %s", [notification.id])


def test_an_operator_may_have_it_told_again(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    client.responses(Reply(410), Reply(200))
    request = client.submit()
    client.told()
    [notification] = notifications(scene.connection, request)
    retry(scene.connection, notification, notifier(), "operations", "it is back")
    client.told(2)
    assert {one.headers["webhook-id"] for one in client.received} == {str(notification.id)}


def test_a_request_whose_client_does_not_want_it_leaves_no_notice(client: Client, scene: Scene) -> None:
    scene.script(client.name, taken())
    [request] = scene.submit("hold", client.name)
    scene.settled(request)
    client.says("-0")
    client.not_told()
    assert notifications(scene.connection, request) == []


def test_a_worker_that_was_killed_while_it_told_is_made_up_for_with_the_same_id(
    server: str, template: str, tmp_path: Path
) -> None:
    with scratch_database(server, template=template) as own, listening() as served, set_scene(own, served) as scene:
        config = scene.declared("hold", QUICK)
        client = Client(scene, f"c-{uuid4().hex}")
        scene.script(client.name, Reply(204))
        released = Event()
        client.responses(once(released, Reply(200)), Reply(200))
        request = client.submit()
        with running_worker(tmp_path, own, config, "killed", environ=MAY) as worker:
            wait_for(lambda: client.received)
            worker.kill()
        released.set()
        [notification] = notifications(scene.connection, request)
        scene.lose_leases(notification.id)
        with running_worker(tmp_path, own, config, environ=MAY):
            wait_for(lambda: scene.look(notification.id).status != "sending")
            hurry(scene.connection)
            assert scene.becomes(notification.id, "completed").status == "completed"
        assert len({(one.headers["webhook-id"], one.body) for one in client.received}) == 1
        assert len(client.received) == 2
