"""Sending, through real workers to a real HTTP server: every row of the sending table, and what crashes leave."""

import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import pytest

from receiver.domain.responses import STATUS_RULES
from receiver.store.database import connect
from receiver.store.providers import find_pauses, resume_provider
from receiver.store.requests import cancel_request
from receiver.store.scratch import scratch_database
from tests.processes import (
    Process,
    assert_ends_well,
    database_away,
    declared,
    running_worker,
    wait_for,
    waiting_for_locks,
)
from tests.provider import DROP, RESET, Provider, Received, Reply, Script, items, once, taken
from tests.scene import Scene, Sent, set_scene

ATTEMPTS = 3
RETRY_QUICKLY = f"retry = {{ attempts = {ATTEMPTS}, base = 0.02, max = 0.05 }}"
PATIENT = f"{RETRY_QUICKLY}\ntimeout = 20"
IMPATIENT = f"{RETRY_QUICKLY}\ntimeout = 0.7\nconnect_timeout = 0.3"
HOLD, RETRY = 'on_ambiguous = "hold"', 'on_ambiguous = "retry"'


pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def closed() -> Iterator[Provider]:
    """A provider that refuses connections until it is told to listen."""
    refusing = Provider()
    yield refusing
    refusing.close()


@pytest.fixture(scope="module")
def mute() -> Iterator[str]:
    """The URL of a server that has no room for another connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def worker(scene: Scene, closed: Provider, mute: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    config = [
        scene.declared("hold", f"{PATIENT}\n{HOLD}"),
        scene.declared("retry", f"{PATIENT}\n{RETRY}"),
        scene.declared("keyless", f"{PATIENT}\n{RETRY}\nidempotent = false"),
        scene.declared("impatient-hold", f"{IMPATIENT}\n{HOLD}"),
        scene.declared("impatient-retry", f"{IMPATIENT}\n{RETRY}"),
        scene.declared("narrow", f"{PATIENT}\nmax_concurrency = 3"),
        scene.declared("single", f"{PATIENT}\nmax_concurrency = 1"),
        scene.declared("pausing", PATIENT),
        scene.declared("crowded", PATIENT),
        *[scene.declared(f"advised-{status}", PATIENT) for status in AGAIN],
        declared("tls", scene.provider.url.replace("http:", "https:"), RETRY_QUICKLY),
        declared("closed", closed.url, RETRY_QUICKLY),
        declared("opening", closed.url, "retry = { attempts = 100, base = 0.1, max = 0.1 }"),
        declared("mute", mute, IMPATIENT),
    ]
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, "".join(config)) as running:
        yield running
        assert_ends_well(running)


@pytest.fixture
def dsn_of_its_own(server: str, template: str) -> Iterator[str]:
    """A database that the module's worker does not see."""
    with scratch_database(server, template=template) as apart:
        yield apart


@pytest.fixture
def name() -> str:
    return f"c-{uuid4().hex}"


@dataclass(frozen=True)
class Row:
    """A row of the sending table: what the provider does, and what must come of it.

    `responses` are the attempts' answers; jobs are told by the ends of their references.
    """

    replies: tuple[Script, ...]
    status: str
    responses: tuple[int | None, ...]
    detail: str = ""
    jobs: Mapping[str, str] = field(default_factory=dict)
    via: str = "hold"
    deadline: float = 3_600.0
    arrive: bool = True


def then_taken(*replies: Script, answered: tuple[int | None, ...], via: str = "hold") -> Row:
    """Tell of a provider that does so and then takes the request."""
    return Row((*replies, taken()), "accepted", (*answered, 202), jobs={"-0": "accepted"}, via=via)


def rejected(status: int, advice: str) -> Row:
    return Row((Reply(status),), "rejected", (status,), f"{status}: {advice}")


def again(status: int) -> Row:
    return then_taken(Reply(status), answered=(status,))


def unknown(reply: Script, response: int | None, detail: str, via: str = "hold") -> Row:
    return Row((reply,), "unknown", (response,), detail, via=via)


def silent(_: Received) -> Reply:
    """Say nothing for longer than an impatient client waits."""
    time.sleep(4.0)
    return DROP


def dripping() -> Iterator[bytes]:
    """Begin an answer that never ends."""
    yield b"HTTP/1.1 202 Accepted\r\n"
    for _ in range(20):
        time.sleep(0.2)
        yield b"x-drip: drop\r\n"


CUT = Reply(raw=(b'HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{"items": [',))
GARBAGE = Reply(raw=(b"\x16\x03\x01 this is no HTTP\r\n\r\n",))
UNREADABLE = Reply(202, b"accepted, thank you")
HUGE = Reply(202, b'{"items": [' + b" " * (3 << 20) + b'{"id": "huge", "code": 1801}]}')
BUSY = items((1899, None), status=200)

AGAIN = (408, 425, 429, 500, 502, 503, 523)

ROWS = {
    # 200, 201: the body's codes are the truth
    "200 with a fate for each item": Row(
        (items((1801, "-0"), (1800, "-1"), (1806, "-2"), (1804, None), status=200),),
        "accepted",
        (200,),
        "1 × rejected, 1806, Invalid recipient. Format the number correctly.; 1 × rejected, 1804",
        {"-0": "accepted", "-1": "succeeded", "-2": "failed"},
    ),
    "200 with all done": Row(
        (items((1800, "-0"), (1800, "-1"), status=200),),
        "completed",
        (200,),
        jobs={"-0": "succeeded", "-1": "succeeded"},
    ),
    "200 with all refused": Row(
        (items((1806, None), (1804, None), status=200),), "rejected", (200,), "1 × rejected, 1806"
    ),
    "200 with a code we do not know": unknown(
        items((7777, "-0"), status=200), 200, "7777, This code is not documented"
    ),
    "200 with a known code beside one we do not know": Row(
        (items((1801, "-0"), (7777, "-1"), status=200),), "accepted", (200,), "1 × .*7777", {"-0": "accepted"}
    ),
    "200 busy": then_taken(BUSY, answered=(200,)),
    "200 busy for ever": Row((BUSY,), "failed", (200,) * ATTEMPTS, "attempts used up; last: 1 × .*1899"),
    "200 without a reference": unknown(items((1801, None), status=200), 200, "accepted, but without a reference, 1801"),
    "201": Row((items((1801, "-0"), status=201),), "accepted", (201,), jobs={"-0": "accepted"}),
    # 202
    "202": Row((taken(),), "accepted", (202,), jobs={"-0": "accepted"}),
    "202 for many": Row(
        (items(*((1801, f"-{number}") for number in range(300))),),
        "accepted",
        (202,),
        jobs={f"-{number}": "accepted" for number in range(300)},
    ),
    # 204
    "204": Row((Reply(204),), "completed", (204,)),
    # refused for good, with the table's advice
    "400": rejected(400, "Bad request: .* Fix the payload"),
    "402": rejected(402, "The provider rejected the request. Review the request"),
    "403": rejected(403, "Forbidden: .* Check the key's access rights"),
    "404": rejected(404, "Not found: .* Check the URL or resource id"),
    "405": rejected(405, "Method not allowed. Use the endpoint's HTTP method"),
    "410": rejected(410, "The provider rejected the request"),
    "422": rejected(422, "The provider rejected the request"),
    "302, which is not followed": Row(
        (Reply(302, headers={"location": "/hold/v1/messages"}),), "rejected", (302,), "302: .*redirect"
    ),
    # duplicate
    "409": rejected(409, "Conflict .* Review the input"),
    "409 after silence, with the references": Row(
        (DROP, items((1801, "-0"), status=409)), "accepted", (None, 409), jobs={"-0": "accepted"}, via="retry"
    ),
    "409 after silence, without a word": Row(
        (DROP, Reply(409)),
        "unknown",
        (None, 409),
        "an earlier attempt was accepted under an unknown reference",
        via="retry",
    ),
    # slow down; their side
    **{f"{status}": again(status) for status in (*AGAIN, 507)},
    "500 for ever": Row(
        (Reply(500),), "failed", (500,) * ATTEMPTS, "attempts used up; last: 500: .*contact the provider"
    ),
    "503 for longer than the deadline": Row(
        (Reply(503, headers={"retry-after": "900"}),), "failed", (503,), "deadline used up; last: 503", deadline=600.0
    ),
    "429 at the last attempt": Row(
        (BUSY, Reply(500), Reply(429)), "failed", (200, 500, 429), "last: 429: .*rate limit"
    ),
    # nobody knows
    "504, hold": unknown(Reply(504), 504, "504: .*may have been accepted. Investigate"),
    "504, retry": then_taken(Reply(504), answered=(504,), via="retry"),
    "504 for ever, retry": Row((Reply(504),), "unknown", (504,) * ATTEMPTS, "attempts used up; last: 504", via="retry"),
    "a read timeout, hold": unknown(silent, None, "no response: ", via="impatient-hold"),
    "a read timeout, retry": then_taken(silent, answered=(None,), via="impatient-retry"),
    "an answer drop by drop, hold": unknown(
        Reply(raw=dripping()), None, "no response: timed out after 1 s", via="impatient-hold"
    ),
    "a dropped connection, hold": unknown(DROP, None, "no response: "),
    "a dropped connection, retry": then_taken(DROP, answered=(None,), via="retry"),
    "a reset connection, hold": unknown(RESET, None, "no response: "),
    "an answer cut short, hold": unknown(CUT, None, "no response: "),
    "an answer that is no HTTP, hold": unknown(GARBAGE, None, "no response: "),
    "202 that cannot be read, hold": unknown(UNREADABLE, 202, "202: .* But the body cannot be read"),
    "202 that cannot be read, retry": then_taken(UNREADABLE, answered=(202,), via="retry"),
    "202 without end, hold": unknown(HUGE, 202, "But the body cannot be read"),
    "500 for ever after silence": Row(
        (DROP, Reply(500)), "unknown", (None, 500, 500), "attempts used up; last: 500", via="retry"
    ),
    # never arrived
    "connection refused": Row(
        (), "failed", (None,) * ATTEMPTS, "used up; last: not sent: ", via="closed", arrive=False
    ),
    "no connection in time": Row(
        (), "failed", (None,) * ATTEMPTS, "used up; last: not sent: ", via="mute", arrive=False
    ),
    "no TLS": Row((), "failed", (None,) * ATTEMPTS, "used up; last: not sent: ", via="tls", arrive=False),
}


@pytest.fixture(scope="module")
def outcomes(scene: Scene) -> Mapping[str, tuple[str, UUID]]:
    """All rows, sent at the same time: the client's reference and the request of each."""
    submitted = {}
    for title, row in ROWS.items():
        name = f"row-{uuid4().hex}"
        scene.script(name, *row.replies)
        submitted[title] = (name, scene.submit(row.via, name, deadline=row.deadline)[0])
    return submitted


@pytest.mark.parametrize("title", ROWS)
def test_a_row_of_the_sending_table(scene: Scene, outcomes: Mapping[str, tuple[str, UUID]], title: str) -> None:
    row, (name, request) = ROWS[title], outcomes[title]
    sent = scene.settled(request)
    assert sent.status == row.status, sent
    assert scene.responses(request) == list(row.responses)
    assert len(scene.received(name)) == (len(row.responses) if row.arrive else 0)
    assert {reference.removeprefix(name): status for reference, status in sent.jobs.items()} == row.jobs
    assert (sent.detail is None) == (not row.detail), sent.detail
    assert re.search(row.detail, sent.detail or ""), sent.detail


@pytest.mark.parametrize("status", AGAIN)
def test_a_request_that_waits_to_be_sent_again_tells_the_advice(scene: Scene, name: str, status: int) -> None:
    """Each has a provider of its own, as what one is asked to wait the others wait as well."""
    scene.script(name, Reply(status, headers={"retry-after": "60"}))
    (request,) = scene.submit(f"advised-{status}", name)
    wait_for(lambda: scene.look(request).failures)
    assert scene.look(request) == Sent("queued", f"{status}: {STATUS_RULES[status].advice}", 1, {})
    assert scene.responses(request) == [status]
    assert len(scene.received(name)) == 1


def not_now(status: int, after: Callable[[], str]) -> Script:
    """Ask to wait, as long as is told when the request comes."""
    return lambda _: Reply(status, b'{"items": [{"id": null, "code": 1899}]}', {"retry-after": after()})


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # of whole seconds: 1 to 2 s


def test_retry_after_is_waited_for_in_either_form(scene: Scene, name: str) -> None:
    """The backoff of this provider is at most 0.05 s."""
    requests = {}
    for status in (202, 408, 429, 500, 503):
        for form, after in {"seconds": lambda: "1", "date": in_two_seconds}.items():
            each = f"{name}-{status}-{form}"
            scene.script(each, not_now(status, after), taken())
            requests[each] = scene.submit("hold", each)[0]
    for each, request in requests.items():
        assert scene.settled(request).status == "accepted"
        first, second = scene.received(each)
        assert second.at - first.at > 0.9


def test_an_attempt_is_committed_before_its_bytes_leave(scene: Scene, name: str) -> None:
    seen: list[tuple[object, ...]] = []

    def look_first(_: Received) -> Reply:
        with closing(connect(scene.dsn)) as own:
            seen.extend(
                own.execute(
                    """SELECT number, attempts.finished_at, status, leased_until > now() FROM attempts
                    JOIN requests ON requests.id = request_id WHERE payload ->> 'client_reference' = %s""",
                    [name],
                )
            )
        return DROP if len(seen) == 1 else Reply(204)

    scene.script(name, look_first)
    (request,) = scene.submit("retry", name)
    assert scene.settled(request).status == "completed"
    first, *both = seen
    assert first == (1, None, "sending", True)
    assert sorted(str(row) for row in both)[1:] == [str((2, None, "sending", True))]


def test_the_request_carries_our_key_its_payload_and_where_to_call_back(scene: Scene, name: str) -> None:
    scene.script(name, Reply(204))
    scene.submit("hold", name)
    received = wait_for(lambda: scene.received(name))[0]
    assert (received.method, received.path) == ("POST", "/hold/v1/messages")
    assert received.headers["authorization"] == "Bearer key"
    assert received.headers["content-type"] == "application/json"
    assert json.loads(received.body) == {
        "client_reference": name,
        "to": ["2348030000000"],
        "text": "hello",
        "callback_url": "https://receiver.example/callbacks/hold",
    }


def test_the_idempotency_key_is_the_same_for_all_attempts_of_a_request_and_of_no_other(scene: Scene, name: str) -> None:
    names = [f"{name}-{number}" for number in range(3)]
    for each in names:
        scene.script(each, DROP, Reply(500), taken())
    for request in scene.submit("retry", *names):
        assert scene.settled(request).status == "accepted"
    keys = [{received.headers["idempotency-key"] for received in scene.received(each)} for each in names]
    assert [len(own_keys) for own_keys in keys] == [1, 1, 1]
    assert len(set.union(*keys)) == 3


def test_a_provider_that_knows_no_idempotency_key_gets_none(scene: Scene, name: str) -> None:
    scene.script(name, Reply(204))
    scene.submit("keyless", name)
    assert "idempotency-key" not in wait_for(lambda: scene.received(name))[0].headers


def test_wrong_credentials_pause_the_provider_and_burn_nothing_until_it_is_resumed(
    worker: Process, scene: Scene, name: str
) -> None:
    first, second = name, f"{name}-second"
    scene.script(first, Reply(401), taken())
    scene.script(second, taken())
    (refused,) = scene.submit("pausing", first)
    reason = wait_for(lambda: find_pauses(scene.connection))[0].pause_reason
    assert reason.startswith("401: Authentication failed")
    (waiting,) = scene.submit("pausing", second)
    time.sleep(0.5)  # several rounds of the worker
    assert scene.look(refused) == Sent("queued", reason, 0, {})
    assert scene.look(waiting) == Sent("queued", None, 0, {})
    assert (len(scene.received(first)), scene.received(second)) == (1, [])
    assert "provider.paused" in worker.output
    resume_provider(scene.connection, "pausing")
    assert scene.settled(refused).status == scene.settled(waiting).status == "accepted"
    assert scene.responses(refused) == [401, 202]


def test_a_refused_connection_is_tried_until_the_provider_is_there(scene: Scene, closed: Provider, name: str) -> None:
    closed.script(name, taken())
    (request,) = scene.submit("opening", name)
    wait_for(lambda: scene.look(request).failures >= 2)
    closed.listen()
    assert scene.settled(request).status == "accepted"
    assert len(closed.of(name)) == 1
    *refused, last = scene.responses(request)
    assert set(refused) == {None}
    assert last == 202


def test_nothing_is_sent_before_its_time_after_its_deadline_or_once_it_is_cancelled(scene: Scene, name: str) -> None:
    early, late, cancelled = (f"{name}-{number}" for number in range(3))
    for each in (early, late, cancelled):
        scene.script(each, Reply(204))
    soon = datetime.now(UTC) + timedelta(seconds=1)
    (first,) = scene.submit("hold", early, send_after=soon)
    (second,) = scene.submit("hold", late, send_after=soon + timedelta(hours=1))
    (third,) = scene.submit("hold", cancelled, send_after=soon)
    scene.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [second])
    assert cancel_request(scene.connection, third, None)
    assert scene.settled(second) == Sent("failed", "deadline passed", 0, {})
    assert scene.look(first).status == "queued"
    submitted = time.monotonic()
    assert scene.settled(first).status == "completed"
    assert scene.received(early)[0].at > submitted
    assert datetime.now(UTC) >= soon
    assert scene.look(third) == Sent("cancelled", "cancelled", 0, {})
    assert scene.received(late) == scene.received(cancelled) == []


def test_no_more_is_sent_to_a_provider_at_once_than_it_takes(scene: Scene, name: str) -> None:
    def take_a_while(_: Received) -> Reply:
        time.sleep(0.05)
        return Reply(204)

    names = [f"{name}-{number}" for number in range(40)]
    for each in names:
        scene.script(each, take_a_while)
    for request in scene.submit("narrow", *names):
        assert scene.settled(request).status == "completed"
    assert scene.provider.most_at_once["narrow"] == 3


def test_a_post_is_never_sent_again_on_its_own_when_a_kept_connection_breaks(scene: Scene, name: str) -> None:
    good, broken, after = (f"{name}-{number}" for number in range(3))
    scene.script(good, Reply(204))
    scene.script(broken, DROP)
    scene.script(after, Reply(204))
    for each, status in ((good, "completed"), (broken, "unknown"), (after, "completed")):
        (request,) = scene.submit("single", each)
        assert scene.settled(request).status == status
        assert len(scene.received(each)) == 1
    assert scene.received(good)[0].connection == scene.received(broken)[0].connection


def test_a_kept_connection_that_the_provider_closed_meanwhile_costs_nothing(scene: Scene, name: str) -> None:
    closing_one, after = f"{name}-0", f"{name}-1"
    scene.script(closing_one, Reply(204, closes=True))
    scene.script(after, Reply(204))
    for each in (closing_one, after):
        (request,) = scene.submit("single", each)
        assert scene.settled(request).status == "completed"
        assert scene.responses(request) == [204]


def test_a_reference_of_another_request_stays_with_the_first_and_is_told(scene: Scene, name: str) -> None:
    requests = []
    for each in (f"{name}-0", f"{name}-1"):
        scene.script(each, items((1801, f"{name}-tie"), (1806, None)))
        requests += scene.submit("hold", each)
        assert scene.settled(requests[-1]).status == "accepted"
    first, second = (scene.look(request) for request in requests)
    assert first.jobs == {f"{name}-tie": "accepted"}
    assert second.jobs == {}
    assert "reference" not in (first.detail or "")
    assert second.detail is not None
    assert second.detail.startswith("1 × rejected, 1806")
    assert f"of request {requests[0]}" in second.detail
    assert scene.connection.execute(
        "SELECT count(*) FROM events JOIN jobs ON jobs.id = job_id WHERE reference = %s", [f"{name}-tie"]
    ).fetchone() == (2,)


def test_a_reference_given_to_two_requests_at_the_same_moment_is_told_too(scene: Scene, name: str) -> None:
    """While the recorder waits for the table, both answers gather in one batch."""
    released = Event()
    ahead, *tied = (f"{name}-{number}" for number in range(3))
    scene.script(ahead, taken())
    for each in tied:
        scene.script(each, once(released, taken(f"{name}-tie")))
    both = scene.submit("hold", *tied)
    wait_for(lambda: all(scene.received(each) for each in tied))
    with closing(connect(scene.dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
        scene.submit("hold", ahead)
        wait_for(lambda: waiting_for_locks(blocker))
        released.set()
        time.sleep(0.3)
    sent = [scene.settled(request) for request in both]
    assert sorted(len(each.jobs) for each in sent) == [0, 1]
    loser = min(sent, key=lambda each: len(each.jobs))
    assert "reference" in (loser.detail or "")


def test_two_workers_send_each_of_many_requests_once(scene: Scene, name: str, tmp_path: Path) -> None:
    names = [f"{name}-{number}" for number in range(200)]
    for each in names:
        scene.script(each, taken())
    with running_worker(tmp_path, scene.dsn, scene.declared("crowded", PATIENT)) as second:
        for request in scene.submit("crowded", *names):
            assert scene.settled(request).status == "accepted"
            assert scene.responses(request) == [202]
        assert_ends_well(second)
    assert sorted(
        received.name for received in scene.provider.received if received.path.startswith("/crowded")
    ) == sorted(names)


def test_what_a_killed_worker_was_sending_is_unknown_or_sent_again_as_configured(
    dsn_of_its_own: str, scene: Scene, name: str, tmp_path: Path
) -> None:
    never = Event()
    config = scene.declared("held", f"{PATIENT}\n{HOLD}") + scene.declared("retried", f"{PATIENT}\n{RETRY}")
    held, retried = f"{name}-held", f"{name}-retried"
    for each in (held, retried):
        scene.script(each, once(never, DROP), taken())
    with set_scene(dsn_of_its_own, scene.provider) as there:
        try:
            with running_worker(tmp_path, there.dsn, config, "victim") as victim:
                requests = there.submit("held", held) + there.submit("retried", retried)
                wait_for(lambda: there.received(held) and there.received(retried))
                victim.kill()
            assert [there.look(request).status for request in requests] == ["sending", "sending"]
            there.lose_leases(*requests)
            with running_worker(tmp_path, there.dsn, config, "heir") as heir:
                assert there.settled(requests[0]) == Sent("unknown", "the worker was lost during the attempt", 1, {})
                assert there.settled(requests[1]).status == "accepted"
                assert_ends_well(heir)
        finally:
            never.set()
        assert (len(there.received(held)), len(there.received(retried))) == (1, 2)
        assert there.responses(requests[1]) == [None, 202]
    assert len({received.headers["idempotency-key"] for received in scene.received(retried)}) == 1


def test_an_answer_that_comes_after_the_lease_ran_out_still_counts(scene: Scene, name: str) -> None:
    late = Event()
    scene.script(name, once(late, taken()))
    (request,) = scene.submit("hold", name)
    try:
        wait_for(lambda: scene.received(name))
        scene.lose_leases(request)
        scene.becomes(request, "unknown")
    finally:
        late.set()
    sent = scene.becomes(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert len(scene.received(name)) == 1


def test_a_late_answer_of_an_attempt_that_was_repeated_meanwhile_does_no_harm(scene: Scene, name: str) -> None:
    late = Event()
    scene.script(name, once(late, taken("-late")), taken())
    (request,) = scene.submit("retry", name)
    try:
        wait_for(lambda: scene.received(name))
        scene.lose_leases(request)
        scene.becomes(request, "accepted")
    finally:
        late.set()
    wait_for(lambda: len(scene.look(request).jobs) == 2)
    assert scene.look(request) == Sent("accepted", None, 2, {f"{name}-0": "accepted", f"{name}-late": "accepted"})


def test_sigterm_ends_a_worker_once_what_it_sends_is_answered_and_begins_nothing(
    scene: Scene, name: str, tmp_path: Path
) -> None:
    released = Event()
    names = [f"{name}-{number}" for number in range(5)]
    for each in names:
        scene.script(each, once(released, taken()))
    try:
        with running_worker(
            tmp_path, scene.dsn, scene.declared("draining", f"{PATIENT}\nmax_concurrency = 2")
        ) as draining:
            requests = scene.submit("draining", *names)
            wait_for(lambda: sum(len(scene.received(each)) for each in names) == 2)
            draining.popen.send_signal(signal.SIGTERM)
            wait_for(lambda: "worker.draining" in draining.output)
            released.set()
            assert draining.popen.wait(20) == 0, draining.output
            assert "Traceback" not in draining.output
    finally:
        released.set()
    sent = [scene.look(request) for request in requests]
    assert sorted(each.status for each in sent) == ["accepted", "accepted", "queued", "queued", "queued"]
    assert sum(len(scene.responses(request)) for request in requests) == 2
    assert sum(len(scene.received(each)) for each in names) == 2


def test_an_answer_is_recorded_however_long_the_database_is_away(
    server: str, dsn_of_its_own: str, scene: Scene, name: str, tmp_path: Path
) -> None:
    released = Event()
    scene.script(name, once(released, taken()))
    config = scene.declared("forgetful", f"{PATIENT}\n{HOLD}")
    with running_worker(tmp_path, dsn_of_its_own, config) as worker:
        with set_scene(dsn_of_its_own, scene.provider) as before:
            (request,) = before.submit("forgetful", name)
        wait_for(lambda: scene.received(name))
        with database_away(server, dsn_of_its_own):
            released.set()
            wait_for(lambda: "attempt.record_delayed" in worker.output)
        with set_scene(dsn_of_its_own, scene.provider) as back:
            assert back.settled(request).jobs == {f"{name}-0": "accepted"}
        assert len(scene.received(name)) == 1
        assert_ends_well(worker)
