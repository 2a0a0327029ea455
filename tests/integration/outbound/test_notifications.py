"""Webhook notifications of finished requests, with real workers and real HTTP, whatever finished the request."""

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

from receiver.devtools.scratch import scratch_database
from receiver.domain.access import OperatorAction
from receiver.domain.filters import NotificationFilter, RequestFilter
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.notifications import NotificationStatus
from receiver.operations.jobs import resolve
from receiver.operations.notifications import pause, resend, resume
from receiver.operations.requests import cancel, retry
from receiver.providers.webhook import PROVIDER_NAME
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.jobs import find_job
from receiver.store.notifications import list_notifications
from receiver.store.requests import find_requests, list_requests
from tests.support.factories import SECRET, event, notify_provider, provider
from tests.support.http import Json
from tests.support.processes import Process, assert_ends_well, running_worker, wait_for
from tests.support.provider import DROP, Received, Reply, Script, accept_request, items, listening, reply_after, state
from tests.support.scene import Scene, open_scene

OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
NOTIFY_ENVIRON = {
    "RECEIVER_NOTIFY_HOSTS": "127.0.0.1,localhost",
    "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
    "RECEIVER_NOTIFY_SECRETS": f"{SECRET} {OTHER_SECRET}",
}
FAST_RETRIES = "retry = { attempts = 2, base = 0.01, max = 0.02 }"


@pytest.fixture(scope="module")
def worker(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    config = scene.build_provider_toml("hold", FAST_RETRIES) + scene.build_provider_toml(
        "polled", "poll = { first_after = 0.05 }"
    )
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, config, environ=NOTIFY_ENVIRON) as running:
        yield running
        assert_ends_well(running)


pytestmark = pytest.mark.usefixtures("worker")


@dataclass(frozen=True)
class Client:
    """A client that wants a notification of its request."""

    scene: Scene
    name: str

    def submit(self, via: str = "hold", **options: Any) -> UUID:
        [request] = self.scene.submit(via, self.name, notify=True, **options)
        return request

    def script(self, *replies: Script) -> None:
        self.scene.script(f"notified-{self.name}", *replies)

    @property
    def received(self) -> list[Received]:
        return self.scene.received(f"notified-{self.name}")

    def wait_for_notification(self, times: int = 1) -> Json:
        """Wait until the client got exactly this many notifications; return the last one."""
        self.wait_until_received(times)
        assert len(self.received) == times
        return parse_notification(self.received[-1])

    def wait_until_received(self, times: int) -> None:
        wait_for(lambda: len(self.received) >= times and self.scene_is_quiet())

    def scene_is_quiet(self) -> bool:
        """Whether the outbox is empty and all due notifications are sent."""
        pending = self.scene.connection.execute(
            """SELECT FROM notification_outbox UNION ALL SELECT FROM job_notification_outbox
            UNION ALL SELECT FROM requests
            WHERE provider = 'notify' AND (status = 'sending' OR due_at < now() + interval '1 second')"""
        )
        return pending.fetchone() is None

    def assert_not_notified(self) -> None:
        wait_for(self.scene_is_quiet)
        assert self.received == []

    def call_back(
        self, reference: str, status: JobStatus = JobStatus.SUCCEEDED, via: str = "hold", **overrides: Any
    ) -> None:
        """Reconcile a callback of the provider."""
        actor = provider(name=via)
        reconcile(self.scene.connection, [event(f"{self.name}{reference}", status, actor=actor, **overrides)])


@pytest.fixture
def client(scene: Scene) -> Client:
    new_client = Client(scene, f"c-{uuid4().hex}")
    new_client.script(Reply(204))
    return new_client


def parse_notification(received: Received) -> Json:
    """Parse a notification; the Standard Webhooks library must accept both signatures."""
    for secret in (SECRET, OTHER_SECRET):
        Webhook(secret).verify(received.body, dict(received.headers))
    assert received.headers["content-type"] == "application/json"
    document: Json = json.loads(received.body)
    return document


def list_job_statuses(notification: Json) -> list[str]:
    return [job["status"] for job in notification["data"]["jobs"]]


def find_notification_requests(connection: Connection, request: UUID) -> list[Any]:
    """Return the requests that are notifications of a request, newest first."""
    requests = list_requests(connection, RequestFilter(metadata={"request_id": str(request)})).items
    assert all(notification.provider == PROVIDER_NAME for notification in requests)
    return list(requests)


def make_due(connection: Connection) -> None:
    connection.execute("UPDATE requests SET due_at = now() WHERE provider = 'notify' AND status = 'queued'")


def test_client_is_notified_once_after_last_job(client: Client, scene: Scene) -> None:
    scene.script(client.name, items((1801, "-0"), (1801, "-1")))
    request = client.submit()
    scene.wait_until_settled(request)
    client.call_back("-0")
    client.assert_not_notified()
    client.call_back("-1", JobStatus.FAILED)
    client.call_back("-1", JobStatus.FAILED)
    document = client.wait_for_notification()
    data = document["data"]
    assert document["type"] == "request.finished"
    assert (data["id"], data["status"], data["jobs_total"]) == (str(request), "accepted", 2)
    assert sorted(list_job_statuses(document)) == ["failed", "succeeded"]
    assert "payload" not in data
    assert data["notify_url"].endswith(f"notified-{client.name}")
    [notification] = find_notification_requests(scene.connection, request)
    assert client.received[0].headers["webhook-id"] == str(notification.id)
    assert notification.status == "completed"


def test_client_is_notified_of_each_job(client: Client, scene: Scene) -> None:
    scene.script(client.name, items((1801, "-0"), (1801, "-1")))
    request = client.submit(notify_events=["job", "request"])
    scene.wait_until_settled(request)
    client.call_back("-1", JobStatus.FAILED)
    first = client.wait_for_notification()
    assert (first["type"], list_job_statuses(first)) == ("jobs.finished", ["failed"])
    assert first["data"]["request_id"] == str(request)
    client.call_back("-0")
    client.wait_for_notification(3)
    documents = [parse_notification(received) for received in client.received[1:]]
    assert sorted(document["type"] for document in documents) == ["jobs.finished", "request.finished"]


def test_client_is_notified_of_each_change(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    request = client.submit(notify_events=["job_change"])
    documents = [client.wait_for_notification()]
    scene.connection.execute("UPDATE jobs SET deadline_at = now() WHERE request_id = %s", [request])
    documents.append(client.wait_for_notification(2))
    client.call_back("-0")
    documents.append(client.wait_for_notification(3))
    assert {document["type"] for document in documents} == {"jobs.changed"}
    assert [list_job_statuses(document) for document in documents] == [["accepted"], ["unresolved"], ["succeeded"]]


def test_rejected_request_is_notified_although_jobs_are_wanted(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(400))
    client.submit(notify_events=["job"])
    document = client.wait_for_notification()
    assert (document["type"], document["data"]["status"]) == ("request.finished", "rejected")


def test_callback_before_response_is_notified(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    client.call_back("-0")
    client.submit()
    assert list_job_statuses(client.wait_for_notification()) == ["succeeded"]


def test_job_finished_by_poll_is_notified(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    scene.script(f"{client.name}-0", state("UNDELIVERED"))
    client.submit("polled")
    assert list_job_statuses(client.wait_for_notification()) == ["failed"]


def test_job_resolved_by_operator_is_notified(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    scene.wait_until_settled(client.submit())
    job = find_job(scene.connection, derive_job_id("hold", f"{client.name}-0"))
    assert job
    resolve(
        scene.connection,
        job,
        JobStatus.SUCCEEDED,
        OperatorAction("operations", datetime.now(UTC), "seen in their console"),
    )
    assert list_job_statuses(client.wait_for_notification()) == ["succeeded"]


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(204), "completed"), (Reply(400), "rejected"), (Reply(500), "failed"), (items((1800, None)), "completed")],
    ids=["done", "rejected", "used up", "done by its code"],
)
def test_request_finished_by_response_is_notified(client: Client, scene: Scene, reply: Reply, status: str) -> None:
    scene.script(client.name, reply)
    client.submit()
    document = client.wait_for_notification()
    assert document["data"]["status"] == status
    assert document["data"]["attempts"]


def test_expired_request_is_notified(client: Client) -> None:
    client.submit(deadline=0.0)
    assert client.wait_for_notification()["data"]["status"] == "failed"


def test_cancelled_request_is_notified(client: Client, scene: Scene) -> None:
    request = client.submit("paused")
    [stored] = find_requests(scene.connection, [request])
    cancel(scene.connection, stored, None, "operations", None)
    assert client.wait_for_notification()["data"]["status"] == "cancelled"


def test_unknown_and_unresolved_are_not_notified(client: Client, scene: Scene) -> None:
    scene.script(client.name, DROP, accept_request())
    request = client.submit()
    assert scene.wait_until_settled(request).status == "unknown"
    client.assert_not_notified()
    [stored] = find_requests(scene.connection, [request])
    retry(scene.connection, stored, provider(name="hold"), "operations", "it did not arrive")
    scene.wait_until(request, "accepted")
    deadline = "UPDATE jobs SET deadline_at = now() WHERE request_id = %s"
    scene.connection.execute(deadline, [request])
    wait_for(lambda: set(scene.look(request).jobs.values()) == {"unresolved"})
    client.assert_not_notified()
    client.call_back("-0")
    assert list_job_statuses(client.wait_for_notification()) == ["succeeded"]


def test_only_changes_of_the_final_state_are_notified_again(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    request = client.submit()
    scene.wait_until_settled(request)
    client.call_back("-0")
    first = client.wait_for_notification()
    client.call_back("-0", JobStatus.FAILED, at=1)
    disputed = client.wait_for_notification(2)
    assert [(job["status"], job["disputed"]) for job in disputed["data"]["jobs"]] == [("succeeded", True)]
    client.call_back("-0", JobStatus.FAILED, superseding=True, at=2)
    reversal = client.wait_for_notification(3)
    assert list_job_statuses(reversal) == ["failed"]
    client.call_back("-0", JobStatus.FAILED, superseding=True, at=3)
    client.wait_for_notification(3)
    assert first["timestamp"] < disputed["timestamp"] < reversal["timestamp"]
    assert len({received.headers["webhook-id"] for received in client.received}) == 3


def test_second_failure_after_retry_is_notified_again(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(400))
    request = client.submit()
    client.wait_for_notification()
    [stored] = find_requests(scene.connection, [request])
    retry(scene.connection, stored, provider(name="hold"), "operations", None)
    assert client.wait_for_notification(2)["data"]["actions"][0]["action"] == "retry"


def test_failed_delivery_is_repeated_identically(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    client.script(Reply(500), Reply(302, headers={"location": "/elsewhere"}), Reply(401), DROP, Reply(200))
    request = client.submit()
    for times in range(1, 5):
        client.wait_until_received(times)
        make_due(scene.connection)
    client.wait_for_notification(5)
    assert len({(received.headers["webhook-id"], received.body) for received in client.received}) == 1
    [notification] = find_notification_requests(scene.connection, request)
    assert notification.status == "completed"
    assert scene.responses(notification.id) == [500, 302, 401, None, 200]


def test_receiver_with_410_gets_no_more_attempts(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    client.script(Reply(410))
    request = client.submit()
    client.wait_for_notification()
    [notification] = find_notification_requests(scene.connection, request)
    assert (notification.status, notification.detail.partition(":")[0]) == ("rejected", "410")


def test_tls_error_is_stored_and_retried(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    request = client.submit("paused")
    url = scene.provider.url.replace("http:", "https:")
    scene.connection.execute("UPDATE requests SET notify_url = %s WHERE id = %s", [f"{url}/webhook", request])
    [stored] = find_requests(scene.connection, [request])
    cancel(scene.connection, stored, None, "operations", None)
    [notification] = wait_for(
        lambda: [sent for sent in find_notification_requests(scene.connection, request) if sent.detail]
    )
    server = url.removeprefix("https://").partition("/")[0]
    assert f"cannot connect to {server}: [SSL" in notification.detail
    scene.connection.execute("DELETE FROM requests WHERE id = %s", [notification.id])


@pytest.mark.parametrize("first", [Reply(410), Reply(204)], ids=["rejected", "delivered"])
def test_resent_notification_has_same_id_and_body(client: Client, scene: Scene, first: Reply) -> None:
    scene.script(client.name, Reply(204))
    client.script(first, Reply(200))
    request = client.submit()
    client.wait_for_notification()
    [notification] = list_notifications(scene.connection, NotificationFilter(request_id=request)).items
    resend(scene.connection, notification, notify_provider(), "operations", "it is back")
    client.wait_for_notification(2)
    assert {(received.headers["webhook-id"], received.body) for received in client.received} == {
        (str(notification.id), client.received[0].body)
    }
    [resent] = list_notifications(scene.connection, NotificationFilter(request_id=request)).items
    assert (resent.status, resent.attempt_count, resent.response_status) == (NotificationStatus.DELIVERED, 2, 200)


def test_paused_notifications_are_not_sent(client: Client, scene: Scene) -> None:
    scene.script(client.name, Reply(204))
    pause(scene.connection, "operations", "they move")
    try:
        request = client.submit()
        [notification] = wait_for(
            lambda: list_notifications(scene.connection, NotificationFilter(request_id=request)).items
        )
        scene.wait_until_settled(request)
        assert (notification.status, client.received) == (NotificationStatus.QUEUED, [])
    finally:
        resume(scene.connection, "operations", None)
    client.wait_for_notification()


def test_request_without_notify_url_is_not_notified(client: Client, scene: Scene) -> None:
    scene.script(client.name, accept_request())
    [request] = scene.submit("hold", client.name)
    scene.wait_until_settled(request)
    client.call_back("-0")
    client.assert_not_notified()
    assert find_notification_requests(scene.connection, request) == []


def test_killed_worker_delivery_is_repeated_with_same_id(server: str, template: str, tmp_path: Path) -> None:
    with (
        scratch_database(server, template=template) as dsn,
        listening() as running_provider,
        open_scene(dsn, running_provider) as scene,
    ):
        config = scene.build_provider_toml("hold", FAST_RETRIES)
        client = Client(scene, f"c-{uuid4().hex}")
        scene.script(client.name, Reply(204))
        released = Event()
        client.script(reply_after(released, Reply(200)), Reply(200))
        request = client.submit()
        with running_worker(tmp_path, dsn, config, "killed", environ=NOTIFY_ENVIRON) as worker:
            wait_for(lambda: client.received)
            worker.kill()
        released.set()
        [notification] = find_notification_requests(scene.connection, request)
        scene.lose_leases(notification.id)
        with running_worker(tmp_path, dsn, config, environ=NOTIFY_ENVIRON):
            wait_for(lambda: scene.look(notification.id).status != "sending")
            make_due(scene.connection)
            assert scene.wait_until(notification.id, "completed").status == "completed"
        assert len({(received.headers["webhook-id"], received.body) for received in client.received}) == 1
        assert len(client.received) == 2
