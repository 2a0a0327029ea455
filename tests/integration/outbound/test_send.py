"""Sending with real workers and a real HTTP server: every row of the sending table, and the effects of crashes."""

import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import product
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import pytest

from receiver.domain.decisions import LAST_RETRY_BEFORE_DEADLINE_S
from receiver.domain.responses import STATUS_RULES
from receiver.store.connections import connect
from receiver.store.providers import find_pauses, resume_providers
from receiver.store.requests import cancel_requests
from tests.support.processes import (
    Process,
    assert_ends_well,
    block_database,
    build_provider_toml,
    find_lock_waiters,
    running_worker,
    wait_for,
)
from tests.support.provider import DROP, RESET, Provider, Received, Reply, Script, accept_request, items, reply_after
from tests.support.proxy import Proxy
from tests.support.scene import Scene, Sent, open_scene

ATTEMPTS = 3
FAST_RETRIES = f"retry = {{ attempts = {ATTEMPTS}, base = 0.02, max = 0.05 }}"
LONG_TIMEOUT = f"{FAST_RETRIES}\ntimeout = 20"
SHORT_TIMEOUT = f"{FAST_RETRIES}\ntimeout = 0.7\nconnect_timeout = 0.3"
HOLD, RETRY = 'on_ambiguous = "hold"', 'on_ambiguous = "retry"'
PAUSED = (401, 402, 403)
PAUSING = 'status_codes = { 403 = "pause" }'
CONFIGURED = 'status_codes = { 400 = "retry", 409 = "accept", 503 = "reject" }'
BUSY_REPLIES = list(product((202, 408, 429, 500, 503), ("seconds", "date")))
"""The statuses with a `Retry-After` header in one of its formats."""


pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def closed() -> Iterator[Provider]:
    """A provider that refuses connections until `listen` is called."""
    closed_provider = Provider()
    yield closed_provider
    closed_provider.close()


@pytest.fixture(scope="module")
def unresponsive() -> Iterator[str]:
    """The URL of a server whose backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def worker(
    scene: Scene, closed: Provider, unresponsive: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    config = [
        scene.build_provider_toml("hold", f"{LONG_TIMEOUT}\n{HOLD}"),
        scene.build_provider_toml("retry", f"{LONG_TIMEOUT}\n{RETRY}"),
        scene.build_provider_toml("keyless", f"{LONG_TIMEOUT}\n{RETRY}\nidempotent = false"),
        scene.build_provider_toml("impatient-hold", f"{SHORT_TIMEOUT}\n{HOLD}"),
        scene.build_provider_toml("impatient-retry", f"{SHORT_TIMEOUT}\n{RETRY}"),
        scene.build_provider_toml("narrow", f"{LONG_TIMEOUT}\nmax_concurrency = 3"),
        scene.build_provider_toml("single", f"{LONG_TIMEOUT}\nmax_concurrency = 1"),
        *[scene.build_provider_toml(f"pausing-{status}", f"{LONG_TIMEOUT}\n{PAUSING}") for status in PAUSED],
        scene.build_provider_toml("explained", f"{LONG_TIMEOUT}\n{HOLD}"),
        scene.build_provider_toml("configured", f"{LONG_TIMEOUT}\n{CONFIGURED}"),
        scene.build_provider_toml("paced", f"{LONG_TIMEOUT}\nmax_per_second = 20"),
        scene.build_provider_toml("crowded", LONG_TIMEOUT),
        *[scene.build_provider_toml(f"advised-{status}", LONG_TIMEOUT) for status in RETRIED],
        *[scene.build_provider_toml(f"beyond-{status}", LONG_TIMEOUT) for status in (429, 503)],
        build_declared_toml("located", scene.provider.url, 'reference = "header:Location"'),
        build_declared_toml("unlocated", scene.provider.url, 'reference = "id"'),
        build_declared_toml("secretive", scene.provider.url, 'reference = "id"')
        + '[providers.secretive.auth]\nscheme = "bearer"\nsecret = "a+secret/of=ours"\n',
        build_declared_toml("own-id", scene.provider.url, 'reference = "request_id"'),
        *[scene.build_provider_toml(f"busy-{status}-{form}", LONG_TIMEOUT) for status, form in BUSY_REPLIES],
        build_provider_toml("tls", scene.provider.url.replace("http:", "https:"), FAST_RETRIES),
        build_provider_toml("closed", closed.url, FAST_RETRIES),
        build_provider_toml("opening", closed.url, "retry = { attempts = 100, base = 0.1, max = 0.1 }"),
        build_provider_toml("mute", unresponsive, SHORT_TIMEOUT),
    ]
    with running_worker(tmp_path_factory.mktemp("worker"), scene.dsn, "".join(config)) as running:
        yield running
        assert_ends_well(running)


def build_declared_toml(name: str, url: str, response: str) -> str:
    """Build the configuration of a declared provider with this table `response`."""
    return f"""
[providers.{name}]
kind = "declared"
base_url = "{url}/{name}"
{FAST_RETRIES}
signature = {{ scheme = "token", secrets = ["an-unguessable-token"] }}
operations.send = {{ path = "/v1/messages", idempotency_header = "Idempotency-Key" }}
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
response = {{ {response} }}
"""


@pytest.fixture
def name() -> str:
    return f"c-{uuid4().hex}"


@dataclass(frozen=True)
class Row:
    """A row of the sending table: the provider's replies, and the expected result.

    `responses` are the attempts' response statuses; `jobs` maps the ends of the jobs' references to their statuses.
    """

    replies: tuple[Script, ...]
    status: str
    responses: tuple[int | None, ...]
    detail: str = ""
    jobs: Mapping[str, str] = field(default_factory=dict)
    via: str = "hold"
    deadline: float = 3_600.0
    arrive: bool = True


def then_accepted(*replies: Script, responses: tuple[int | None, ...], via: str = "hold") -> Row:
    """Build the row of a provider that replies so and then accepts the request."""
    return Row((*replies, accept_request()), "accepted", (*responses, 202), jobs={"-0": "accepted"}, via=via)


def rejected(status: int, advice: str) -> Row:
    return Row((Reply(status),), "rejected", (status,), f"{status}: {advice}")


def retried(status: int) -> Row:
    return then_accepted(Reply(status), responses=(status,))


def unknown(reply: Script, response: int | None, detail: str, via: str = "hold") -> Row:
    return Row((reply,), "unknown", (response,), detail, via=via)


def stay_silent(_: Received) -> Reply:
    """Send nothing for longer than the short timeout."""
    time.sleep(4.0)
    return DROP


def send_slowly() -> Iterator[bytes]:
    """Begin a response that never ends."""
    yield b"HTTP/1.1 202 Accepted\r\n"
    for _ in range(20):
        time.sleep(0.2)
        yield b"x-drip: drop\r\n"


CUT = Reply(raw=(b'HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{"items": [',))
NOT_HTTP = Reply(raw=(b"\x16\x03\x01 this is no HTTP\r\n\r\n",))
UNREADABLE = Reply(202, b"accepted, thank you")
HUGE = Reply(202, b'{"items": [' + b" " * (3 << 20) + b'{"id": "huge", "code": 1801}]}')
BROTLI = Reply(202, b"\x0b\x02\x80", {"Content-Encoding": "br"})
BUSY = items((1899, None), status=200)


def name_job(reply: Reply, header: str, value: str) -> Script:
    """Name the job of the request `-0` in a header, in place of `{}` in its value."""
    return lambda received: replace(reply, headers={header: value.format(f"{received.name}-0")})


RETRIED = (408, 425, 429, 500, 502, 503, 523)

ROWS = {
    # 200, 201: the body's codes are the truth
    "200 with a result for each item": Row(
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
    "200 with all rejected": Row(
        (items((1806, None), (1804, None), status=200),), "rejected", (200,), "1 × rejected, 1806"
    ),
    "200 with an unmapped code": unknown(items((7777, "-0"), status=200), 200, "7777, This code is not documented"),
    "200 with a mapped and an unmapped code": Row(
        (items((1801, "-0"), (7777, "-1"), status=200),), "accepted", (200,), "1 × .*7777", {"-0": "accepted"}
    ),
    "200 busy": then_accepted(BUSY, responses=(200,)),
    "200 busy for ever": Row((BUSY,), "failed", (200,) * ATTEMPTS, "attempts used up; last: 1 × .*1899"),
    "200 without a reference": unknown(items((1801, None), status=200), 200, "accepted, but without a reference, 1801"),
    "201": Row((items((1801, "-0"), status=201),), "accepted", (201,), jobs={"-0": "accepted"}),
    # 202
    "202": Row((accept_request(),), "accepted", (202,), jobs={"-0": "accepted"}),
    "202 for many": Row(
        (items(*((1801, f"-{number}") for number in range(300))),),
        "accepted",
        (202,),
        jobs={f"-{number}": "accepted" for number in range(300)},
    ),
    # 204
    "204": Row((Reply(204),), "completed", (204,)),
    # rejected, with the table's advice
    "400": rejected(400, "Bad request: .* Fix the payload"),
    "403": rejected(403, "Forbidden: .* Check the key's access rights"),
    "404": rejected(404, "Not found: .* Check the URL or resource id"),
    "405": rejected(405, "Method not allowed. Use the endpoint's HTTP method"),
    "410": rejected(410, "The provider rejected the request"),
    "422": rejected(422, "The provider rejected the request"),
    "302, which is not followed": Row(
        (Reply(302, headers={"location": "/hold/v1/messages"}),), "rejected", (302,), "302: .*redirect"
    ),
    # what the provider says
    "422 with a message": Row(
        (Reply(422, b'{"error": {"message": "No such number."}}'),),
        "rejected",
        (422,),
        r"422: .* Review the request\. The provider responded: No such number\.",
        via="explained",
    ),
    "200 with a page of HTML": unknown(
        Reply(200, b"<title>Account suspended</title>", {"content-type": "text/html"}),
        200,
        r"200: .* But the body is not JSON \(text/html\): Account suspended\.",
        via="explained",
    ),
    "500 with a message for ever": Row(
        (Reply(500, b'{"title": "Failed", "detail": "disk full"}'),),
        "failed",
        (500,) * ATTEMPTS,
        "attempts used up; last: 500: .* The provider responded: Failed: disk full",
        via="explained",
    ),
    # references outside the body
    "202 with a location": Row(
        (name_job(Reply(202), "location", "/jobs/{}?full=1"),),
        "accepted",
        (202,),
        jobs={"-0": "accepted"},
        via="located",
    ),
    "202 with a location that is not configured": unknown(
        Reply(202, b'{"job": 1}', {"location": "/jobs/1"}),
        202,
        "no reference at `id`; the response has the header Location: "
        'set response.reference = "header:Location". The provider responded: {"job": 1}',
        via="unlocated",
    ),
    # configured by status_codes
    "400, configured to be retried": then_accepted(Reply(400), responses=(400,), via="configured"),
    "503, configured to be rejected": Row(
        (Reply(503),), "rejected", (503,), r"503: .* \(status_codes: reject\)", via="configured"
    ),
    "409, configured to be accepted": Row(
        (items((1801, "-0"), status=409),), "accepted", (409,), jobs={"-0": "accepted"}, via="configured"
    ),
    # duplicate
    "409": rejected(409, "Conflict .* Review the input"),
    "409 after no response, with the references": Row(
        (DROP, items((1801, "-0"), status=409)), "accepted", (None, 409), jobs={"-0": "accepted"}, via="retry"
    ),
    "409 after no response, without a reference": Row(
        (DROP, Reply(409)),
        "unknown",
        (None, 409),
        "an earlier attempt was accepted under an unknown reference",
        via="retry",
    ),
    # slow down; provider errors
    **{f"{status}": retried(status) for status in (*RETRIED, 507)},
    "500 for ever": Row(
        (Reply(500),), "failed", (500,) * ATTEMPTS, "attempts used up; last: 500: .*contact the provider"
    ),
    "503 for longer than the deadline": Row(
        (Reply(503, headers={"retry-after": "900"}),),
        "failed",
        (503, 503),
        "deadline used up: the provider asks to wait 900 s; last: 503",
        via="beyond-503",
        deadline=LAST_RETRY_BEFORE_DEADLINE_S + 0.5,
    ),
    "429 holds the provider beyond the deadline": Row(
        (Reply(429, headers={"retry-after": "900"}),),
        "failed",
        (429,),
        "deadline passed; last: 429: .* .the provider asks to wait 900 s.",
        via="beyond-429",
        deadline=LAST_RETRY_BEFORE_DEADLINE_S + 0.5,
    ),
    "429 at the last attempt": Row(
        (BUSY, Reply(500), Reply(429)), "failed", (200, 500, 429), "last: 429: .*rate limit"
    ),
    # ambiguous
    "504, hold": unknown(Reply(504), 504, "504: .*may have been accepted. Investigate"),
    "504, retry": then_accepted(Reply(504), responses=(504,), via="retry"),
    "504 for ever, retry": Row((Reply(504),), "unknown", (504,) * ATTEMPTS, "attempts used up; last: 504", via="retry"),
    "a read timeout, hold": unknown(stay_silent, None, "no response: ", via="impatient-hold"),
    "a read timeout, retry": then_accepted(stay_silent, responses=(None,), via="impatient-retry"),
    "a response byte by byte, hold": unknown(
        Reply(raw=send_slowly()), None, "no response: timed out after 0.7 s", via="impatient-hold"
    ),
    "a dropped connection, hold": unknown(DROP, None, "no response: "),
    "a dropped connection, retry": then_accepted(DROP, responses=(None,), via="retry"),
    "a reset connection, hold": unknown(RESET, None, "no response: "),
    "a response cut short, hold": unknown(CUT, None, "no response: "),
    "a response that is not HTTP, hold": unknown(NOT_HTTP, None, "no response: "),
    "202 with an unreadable body, hold": unknown(
        UNREADABLE, 202, r"202: .* But the body is not JSON: accepted, thank you\."
    ),
    "202 with an unreadable body, retry": then_accepted(UNREADABLE, responses=(202,), via="retry"),
    "202 with a huge body, hold": unknown(HUGE, 202, "But the response exceeds 1048576 bytes"),
    "202 in an unread encoding, hold": unknown(BROTLI, 202, "But the response is encoded in br, which is not read"),
    "500 for ever after no response": Row(
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
    """All rows, sent at the same time: the client reference and the request id of each."""
    submitted = {}
    for title, row in ROWS.items():
        name = f"row-{uuid4().hex}"
        scene.script(name, *row.replies)
        submitted[title] = (name, scene.submit(row.via, name, deadline=row.deadline)[0])
    return submitted


@pytest.mark.parametrize("title", ROWS)
def test_sending_table_row(scene: Scene, outcomes: Mapping[str, tuple[str, UUID]], title: str) -> None:
    row, (name, request) = ROWS[title], outcomes[title]
    sent = scene.wait_until_settled(request)
    assert sent.status == row.status, sent
    assert scene.responses(request) == list(row.responses)
    assert len(scene.received(name)) == (len(row.responses) if row.arrive else 0)
    assert {reference.removeprefix(name): status for reference, status in sent.jobs.items()} == row.jobs
    assert (sent.detail is None) == (not row.detail), sent.detail
    assert re.search(row.detail, sent.detail or ""), sent.detail


@pytest.mark.parametrize("status", RETRIED)
def test_requeued_request_shows_advice(scene: Scene, name: str, status: int) -> None:
    """Each status has its own provider, because `Retry-After` holds all requests of a provider."""
    scene.script(name, Reply(status, headers={"retry-after": "60"}))
    (request,) = scene.submit(f"advised-{status}", name)
    wait_for(lambda: scene.look(request).failures)
    assert scene.look(request) == Sent(
        "queued", f"{status}: {STATUS_RULES[status].advice} (the provider asks to wait 60 s)", 1, {}
    )
    assert scene.responses(request) == [status]
    assert len(scene.received(name)) == 1


def busy(status: int, retry_after: Callable[[], str]) -> Script:
    """Ask to wait as long as `retry_after` returns at the time of the request."""
    return lambda _: Reply(status, b'{"items": [{"id": null, "code": 1899}]}', {"retry-after": retry_after()})


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # whole seconds: 1 to 2 s from now


def test_retry_after_is_respected_in_both_formats(scene: Scene, name: str) -> None:
    """Check that the waits come from `Retry-After`: the backoff of these providers is at most 0.05 s.

    Each case has its own provider, because `Retry-After` holds all requests of a provider.
    """
    formats = {"seconds": lambda: "1", "date": in_two_seconds}
    requests = {}
    for status, form in BUSY_REPLIES:
        client_reference = f"{name}-{status}-{form}"
        scene.script(client_reference, busy(status, formats[form]), accept_request())
        requests[client_reference] = scene.submit(f"busy-{status}-{form}", client_reference)[0]
    for client_reference, request in requests.items():
        assert scene.wait_until_settled(request).status == "accepted"
        first, second = scene.received(client_reference)
        assert second.at - first.at > 0.9


def test_attempt_is_committed_before_sending(scene: Scene, name: str) -> None:
    rows: list[tuple[object, ...]] = []

    def read_attempt(_: Received) -> Reply:
        with closing(connect(scene.dsn)) as own_connection:
            rows.extend(
                own_connection.execute(
                    """SELECT number, attempts.finished_at, status, leased_until > now() FROM attempts
                    JOIN requests ON requests.id = request_id WHERE payload ->> 'client_reference' = %s""",
                    [name],
                )
            )
        return DROP if len(rows) == 1 else Reply(204)

    scene.script(name, read_attempt)
    (request,) = scene.submit("retry", name)
    assert scene.wait_until_settled(request).status == "completed"
    first, *rest = rows
    assert first == (1, None, "sending", True)
    assert sorted(str(row) for row in rest)[1:] == [str((2, None, "sending", True))]


def test_request_contains_key_payload_and_callback_url(scene: Scene, name: str) -> None:
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


def test_idempotency_key_is_stable_per_request(scene: Scene, name: str) -> None:
    names = [f"{name}-{number}" for number in range(3)]
    for client_reference in names:
        scene.script(client_reference, DROP, Reply(500), accept_request())
    for request in scene.submit("retry", *names):
        assert scene.wait_until_settled(request).status == "accepted"
    keys = [
        {received.headers["idempotency-key"] for received in scene.received(client_reference)}
        for client_reference in names
    ]
    assert [len(own_keys) for own_keys in keys] == [1, 1, 1]
    assert len(set.union(*keys)) == 3


def test_provider_without_idempotency_gets_no_key(scene: Scene, name: str) -> None:
    scene.script(name, Reply(204))
    scene.submit("keyless", name)
    assert "idempotency-key" not in wait_for(lambda: scene.received(name))[0].headers


@pytest.mark.parametrize("status", PAUSED)
def test_refused_account_pauses_provider_until_resumed(worker: Process, scene: Scene, name: str, status: int) -> None:
    via, first, second = f"pausing-{status}", name, f"{name}-second"
    scene.script(first, Reply(status), accept_request())
    scene.script(second, accept_request())
    (rejected_request,) = scene.submit(via, first)
    reason = wait_for(lambda: find_pauses(scene.connection))[0].pause_reason
    assert reason.startswith(f"{status}: {STATUS_RULES[status].advice}")
    (waiting_request,) = scene.submit(via, second)
    time.sleep(0.5)  # several rounds of the worker
    assert scene.look(rejected_request) == Sent("queued", reason, 0, {})
    assert scene.look(waiting_request) == Sent("queued", None, 0, {})
    assert (len(scene.received(first)), scene.received(second)) == (1, [])
    assert "provider.paused" in worker.output
    resume_providers(scene.connection, [via])
    assert (
        scene.wait_until_settled(rejected_request).status
        == scene.wait_until_settled(waiting_request).status
        == "accepted"
    )
    assert scene.responses(rejected_request) == [status, 202]


def test_refused_connection_is_retried_until_provider_listens(scene: Scene, closed: Provider, name: str) -> None:
    closed.script(name, accept_request())
    (request,) = scene.submit("opening", name)
    wait_for(lambda: scene.look(request).failures >= 2)
    closed.listen()
    assert scene.wait_until_settled(request).status == "accepted"
    assert len(closed.find_received(name)) == 1
    *refusals, last = scene.responses(request)
    assert set(refusals) == {None}
    assert last == 202


def test_job_may_be_known_by_the_id_that_was_sent(scene: Scene, name: str) -> None:
    scene.script(name, Reply(202))
    (request,) = scene.submit("own-id", name)
    assert scene.wait_until_settled(request) == Sent("accepted", None, 1, {str(request): "accepted"})
    assert scene.received(name)[0].headers["idempotency-key"] == str(request)


def test_secrets_in_responses_are_not_stored(scene: Scene, name: str) -> None:
    echo = b'{"message": "Invalid key a+secret/of=ours, a%2Bsecret%2Fof%3Dours"}'
    scene.script(name, Reply(400, echo, {"x-echo": "Bearer a+secret/of=ours", "set-cookie": "session=1"}))
    (request,) = scene.submit("secretive", name)
    sent = scene.wait_until_settled(request)
    assert sent.detail is not None
    assert sent.detail.endswith("The provider responded: Invalid key [redacted], [redacted]")
    rows = scene.connection.execute(
        "SELECT response_headers, response_body FROM attempts WHERE request_id = %s", [request]
    ).fetchall()
    [(headers, body)] = rows
    assert (headers["x-echo"], headers["set-cookie"]) == ("Bearer [redacted]", "[redacted]")
    assert body == b'{"message": "Invalid key [redacted], [redacted]"}'


def test_early_expired_and_cancelled_requests_are_not_sent(scene: Scene, name: str) -> None:
    early, late, cancelled = (f"{name}-{number}" for number in range(3))
    for client_reference in (early, late, cancelled):
        scene.script(client_reference, Reply(204))
    soon = datetime.now(UTC) + timedelta(seconds=3)
    (first,) = scene.submit("hold", early, send_after=soon)
    (second,) = scene.submit("hold", late, send_after=soon + timedelta(hours=1))
    (third,) = scene.submit("hold", cancelled, send_after=soon)
    scene.connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [second])
    assert cancel_requests(scene.connection, [third], {}) == [third]
    assert scene.wait_until_settled(second) == Sent("failed", "deadline passed", 0, {})
    assert scene.look(first).status == "queued"
    submitted = time.monotonic()
    assert scene.wait_until_settled(first).status == "completed"
    assert scene.received(early)[0].at > submitted
    assert datetime.now(UTC) >= soon
    assert scene.look(third) == Sent("cancelled", "cancelled", 0, {})
    assert scene.received(late) == scene.received(cancelled) == []


def test_urgent_request_overtakes_a_backlog(scene: Scene, name: str) -> None:
    backlog = [f"{name}-{number}" for number in range(400)]
    scene.submit("paced", *backlog)
    wait_for(lambda: len(scene.received_by("paced")) >= 5)
    (request,) = scene.submit("paced", name, priority=9)
    submitted = time.monotonic()
    scene.wait_until_settled(request)
    assert scene.received(name)[0].at - submitted < 1.0
    assert len(scene.received_by("paced")) < 100
    scene.connection.execute("DELETE FROM requests WHERE provider = 'paced' AND status = 'queued'")


def test_max_concurrency_is_respected(scene: Scene, name: str) -> None:
    def reply_slowly(_: Received) -> Reply:
        time.sleep(0.05)
        return Reply(204)

    names = [f"{name}-{number}" for number in range(40)]
    for client_reference in names:
        scene.script(client_reference, reply_slowly)
    for request in scene.submit("narrow", *names):
        assert scene.wait_until_settled(request).status == "completed"
    assert scene.provider.most_at_once["narrow"] == 3


def test_post_is_not_resent_on_broken_pooled_connection(scene: Scene, name: str) -> None:
    good, broken, later = (f"{name}-{number}" for number in range(3))
    scene.script(good, Reply(204))
    scene.script(broken, DROP)
    scene.script(later, Reply(204))
    for client_reference, status in ((good, "completed"), (broken, "unknown"), (later, "completed")):
        (request,) = scene.submit("single", client_reference)
        assert scene.wait_until_settled(request).status == status
        assert len(scene.received(client_reference)) == 1
    assert scene.received(good)[0].connection == scene.received(broken)[0].connection


def test_pooled_connection_closed_by_provider_is_replaced(scene: Scene, name: str) -> None:
    closing_name, later = f"{name}-0", f"{name}-1"
    scene.script(closing_name, Reply(204, closes=True))
    scene.script(later, Reply(204))
    for client_reference in (closing_name, later):
        (request,) = scene.submit("single", client_reference)
        assert scene.wait_until_settled(request).status == "completed"
        assert scene.responses(request) == [204]


def test_duplicate_reference_stays_with_first_request(scene: Scene, name: str) -> None:
    requests = []
    for client_reference in (f"{name}-0", f"{name}-1"):
        scene.script(client_reference, items((1801, f"{name}-tie"), (1806, None)))
        requests += scene.submit("hold", client_reference)
        assert scene.wait_until_settled(requests[-1]).status == "accepted"
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


def test_concurrent_duplicate_reference_is_flagged(scene: Scene, name: str) -> None:
    """While the recorder waits for the table lock, both responses gather in one batch."""
    released = Event()
    ahead, *conflicting = (f"{name}-{number}" for number in range(3))
    scene.script(ahead, accept_request())
    for client_reference in conflicting:
        scene.script(client_reference, reply_after(released, accept_request(f"{name}-tie")))
    requests = scene.submit("hold", *conflicting)
    wait_for(lambda: all(scene.received(client_reference) for client_reference in conflicting))
    with closing(connect(scene.dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
        scene.submit("hold", ahead)
        wait_for(lambda: find_lock_waiters(blocker))
        released.set()
        time.sleep(0.3)
    sent = [scene.wait_until_settled(request) for request in requests]
    assert sorted(len(result.jobs) for result in sent) == [0, 1]
    without_job = min(sent, key=lambda result: len(result.jobs))
    assert "reference" in (without_job.detail or "")


def test_two_workers_send_every_request_once(scene: Scene, name: str, tmp_path: Path) -> None:
    names = [f"{name}-{number}" for number in range(200)]
    for client_reference in names:
        scene.script(client_reference, accept_request())
    with running_worker(tmp_path, scene.dsn, scene.build_provider_toml("crowded", LONG_TIMEOUT)) as second:
        for request in scene.submit("crowded", *names):
            assert scene.wait_until_settled(request).status == "accepted"
            assert scene.responses(request) == [202]
        assert_ends_well(second)
    assert sorted(
        received.name for received in scene.provider.received if received.path.startswith("/crowded")
    ) == sorted(names)


def test_killed_workers_attempt_follows_on_ambiguous(dsn: str, scene: Scene, name: str, tmp_path: Path) -> None:
    never = Event()
    config = scene.build_provider_toml("held", f"{LONG_TIMEOUT}\n{HOLD}") + scene.build_provider_toml(
        "retried", f"{LONG_TIMEOUT}\n{RETRY}"
    )
    held, retried = f"{name}-held", f"{name}-retried"
    for client_reference in (held, retried):
        scene.script(client_reference, reply_after(never, DROP), accept_request())
    with open_scene(dsn, scene.provider) as own_scene:
        try:
            with running_worker(tmp_path, own_scene.dsn, config, "victim") as victim:
                requests = own_scene.submit("held", held) + own_scene.submit("retried", retried)
                wait_for(lambda: own_scene.received(held) and own_scene.received(retried))
                victim.kill()
            assert [own_scene.look(request).status for request in requests] == ["sending", "sending"]
            own_scene.lose_leases(*requests)
            with running_worker(tmp_path, own_scene.dsn, config, "successor") as successor:
                assert own_scene.wait_until_settled(requests[0]) == Sent(
                    "unknown", "the worker was lost during the attempt", 1, {}
                )
                assert own_scene.wait_until_settled(requests[1]).status == "accepted"
                assert_ends_well(successor)
        finally:
            never.set()
        assert (len(own_scene.received(held)), len(own_scene.received(retried))) == (1, 2)
        assert own_scene.responses(requests[1]) == [None, 202]
    assert len({received.headers["idempotency-key"] for received in scene.received(retried)}) == 1


def test_response_after_lease_end_counts(scene: Scene, name: str) -> None:
    late = Event()
    scene.script(name, reply_after(late, accept_request()))
    (request,) = scene.submit("hold", name)
    try:
        wait_for(lambda: scene.received(name))
        scene.lose_leases(request)
        scene.wait_until(request, "unknown")
    finally:
        late.set()
    sent = scene.wait_until(request, "accepted")
    assert sent.jobs == {f"{name}-0": "accepted"}
    assert len(scene.received(name)) == 1


def test_late_response_of_repeated_attempt_adds_its_job(scene: Scene, name: str) -> None:
    late = Event()
    scene.script(name, reply_after(late, accept_request("-late")), accept_request())
    (request,) = scene.submit("retry", name)
    try:
        wait_for(lambda: scene.received(name))
        scene.lose_leases(request)
        scene.wait_until(request, "accepted")
    finally:
        late.set()
    wait_for(lambda: len(scene.look(request).jobs) == 2)
    assert scene.look(request) == Sent("accepted", None, 2, {f"{name}-0": "accepted", f"{name}-late": "accepted"})


def test_sigterm_drains_exchanges_in_flight(scene: Scene, name: str, tmp_path: Path) -> None:
    released = Event()
    names = [f"{name}-{number}" for number in range(5)]
    for client_reference in names:
        scene.script(client_reference, reply_after(released, accept_request()))
    try:
        with running_worker(
            tmp_path, scene.dsn, scene.build_provider_toml("draining", f"{LONG_TIMEOUT}\nmax_concurrency = 2")
        ) as draining:
            requests = scene.submit("draining", *names)
            wait_for(lambda: sum(len(scene.received(client_reference)) for client_reference in names) == 2)
            draining.popen.send_signal(signal.SIGTERM)
            wait_for(lambda: "worker.drain_started" in draining.output)
            released.set()
            assert draining.popen.wait(20) == 0, draining.output
            assert "Traceback" not in draining.output
    finally:
        released.set()
    sent = [scene.look(request) for request in requests]
    assert sorted(result.status for result in sent) == ["accepted", "accepted", "queued", "queued", "queued"]
    assert sum(len(scene.responses(request)) for request in requests) == 2
    assert sum(len(scene.received(client_reference)) for client_reference in names) == 2


def test_claim_whose_reply_was_lost_is_sent_once(scene: Scene, dsn: str, name: str, tmp_path: Path) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    for client_reference in names:
        scene.script(client_reference, Reply(204))
    config, environ = scene.build_provider_toml("forgetful", HOLD), {"DATABASE_PREPARE": "off"}
    with (
        Proxy(dsn) as proxy,
        open_scene(dsn, scene.provider) as own_scene,
        running_worker(tmp_path, proxy.dsn, config, environ=environ) as worker,
    ):
        is_cut = proxy.cut_after(b"inserted_attempts")  # a name in the statement that claims
        requests = own_scene.submit("forgetful", *names)
        assert [own_scene.wait_until_settled(request).status for request in requests] == ["completed"] * 5
        assert is_cut.is_set()
        assert [len(scene.received(client_reference)) for client_reference in names] == [1] * 5
        assert [None, 204] in [own_scene.responses(request) for request in requests]
        assert_ends_well(worker)


def test_response_is_recorded_after_database_outage(
    server: str, dsn: str, scene: Scene, name: str, tmp_path: Path
) -> None:
    released = Event()
    scene.script(name, reply_after(released, accept_request()))
    config = scene.build_provider_toml("forgetful", f"{LONG_TIMEOUT}\n{HOLD}")
    with running_worker(tmp_path, dsn, config) as worker:
        with open_scene(dsn, scene.provider) as before:
            (request,) = before.submit("forgetful", name)
        wait_for(lambda: scene.received(name))
        with block_database(server, dsn):
            released.set()
            wait_for(lambda: "store.failed" in worker.output)
        with open_scene(dsn, scene.provider) as back:
            assert back.wait_until_settled(request).jobs == {f"{name}-0": "accepted"}
        assert len(scene.received(name)) == 1
        assert_ends_well(worker)
