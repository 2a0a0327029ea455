"""Lookups of unknown requests and batch polls, by a real worker at a real HTTP server."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.domain.sending import LOOKUP_SCHEDULED_DETAIL
from receiver.providers.registry import build_provider
from receiver.reconcile import reconcile
from receiver.store.providers import pause_providers, resume_providers
from tests.support.factories import SECRET
from tests.support.kinds import DECLARED
from tests.support.processes import assert_ends_well, running_worker, wait_for
from tests.support.provider import DROP, Received, Reply, accept_request, items
from tests.support.scene import Scene

QUICK_LOOKUPS = "first_after = 0.05, max_interval = 0.1"
LOOKUP_PROVIDER = f"""
[providers.{{name}}]
kind = "declared"
base_url = "{{url}}/{{name}}"
retry = {{{{ attempts = 3, base = {{base}}, max = {{base}} }}}}
on_ambiguous = "{{on_ambiguous}}"
signature = {{{{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}}}
operations = {{{{ send = {{{{ path = "/v1/messages", idempotency_header = "Idempotency-Key" }}}} }}}}
lookup = {{{{ path = "/v1/sent/{{{{client_reference}}}}", {QUICK_LOOKUPS}, {{lookup}} }}}}
[providers.{{name}}.response]
items = "items"
reference = "id"
code = "code"
codes = {{{{ 1800 = "succeeded", 1801 = "accepted", 1804 = "rejected" }}}}
[providers.{{name}}.callback]
reference = "id"
status = "state"
statuses = {{{{ DELIVERED = "succeeded", EXPIRED = "failed" }}}}
"""
BATCH_PROVIDER = """
[providers.{name}]
kind = "declared"
base_url = "{url}/{name}"
max_concurrency = {max_concurrency}
signature = {{ scheme = "standard-webhooks", secrets = ["{secret}"] }}
[providers.{name}.callback]
reference = "id"
status = "state"
statuses = {{ RUNNING = "in_progress", DONE = "succeeded" }}
[providers.{name}.poll]
method = "POST"
path = "/v1/jobs"
body = {{ client_reference = "{name}", ids = "{{references}}" }}
items = "jobs"
batch = 100
first_after = 0.2
max_interval = 0.2
"""
RETRY_NOT_FOUND = 'not_found = "retry"'


def format_lookup_provider(
    scene: Scene, name: str, lookup: str = "", on_ambiguous: str = "hold", base: float = 0.02
) -> str:
    lookup = lookup or 'not_found = "unknown"'
    return LOOKUP_PROVIDER.format(
        name=name, url=scene.provider.url, lookup=lookup, on_ambiguous=on_ambiguous, base=base
    )


@pytest.fixture(scope="module", autouse=True)
def worker(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    batch_providers = {"many": 16, "single-file": 1, "mixed": 2, "moody": 2}
    config = [
        format_lookup_provider(scene, "holding"),
        format_lookup_provider(scene, "resending", RETRY_NOT_FOUND),
        format_lookup_provider(scene, "repeating", on_ambiguous="retry"),
        format_lookup_provider(scene, "waiting", on_ambiguous="retry", base=60.0),
        format_lookup_provider(scene, "paused"),
        format_lookup_provider(scene, "giving-up", "give_up_after = 0.4"),
        format_lookup_provider(scene, "nameless").replace("{client_reference}", "{their_name}"),
        *(
            BATCH_PROVIDER.format(name=name, url=scene.provider.url, max_concurrency=max_concurrency, secret=SECRET)
            for name, max_concurrency in batch_providers.items()
        ),
    ]
    scene.script("before", items((1801, "-0"), status=200))
    scene.submit("holding", "before")
    scene.connection.execute("UPDATE requests SET status = 'unknown', due_at = NULL, detail = 'as it was'")
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, "".join(config)) as running:
        yield
        assert_ends_well(running)


@pytest.fixture
def name() -> str:
    return f"c-{uuid4().hex}"


def join_methods(scene: Scene, name: str) -> str:
    """Return the methods of a request's exchanges, in order."""
    return " ".join(received.method for received in scene.received(name))


def is_lookup_finished(scene: Scene, request: UUID) -> bool:
    row = scene.connection.execute("SELECT next_lookup_at FROM requests WHERE id = %s", [request]).fetchone()
    return row == (None,)


@pytest.mark.parametrize(
    ("lookup_reply", "status", "jobs"),
    [
        (items((1801, "-0"), status=200), "accepted", {"-0": "accepted"}),
        (items((1800, "-0"), status=200), "completed", {"-0": "succeeded"}),
        (items((1801, "-0"), (1804, "-1"), status=200), "accepted", {"-0": "accepted", "-1": "failed"}),
        (items((1804, None), status=200), "rejected", {}),
    ],
)
def test_lookup_gives_unknown_request_its_status(
    scene: Scene, name: str, lookup_reply: Reply, status: str, jobs: dict[str, str]
) -> None:
    scene.script(name, DROP, Reply(500), Reply(403), items((9999, "-9"), status=200), lookup_reply)
    (request,) = scene.submit("holding", name)
    scene.wait_until(request, "unknown")
    sent = scene.wait_until(request, "accepted", "completed", "rejected")
    assert (sent.status, sent.jobs) == (status, {f"{name}{suffix}": job_status for suffix, job_status in jobs.items()})
    assert sent.detail
    assert sent.detail.startswith("no response: ")
    assert f"; {LOOKUP_SCHEDULED_DETAIL}; the provider knows this request" in sent.detail
    assert join_methods(scene, name) == "POST GET GET GET GET"
    time.sleep(0.3)
    assert len(scene.received(name)) == 5
    assert is_lookup_finished(scene, request)


def test_requests_unknown_before_lookups_existed_are_looked_up(scene: Scene) -> None:
    wait_for(lambda: join_methods(scene, "before") == "GET")
    row = "SELECT status, detail FROM requests WHERE payload ->> 'client_reference' = 'before'"
    expected = ("accepted", f"as it was; {LOOKUP_SCHEDULED_DETAIL}; the provider knows this request")
    wait_for(lambda: scene.connection.execute(row).fetchone() == expected)


def test_request_that_never_arrived_is_sent_again(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(404), items(status=200), accept_request())
    (request,) = scene.submit("resending", name)
    sent = scene.wait_until(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert join_methods(scene, name) == "POST GET GET POST"
    assert sent.failures == 2


def test_request_that_never_arrives_fails(scene: Scene, name: str) -> None:
    scene.script(name, *[DROP, Reply(404), Reply(404)] * 3)
    (request,) = scene.submit("resending", name)
    sent = scene.wait_until(request, "failed")
    assert sent.detail
    assert sent.detail.endswith("so the request never arrived; attempts used up")
    assert join_methods(scene, name) == " ".join(["POST GET GET"] * 3)


def test_request_not_found_stays_unknown_after_giving_up(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(404))
    (request,) = scene.submit("giving-up", name)
    wait_for(lambda: scene.look(request).status == "unknown" and is_lookup_finished(scene, request))
    sent = scene.look(request)
    assert sent.detail
    assert sent.detail.endswith(
        f"; {LOOKUP_SCHEDULED_DETAIL}; gave up looking the request up after 0.4 s; "
        "last: the provider does not know this request"
    )
    assert "POST" not in join_methods(scene, name).removeprefix("POST")
    count = len(scene.received(name))
    assert count > 2
    time.sleep(0.3)
    assert len(scene.received(name)) == count


def test_409_without_reference_is_looked_up(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(409), items((1801, "-0"), status=200))
    (request,) = scene.submit("repeating", name)
    sent = scene.wait_until(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert "an earlier attempt was accepted under an unknown reference" in (sent.detail or "")
    assert join_methods(scene, name) == "POST POST GET"


def test_ambiguous_request_past_its_deadline_is_looked_up(scene: Scene, name: str) -> None:
    scene.script(name, DROP, items((1801, "-0"), status=200))
    (request,) = scene.submit("waiting", name, deadline=3_600.0)
    wait_for(lambda: scene.look(request).failures == 1)
    scene.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [request])
    sent = scene.wait_until(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert (sent.detail or "").startswith("deadline passed; last: ")
    assert join_methods(scene, name) == "POST GET"


def test_paused_provider_is_not_asked_until_resumed(scene: Scene, name: str) -> None:
    scene.script(name, DROP, items((1801, "-0"), status=200))
    (request,) = scene.submit("paused", name)
    scene.wait_until(request, "unknown", "accepted")
    pause_providers(scene.connection, ["paused"], "for the test")
    again = f"{name}-again"
    scene.script(again, DROP, items((1801, "-0"), status=200))
    resume_providers(scene.connection, ["paused"])
    (second,) = scene.submit("paused", again)
    wait_for(lambda: scene.received(again))
    pause_providers(scene.connection, ["paused"], "for the test")
    scene.wait_until(second, "unknown", "accepted")
    count = len(scene.received(again))
    time.sleep(0.5)
    assert len(scene.received(again)) - count <= 1  # One lookup may have been claimed before the pause.
    resume_providers(scene.connection, ["paused"])
    assert scene.wait_until(second, "accepted").jobs == {f"{again}-0": "accepted"}


def test_request_without_lookup_key_is_not_looked_up(scene: Scene, name: str) -> None:
    scene.script(name, DROP)
    (request,) = scene.submit("nameless", name)
    wait_for(lambda: scene.look(request).status == "unknown" and is_lookup_finished(scene, request))
    assert "the request cannot be looked up: its payload has no their_name" in (scene.look(request).detail or "")
    assert join_methods(scene, name) == "POST"


def test_lookup_reports_reference_of_another_request(scene: Scene, name: str) -> None:
    first, second = f"{name}-first", f"{name}-second"
    scene.script(first, items((1801, f"{name}-tie")))
    scene.script(second, DROP, items((1801, f"{name}-tie"), status=200))
    (owner,) = scene.submit("holding", first)
    scene.wait_until(owner, "accepted")
    (other_request,) = scene.submit("holding", second)
    sent = scene.wait_until(other_request, "accepted")
    assert sent.jobs == {}
    assert f"of request {owner}" in (sent.detail or "")


def create_accepted_jobs(scene: Scene, via: str, references: list[str], location: str | None = None) -> None:
    """Create accepted jobs that are due for a poll."""
    acme = build_provider(via, {**DECLARED, "poll": {"path": "/v1/jobs/{reference}"}})
    now = datetime.now(UTC) - timedelta(seconds=1)
    reconcile(
        scene.connection,
        [
            acme.build_event(
                StatusReport(reference, JobStatus.ACCEPTED),
                EventSource.RESPONSE,
                uuid4(),
                now,
                poll_after=0.0,
                location=location,
            )
            for reference in references
        ],
    )


def are_all_succeeded(scene: Scene, references: list[str]) -> bool:
    count = "SELECT count(*) FROM jobs WHERE status = 'succeeded' AND reference = ANY(%s)"
    return scene.connection.execute(count, [references]).fetchone() == (len(references),)


def parse_ids(received: Received) -> list[str]:
    ids: list[str] = json.loads(received.body)["ids"]
    return ids


def reply_done(received: Received, *, without: str = "") -> Reply:
    """Reply that all jobs are done; leave out those whose id contains `without`."""
    jobs = [{"id": job_id, "state": "DONE"} for job_id in parse_ids(received) if not without or without not in job_id]
    return Reply(200, json.dumps({"jobs": jobs}).encode())


@pytest.mark.parametrize(("via", "max_concurrency"), [("many", 16), ("single-file", 1)])
def test_many_jobs_are_polled_in_few_exchanges(scene: Scene, via: str, max_concurrency: int) -> None:
    references = [f"{via}-{number}" for number in range(250)]

    def reply_slowly(received: Received) -> Reply:
        time.sleep(0.05)
        return reply_done(received)

    scene.script(via, reply_slowly)
    create_accepted_jobs(scene, via, references)
    wait_for(lambda: are_all_succeeded(scene, references))
    polls = [parse_ids(received) for received in scene.received(via)]
    assert sorted(map(len, polls)) == [50, 100, 100]
    assert sorted(chain.from_iterable(polls)) == sorted(references)
    assert scene.provider.most_at_once[via] <= max_concurrency


def test_job_missing_from_a_response_is_polled_again(scene: Scene) -> None:
    references = ["moody-1", "moody-2", "moody-3"]
    scene.script("moody", lambda received: reply_done(received, without="-2"), reply_done)
    create_accepted_jobs(scene, "moody", references)
    wait_for(lambda: are_all_succeeded(scene, references))
    first, second = (parse_ids(received) for received in scene.received("moody"))
    assert (sorted(first), second) == (references, ["moody-2"])


def test_jobs_with_a_location_are_polled_alone(scene: Scene) -> None:
    via = "mixed"
    batch = [f"{via}-{number}" for number in range(5)]
    alone = f"{via}-alone"
    scene.script(via, lambda received: reply_done(received) if received.path.endswith("/v1/jobs") else Reply(404))
    create_accepted_jobs(scene, via, batch)
    create_accepted_jobs(scene, via, [alone], "/mixed/own")
    wait_for(lambda: are_all_succeeded(scene, batch) and len({received.path for received in scene.received(via)}) > 1)
    ids_by_path: dict[str, set[str]] = {}
    for received in scene.received(via):
        ids_by_path.setdefault(received.path, set()).update(parse_ids(received))
    assert ids_by_path == {"/mixed/v1/jobs": set(batch), "/mixed/own": {alone}}
