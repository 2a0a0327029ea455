"""Requests in doubt and jobs by the hundred, asked about by a real worker at a real HTTP server."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.providers.registry import build_provider
from receiver.reconcile import reconcile
from receiver.store.providers import pause_provider, resume_provider
from tests.factories import SECRET
from tests.kinds import DECLARED
from tests.processes import assert_ends_well, running_worker, wait_for
from tests.provider import DROP, Received, Reply, items, taken
from tests.scene import Scene

QUICK = "first_after = 0.05, max_interval = 0.1"
TABLE = f"""
[providers.{{name}}]
kind = "declared"
base_url = "{{url}}/{{name}}"
retry = {{{{ attempts = 3, base = {{base}}, max = {{base}} }}}}
on_ambiguous = "{{on_ambiguous}}"
signature = {{{{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}}}
operations = {{{{ send = {{{{ path = "/v1/messages", idempotency_header = "Idempotency-Key" }}}} }}}}
lookup = {{{{ path = "/v1/sent/{{{{client_reference}}}}", {QUICK}, {{lookup}} }}}}
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
MANY = """
[providers.{name}]
kind = "declared"
base_url = "{url}/{name}"
max_concurrency = {most}
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
RETRY = 'not_found = "retry"'
ASKED = "its provider is asked about it"


def table(scene: Scene, name: str, lookup: str = "", on_ambiguous: str = "hold", base: float = 0.02) -> str:
    lookup = lookup or 'not_found = "unknown"'
    return TABLE.format(name=name, url=scene.provider.url, lookup=lookup, on_ambiguous=on_ambiguous, base=base)


@pytest.fixture(scope="module", autouse=True)
def worker(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    many = {"many": 16, "single-file": 1, "mixed": 2, "moody": 2}
    config = [
        table(scene, "asked"),
        table(scene, "resending", RETRY),
        table(scene, "repeating", on_ambiguous="retry"),
        table(scene, "waiting", on_ambiguous="retry", base=60.0),
        table(scene, "paused"),
        table(scene, "giving-up", "give_up_after = 0.4"),
        table(scene, "nameless").replace("{client_reference}", "{their_name}"),
        *(MANY.format(name=name, url=scene.provider.url, most=most, secret=SECRET) for name, most in many.items()),
    ]
    scene.script("before", items((1801, "-0"), status=200))
    scene.submit("asked", "before")
    scene.connection.execute("UPDATE requests SET status = 'unknown', due_at = NULL, detail = 'as it was'")
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, "".join(config)) as running:
        yield
        assert_ends_well(running)


@pytest.fixture
def name() -> str:
    return f"c-{uuid4().hex}"


def methods(scene: Scene, name: str) -> str:
    """Give what was sent and asked, in order."""
    return " ".join(received.method for received in scene.received(name))


def asked_no_more(scene: Scene, request: UUID) -> bool:
    row = scene.connection.execute("SELECT next_lookup_at FROM requests WHERE id = %s", [request]).fetchone()
    return row == (None,)


@pytest.mark.parametrize(
    ("known", "status", "jobs"),
    [
        (items((1801, "-0"), status=200), "accepted", {"-0": "accepted"}),
        (items((1800, "-0"), status=200), "completed", {"-0": "succeeded"}),
        (items((1801, "-0"), (1804, "-1"), status=200), "accepted", {"-0": "accepted", "-1": "failed"}),
        (items((1804, None), status=200), "rejected", {}),
    ],
)
def test_a_request_in_doubt_becomes_what_its_provider_knows_of_it(
    scene: Scene, name: str, known: Reply, status: str, jobs: dict[str, str]
) -> None:
    scene.script(name, DROP, Reply(500), Reply(403), items((9999, "-9"), status=200), known)
    (request,) = scene.submit("asked", name)
    scene.becomes(request, "unknown")
    sent = scene.becomes(request, "accepted", "completed", "rejected")
    assert (sent.status, sent.jobs) == (status, {f"{name}{end}": word for end, word in jobs.items()})
    assert sent.detail
    assert sent.detail.startswith("no answer: ")
    assert f"; {ASKED}; the provider knows it" in sent.detail
    assert methods(scene, name) == "POST GET GET GET GET"
    time.sleep(0.3)
    assert len(scene.received(name)) == 5
    assert asked_no_more(scene, request)


def test_what_was_unknown_before_its_provider_could_be_asked_is_asked_about_too(scene: Scene) -> None:
    wait_for(lambda: methods(scene, "before") == "GET")
    row = "SELECT status, detail FROM requests WHERE payload ->> 'client_reference' = 'before'"
    settled = ("accepted", f"as it was; {ASKED}; the provider knows it")
    wait_for(lambda: scene.connection.execute(row).fetchone() == settled)


def test_a_request_that_never_arrived_is_sent_again_where_the_settings_say_so(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(404), items(status=200), taken())
    (request,) = scene.submit("resending", name)
    sent = scene.becomes(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert methods(scene, name) == "POST GET GET POST"
    assert sent.failures == 2


def test_a_request_that_never_arrives_fails_in_the_end(scene: Scene, name: str) -> None:
    scene.script(name, *[DROP, Reply(404), Reply(404)] * 3)
    (request,) = scene.submit("resending", name)
    sent = scene.becomes(request, "failed")
    assert sent.detail
    assert sent.detail.endswith("so it never arrived; attempts used up")
    assert methods(scene, name) == " ".join(["POST GET GET"] * 3)


def test_what_the_provider_does_not_know_stays_unknown_until_it_is_given_up(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(404))
    (request,) = scene.submit("giving-up", name)
    wait_for(lambda: scene.look(request).status == "unknown" and asked_no_more(scene, request))
    sent = scene.look(request)
    assert sent.detail
    assert sent.detail.endswith(f"; {ASKED}; given up asking after 0.4 s; last: the provider does not know it")
    assert "POST" not in methods(scene, name).removeprefix("POST")
    times = len(scene.received(name))
    assert times > 2
    time.sleep(0.3)
    assert len(scene.received(name)) == times


def test_a_duplicate_whose_reference_is_not_told_is_asked_about(scene: Scene, name: str) -> None:
    scene.script(name, DROP, Reply(409), items((1801, "-0"), status=200))
    (request,) = scene.submit("repeating", name)
    sent = scene.becomes(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert "an earlier attempt was taken, under an unknown reference" in (sent.detail or "")
    assert methods(scene, name) == "POST POST GET"


def test_what_passed_its_deadline_in_doubt_is_asked_about(scene: Scene, name: str) -> None:
    scene.script(name, DROP, items((1801, "-0"), status=200))
    (request,) = scene.submit("waiting", name, deadline=3_600.0)
    wait_for(lambda: scene.look(request).failures == 1)
    scene.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [request])
    sent = scene.becomes(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert (sent.detail or "").startswith("deadline passed; last: ")
    assert methods(scene, name) == "POST GET"


def test_a_paused_provider_is_not_asked_until_it_is_resumed(scene: Scene, name: str) -> None:
    scene.script(name, DROP, items((1801, "-0"), status=200))
    (request,) = scene.submit("paused", name)
    scene.becomes(request, "unknown", "accepted")
    pause_provider(scene.connection, "paused", "for the test")
    again = f"{name}-again"
    scene.script(again, DROP, items((1801, "-0"), status=200))
    resume_provider(scene.connection, "paused")
    (second,) = scene.submit("paused", again)
    wait_for(lambda: scene.received(again))
    pause_provider(scene.connection, "paused", "for the test")
    scene.becomes(second, "unknown", "accepted")
    times = len(scene.received(again))
    time.sleep(0.5)
    assert len(scene.received(again)) - times <= 1  # one may have been claimed already
    resume_provider(scene.connection, "paused")
    assert scene.becomes(second, "accepted").jobs == {f"{again}-0": "accepted"}


def test_a_request_that_lacks_what_it_is_known_by_is_not_asked_about(scene: Scene, name: str) -> None:
    scene.script(name, DROP)
    (request,) = scene.submit("nameless", name)
    wait_for(lambda: scene.look(request).status == "unknown" and asked_no_more(scene, request))
    assert "it cannot be asked about: its payload has no their_name" in (scene.look(request).detail or "")
    assert methods(scene, name) == "POST"


def test_a_reference_that_is_another_requests_is_told(scene: Scene, name: str) -> None:
    first, second = f"{name}-first", f"{name}-second"
    scene.script(first, items((1801, f"{name}-tie")))
    scene.script(second, DROP, items((1801, f"{name}-tie"), status=200))
    (owner,) = scene.submit("asked", first)
    scene.becomes(owner, "accepted")
    (claimant,) = scene.submit("asked", second)
    sent = scene.becomes(claimant, "accepted")
    assert sent.jobs == {}
    assert f"of request {owner}" in (sent.detail or "")


def accept(scene: Scene, via: str, references: list[str], location: str | None = None) -> None:
    """Let answers have created jobs that are due to be asked about."""
    acme = build_provider(via, {**DECLARED, "poll": {"path": "/v1/jobs/{reference}"}})
    now = datetime.now(UTC) - timedelta(seconds=1)
    reconcile(
        scene.connection,
        [
            acme.event(
                StatusReport(one, JobStatus.ACCEPTED),
                EventSource.RESPONSE,
                uuid4(),
                now,
                poll_after=0.0,
                location=location,
            )
            for one in references
        ],
    )


def finished(scene: Scene, references: list[str]) -> bool:
    count = "SELECT count(*) FROM jobs WHERE status = 'succeeded' AND reference = ANY(%s)"
    return scene.connection.execute(count, [references]).fetchone() == (len(references),)


def asked_for(received: Received) -> list[str]:
    ids: list[str] = json.loads(received.body)["ids"]
    return ids


def done(received: Received, *, except_for: str = "") -> Reply:
    """Answer that all jobs are done, and nothing of those that are excepted."""
    jobs = [{"id": one, "state": "DONE"} for one in asked_for(received) if not except_for or except_for not in one]
    return Reply(200, json.dumps({"jobs": jobs}).encode())


@pytest.mark.parametrize(("via", "most"), [("many", 16), ("single-file", 1)])
def test_many_jobs_are_asked_about_in_few_exchanges(scene: Scene, via: str, most: int) -> None:
    references = [f"{via}-{number}" for number in range(250)]

    def response(received: Received) -> Reply:
        time.sleep(0.05)
        return done(received)

    scene.script(via, response)
    accept(scene, via, references)
    wait_for(lambda: finished(scene, references))
    polls = [asked_for(received) for received in scene.received(via)]
    assert sorted(map(len, polls)) == [50, 100, 100]
    assert sorted(chain.from_iterable(polls)) == sorted(references)
    assert scene.provider.most_at_once[via] <= most


def test_a_job_that_an_answer_leaves_out_is_asked_about_again(scene: Scene) -> None:
    references = ["moody-1", "moody-2", "moody-3"]
    scene.script("moody", lambda received: done(received, except_for="-2"), done)
    accept(scene, "moody", references)
    wait_for(lambda: finished(scene, references))
    first, second = (asked_for(received) for received in scene.received("moody"))
    assert (sorted(first), second) == (references, ["moody-2"])


def test_jobs_with_a_url_of_their_own_are_asked_about_there(scene: Scene) -> None:
    via = "mixed"
    together = [f"{via}-{number}" for number in range(5)]
    alone = f"{via}-alone"
    scene.script(via, lambda received: done(received) if received.path.endswith("/v1/jobs") else Reply(404))
    accept(scene, via, together)
    accept(scene, via, [alone], "/mixed/own")
    wait_for(lambda: finished(scene, together) and len({received.path for received in scene.received(via)}) > 1)
    asked: dict[str, set[str]] = {}
    for received in scene.received(via):
        asked.setdefault(received.path, set()).update(asked_for(received))
    assert asked == {"/mixed/v1/jobs": set(together), "/mixed/own": {alone}}
