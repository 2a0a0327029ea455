"""One trace from submission to final status, across a web process and a worker, as a collector receives it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.api_calls import build_submission, send
from tests.support.factories import SECRET
from tests.support.http import Server, build_report
from tests.support.processes import ADMIN_KEY, Process, Web, assert_ends_well, running_web, running_worker, wait_for
from tests.support.provider import Reply, accept_request, items, state
from tests.support.scene import Scene
from tests.support.traces import Collector, collecting

CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SUBMISSION, CALLBACK, JOB = "POST /v1/requests", "POST /callbacks/sms", "job sms"
POLLS = "poll = { first_after = 0.1, max_interval = 0.2 }"
pytestmark = pytest.mark.slow
TEXT = "a message that only the provider may see"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector of spans."""
    with collecting() as running_collector:
        yield running_collector


@pytest.fixture(scope="module")
def traced_web(scene: Scene, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process and a worker that export spans; `sms` calls back, `polled` is polled."""
    directory = tmp_path_factory.mktemp("traced")
    config = scene.build_provider_toml("sms", "") + scene.build_provider_toml("polled", POLLS)
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "RECEIVER_NOTIFY_HOSTS": "127.0.0.1",
        "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
        "RECEIVER_NOTIFY_SECRETS": SECRET,
    }
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        worker: Process = stack.enter_context(running_worker(directory, scene.dsn, config, environ=environ))
        web: Web = stack.enter_context(running_web(directory, scene.dsn, config, listener, **environ))
        yield web
        assert_ends_well(web)
        assert_ends_well(worker)


def submit(web: Web, name: str, provider: str, notify_url: str | None = None, **headers: str) -> None:
    api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    payload = {"client_reference": name, "to": ["2348030000000"], "text": TEXT}
    body = build_submission(provider=provider, payload=payload, notify_url=notify_url)
    assert send(api, "POST", "/v1/requests", body, **headers).status == 202


def test_trace_of_the_caller_continues_to_the_final_status(scene: Scene, collector: Collector, traced_web: Web) -> None:
    scene.script("called", accept_request())
    submit(traced_web, "called", "sms", traceparent=f"00-{CALLER_TRACE}-{CALLER_SPAN}-01")
    [received] = wait_for(lambda: scene.received("called"))
    wait_for(lambda: scene.connection.execute("SELECT 1 FROM jobs WHERE reference = 'called-0'").fetchone())
    assert traced_web.call_back(build_report("called-0"), "sms").status == 200
    spans = wait_for(lambda: found if len(found := collector.find(CALLER_TRACE)) == 4 else None)

    submission, attempt, callback, job = (spans[name] for name in (SUBMISSION, "send sms", CALLBACK, JOB))
    assert submission.parent == CALLER_SPAN
    assert {attempt.parent, callback.parent, job.parent} == {submission.id}
    assert received.headers["traceparent"] == f"00-{CALLER_TRACE}-{attempt.id}-01"
    assert [span.kind for span in (submission, attempt, callback, job)] == ["server", "client", "server", "internal"]
    assert submission.process == callback.process == job.process != attempt.process
    assert {span.service for span in spans.values()} == {"callback-receiver"}
    assert not any(span.is_error for span in spans.values())
    assert submission.attributes["http.response.status_code"] == 202
    assert attempt.attributes["http.response.status_code"] == 202
    assert attempt.attributes["server.address"] == "127.0.0.1"
    assert attempt.attributes["receiver.request.status"] == "accepted"
    assert callback.attributes["receiver.job.ids"] == [job.attributes["receiver.job.id"]]
    assert job.attributes["receiver.request.id"] == attempt.attributes["receiver.request.id"]
    assert job.attributes["receiver.job.status"] == "succeeded"
    assert 0 < job.seconds < 30

    exported = b"".join(collector.bodies)
    assert not [secret for secret in (TEXT, SECRET, ADMIN_KEY, "2348030000000") if secret.encode() in exported]


def test_trace_begins_with_the_submission_and_ends_with_a_poll(
    scene: Scene, collector: Collector, traced_web: Web
) -> None:
    scene.script("asked", accept_request())
    scene.script("asked-0", state("UNDELIVERED"))
    submit(traced_web, "asked", "polled")
    [(traceparent,)] = scene.connection.execute(
        "SELECT traceparent FROM requests WHERE payload ->> 'client_reference' = 'asked'"
    ).fetchall()
    _, trace, root, flags = traceparent.split("-")
    spans = wait_for(lambda: found if len(found := collector.find(trace)) == 4 else None)

    assert int(flags, 16) & 1
    assert spans[SUBMISSION].id == root
    assert not spans[SUBMISSION].parent
    assert {spans[name].parent for name in ("send polled", "poll polled", "job polled")} == {root}
    assert spans["poll polled"].attributes["http.request.method"] == "GET"
    assert spans["job polled"].attributes["receiver.job.status"] == "failed"


def test_notification_belongs_to_the_trace_of_its_request(scene: Scene, collector: Collector, traced_web: Web) -> None:
    trace = CALLER_TRACE.replace("4", "6")
    scene.script("notifying", Reply(204))
    scene.script("notified", Reply(204))
    submit(
        traced_web,
        "notifying",
        "sms",
        traceparent=f"00-{trace}-{CALLER_SPAN}-01",
        notify_url=f"{scene.provider.url}/webhook/notified",
    )
    spans = wait_for(lambda: found if len(found := collector.find(trace)) == 3 else None)
    assert spans["send sms"].attributes["receiver.request.status"] == "completed"
    notification = spans["send notify"]
    assert notification.parent == spans[SUBMISSION].id
    assert notification.attributes["server.address"] == "127.0.0.1"
    assert "webhook" not in str(notification.attributes)
    [received] = scene.received("notified")
    assert received.headers["traceparent"] == f"00-{trace}-{notification.id}-01"


def test_failed_attempt_is_an_error(scene: Scene, collector: Collector, traced_web: Web) -> None:
    trace = CALLER_TRACE[::-1]
    scene.script("refused", items(status=400))
    submit(traced_web, "refused", "sms", traceparent=f"00-{trace}-{CALLER_SPAN}-01")
    spans = wait_for(lambda: found if len(found := collector.find(trace)) == 2 else None)
    attempt = spans["send sms"]
    assert (attempt.is_error, attempt.attributes["error.type"]) == (True, "400")
    assert attempt.attributes["receiver.request.status"] == "rejected"


def test_caller_decides_whether_a_trace_is_sampled(scene: Scene, collector: Collector, traced_web: Web) -> None:
    trace = CALLER_TRACE.replace("4", "5")
    scene.script("unsampled", accept_request())
    submit(traced_web, "unsampled", "sms", traceparent=f"00-{trace}-{CALLER_SPAN}-00")
    [received] = wait_for(lambda: scene.received("unsampled"))
    assert received.headers["traceparent"].startswith(f"00-{trace}-")
    assert received.headers["traceparent"].endswith("-00")
    assert collector.find(trace) == {}
