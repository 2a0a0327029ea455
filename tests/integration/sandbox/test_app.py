"""The sandbox as a real process over HTTP, with callbacks that the `standardwebhooks` library verifies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.sandbox.scripts import (
    CYCLE_LENGTH,
    PLAIN_RESPONSE,
    SPECIAL_RESPONSES,
    CallbackKind,
    Script,
    State,
    build_script,
    parse_number,
)

SEED = 7
API_KEY = "test-api-key"
SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="
TIMEOUT_S = 8.0

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Delivery:
    """A callback as the test's receiver got it."""

    headers: dict[str, str]
    body: bytes
    signed: bool
    started: float
    ended: float = 0.0
    status: int = 0

    @property
    def results(self) -> list[Json]:
        results: list[Json] = json.loads(self.body)["results"]
        return results

    @property
    def states(self) -> list[str]:
        return [result["state"] for result in self.results]


def choose_right_status(incoming: Delivery) -> int:
    """Return the right status: 401 unless the callback is signed, 400 unless every result has a reference."""
    if not incoming.signed:
        return 401
    try:
        return 200 if all("id" in result for result in incoming.results) else 400
    except ValueError:
        return 400


@dataclass
class CallbackServer:
    """Stores callbacks, and responds to each with the status from `choose_status` after `delay` seconds."""

    choose_status: Callable[[Delivery], int] = choose_right_status
    delay: float = 0.0
    deliveries: list[Delivery] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    url: str = ""

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        try:
            Webhook(SECRET).verify(body, headers, json_parse=False)
            signed = True
        except WebhookVerificationError:
            signed = False
        incoming = Delivery(headers, body, signed, time.monotonic())
        with self.lock:
            self.deliveries.append(incoming)
            incoming.status = self.choose_status(incoming)
        time.sleep(self.delay)
        incoming.ended = time.monotonic()
        return incoming.status


@dataclass(frozen=True)
class SandboxResponse:
    """A response to a client."""

    status: int
    headers: dict[str, str]
    body: Json

    @property
    def items(self) -> list[Json]:
        items: list[Json] = self.body["items"]
        return items

    @property
    def references(self) -> list[str]:
        return [item["id"] for item in self.items]


@dataclass(frozen=True)
class Sandbox:
    """A client of a running sandbox process."""

    process: subprocess.Popen[str]
    host: str

    def call(
        self, method: str, path: str, body: Json | str = "", timeout: float = TIMEOUT_S, **headers: str
    ) -> SandboxResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        sent = {"authorization": f"Bearer {API_KEY}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        with closing(HTTPConnection(self.host, timeout=timeout)) as connection:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            content = response.read()
            received = {name.lower(): value for name, value in response.getheaders()}
            return SandboxResponse(response.status, received, json.loads(content or "{}"))

    def send(
        self, client_reference: str, callback_url: str, key: str = "", timeout: float = TIMEOUT_S
    ) -> SandboxResponse:
        recipients = build_script(SEED, parse_number(client_reference)).response.recipients
        message = {
            "client_reference": client_reference,
            "to": [f"23480000000{place}" for place in range(recipients)],
            "text": "hello",
            "callback_url": callback_url,
        }
        headers = {"idempotency_key": key} if key else {}
        return self.call("POST", "/v1/messages", message, timeout, **headers)

    def state(self, reference: str) -> str:
        return str(self.call("GET", f"/v1/messages/{reference}").body["state"])

    def ledger(self) -> Json:
        return self.call("GET", "/ledger").body

    def request(self, client_reference: str) -> Json:
        return next(entry for entry in self.ledger()["requests"] if entry["client_reference"] == client_reference)

    def jobs(self, client_reference: str) -> list[Json]:
        return [job for job in self.ledger()["jobs"] if job["client_reference"] == client_reference]

    def forged(self, reference: str) -> list[Json]:
        return [forged for forged in self.ledger()["forged"] if forged["reference"] == reference]


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    """Start the process, and kill it at the end unless it has been stopped."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "receiver.sandbox", "--seed", str(SEED)],
        env=os.environ | {"SANDBOX_API_KEY": API_KEY, "SANDBOX_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process:
        try:
            yield Sandbox(process, json.loads(process.stdout.readline())["url"].removeprefix("http://"))
        finally:
            process.kill()


def assert_stops_cleanly(sandbox: Sandbox, number: signal.Signals = signal.SIGTERM) -> None:
    sandbox.process.send_signal(number)
    output, errors = sandbox.process.communicate(timeout=TIMEOUT_S)
    assert (sandbox.process.returncode, output, errors) == (0, "", "")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running
        assert_stops_cleanly(running)


@pytest.fixture
def server() -> Iterator[CallbackServer]:
    callbacks = CallbackServer()
    path = f"/callbacks/{uuid4()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(callbacks.receive(headers, body) if self.path == path else 404)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        callbacks.url = f"http://127.0.0.1:{http.server_port}{path}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield callbacks
        http.shutdown()
        thread.join()


def find_reference(name: str, matches: Callable[[Script], bool]) -> str:
    """Return a client reference with the first script that matches; `name` separates the tests' requests."""
    return next(f"{name}-{number:04d}" for number in count() if matches(build_script(SEED, number)))


def match_response(kind: str) -> Callable[[Script], bool]:
    return lambda script: script.response.kind == kind


def match_callback(kind: CallbackKind, state: State | None = None) -> Callable[[Script], bool]:
    """Match a plain 202 with this kind of callback and, unless it is None, this final state."""

    def matches(script: Script) -> bool:
        fate = script.decide_fate(0, PLAIN_RESPONSE.codes[0])
        return (
            script.response is PLAIN_RESPONSE
            and script.callback is kind
            and (state is None or (fate is not None and fate.state is state))
        )

    return matches


def wait_for(probe: Callable[[], T]) -> T:
    """Call `probe` until it returns something true, and return that."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if result := probe():
            return result
        time.sleep(0.02)
    raise AssertionError("timed out")


def wait_for_deliveries(server: CallbackServer, number: int) -> list[Delivery]:
    """Wait until at least `number` callbacks have got a response; return all of them."""
    wait_for(lambda: len(server.deliveries) >= number and all(incoming.ended for incoming in server.deliveries))
    return server.deliveries


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("start", [0, 1, 37])
def test_sixty_requests_cover_all_responses_and_callbacks(seed: int, start: int) -> None:
    scripts = [build_script(seed, number) for number in range(start, start + CYCLE_LENGTH)]
    assert {script.response for script in scripts} == {PLAIN_RESPONSE, *SPECIAL_RESPONSES}
    assert {script.callback for script in scripts if script.response.has_callbacks} == set(CallbackKind)
    assert sum(script.response is PLAIN_RESPONSE for script in scripts) >= CYCLE_LENGTH / 2


def test_scripts_depend_only_on_seed_and_number() -> None:
    forward = [build_script(SEED, number) for number in range(500)]
    assert forward == [build_script(SEED, number) for number in reversed(range(500))][::-1]
    assert forward != [build_script(SEED + 1, number) for number in range(500)]


def test_at_most_two_requests_pause_the_provider() -> None:
    assert sum(build_script(SEED, number).response.kind == "401 then 202" for number in range(20_000)) == 2


def test_reference_without_number_gets_a_stable_number() -> None:
    assert parse_number("demo-0017") == 17
    assert parse_number("no number") == parse_number("no number") != parse_number("none either")


def test_wrong_api_key_is_401(sandbox: Sandbox) -> None:
    assert sandbox.call("POST", "/v1/messages", "{}", authorization="Bearer wrong").status == 401
    assert sandbox.call("GET", "/v1/messages/any", authorization="").status == 401


@pytest.mark.parametrize("body", ["", "[]", "no json", '{"client_reference": "x-1", "to": []}'])
def test_invalid_message_is_400(sandbox: Sandbox, body: str) -> None:
    response = sandbox.call("POST", "/v1/messages", body)
    assert response.status == 400
    assert response.body["error"]


def test_unknown_message_is_404(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/v1/messages/unknown").status == 404


def test_healthz_is_200(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/healthz").status == 200


RESPONSES = {
    "200 mixed": (200, 200, "accepted"),
    "200 refused": (200, 200, "rejected"),
    "200 delivered": (200, 200, "completed"),
    "200 unknown code": (200, 200, "unknown"),
    "200 busy then 202": (200, 202, "accepted"),
    "201": (201, 201, "accepted"),
    "202": (202, 202, "accepted"),
    "202 with hints": (202, 202, "accepted"),
    "202 broadcast": (202, 202, "accepted"),
    "204": (204, 204, "completed"),
    "400": (400, 400, "rejected"),
    "401 then 202": (401, 202, "accepted"),
    "403": (403, 403, "rejected"),
    "404": (404, 404, "rejected"),
    "405": (405, 405, "rejected"),
    "409": (409, 409, "rejected"),
    "422": (422, 422, "rejected"),
    "408 then 202": (408, 202, "accepted"),
    "425 then 202": (425, 202, "accepted"),
    "429 seconds then 202": (429, 202, "accepted"),
    "429 date then 202": (429, 202, "accepted"),
    "500 then 202": (500, 202, "accepted"),
    "502 then 202": (502, 202, "accepted"),
    "503 then 202": (503, 202, "accepted"),
    "504 then 202": (504, 202, "accepted"),
    "507 then 202": (507, 202, "accepted"),
    "523 then 202": (523, 202, "accepted"),
    "500 for ever": (500, 500, "failed"),
    "dropped then 202": (None, 202, "accepted"),
    "hung then 202": (None, 202, "accepted"),
}


def test_table_covers_all_responses() -> None:
    assert set(RESPONSES) == {response.kind for response in (PLAIN_RESPONSE, *SPECIAL_RESPONSES)}


@pytest.mark.parametrize(("kind", "row"), RESPONSES.items())
def test_first_and_second_response_of_each_kind(
    sandbox: Sandbox, server: CallbackServer, kind: str, row: tuple[int | None, int, str]
) -> None:
    first, second, expected = row
    reference = find_reference("row", match_response(kind))
    if first is None:
        with pytest.raises((TimeoutError, RemoteDisconnected)):
            sandbox.send(reference, server.url, key=reference, timeout=0.5)
    else:
        assert sandbox.send(reference, server.url, key=reference).status == first
    assert sandbox.send(reference, server.url, key=reference).status == second
    accepted = 200 <= second < 300
    assert sandbox.request(reference) == {
        "client_reference": reference,
        "response": kind,
        "expected": expected,
        "attempts": 2,
        "executions": int(accepted),
    }


def test_mixed_items_are_accepted_delivered_and_refused(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("mixed", match_response("200 mixed"))
    items = sandbox.send(reference, server.url).items
    assert [(item["code"], item["id"] is not None) for item in items] == [
        (1801, True),
        (1800, True),
        (1806, False),
        (1804, False),
    ]
    assert sandbox.state(items[1]["id"]) == "DELIVERED"
    assert [job["reference"] for job in sandbox.jobs(reference)] == [items[0]["id"], items[1]["id"]]


def test_busy_response_opens_no_job(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("busy", match_response("200 busy then 202"))
    response = sandbox.send(reference, server.url)
    assert [(item["code"], item["id"]) for item in response.items] == [(1899, None)]
    assert sandbox.jobs(reference) == []


def test_retry_after_has_both_forms(sandbox: Sandbox, server: CallbackServer) -> None:
    seconds = sandbox.send(find_reference("seconds", match_response("429 seconds then 202")), server.url)
    date = sandbox.send(find_reference("date", match_response("429 date then 202")), server.url)
    assert seconds.headers["retry-after"] == "1"
    assert 0 < (parsedate_to_datetime(date.headers["retry-after"]) - datetime.now(UTC)).total_seconds() <= 2


def test_hints_give_poll_url_and_delay(sandbox: Sandbox, server: CallbackServer) -> None:
    response = sandbox.send(find_reference("hints", match_response("202 with hints")), server.url)
    assert response.headers["retry-after"] == "1"
    assert sandbox.call("GET", response.headers["location"]).body["id"] == response.references[0]


def test_same_idempotency_key_acts_once(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("idempotent", match_response("202"))
    first, second = (sandbox.send(reference, server.url, key="the same") for _ in range(2))
    assert first.body == second.body
    assert len(sandbox.jobs(reference)) == 1


def test_repeat_without_key_is_a_double_send(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("twice", match_response("202"))
    before = sandbox.ledger()["double_sends"]
    assert sandbox.send(reference, server.url).references != sandbox.send(reference, server.url).references
    assert sandbox.ledger()["double_sends"] == before + 1
    assert sandbox.request(reference)["executions"] == 2


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202"])
def test_withheld_response_is_returned_to_a_repeated_key(sandbox: Sandbox, server: CallbackServer, kind: str) -> None:
    reference = find_reference("withheld", match_response(kind))
    with pytest.raises((TimeoutError, RemoteDisconnected)):
        sandbox.send(reference, server.url, key=reference, timeout=0.5)
    response = sandbox.send(reference, server.url, key=reference)
    (job,) = sandbox.jobs(reference)
    assert response.references == [job["reference"]]
    assert job["matched"]


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202", "504 then 202"])
def test_lost_response_without_key_is_expected_unknown(sandbox: Sandbox, server: CallbackServer, kind: str) -> None:
    reference = find_reference("unknown", match_response(kind))
    try:
        assert sandbox.send(reference, server.url, timeout=0.5).status == 504
    except (TimeoutError, RemoteDisconnected):
        assert [job["matched"] for job in sandbox.jobs(reference)] == [False]
        wait_for_deliveries(server, 2)
    assert sandbox.request(reference)["expected"] == "unknown"


def test_normal_job_is_sent_then_final(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("normal", match_callback(CallbackKind.NORMAL, State.EXPIRED))
    (job,) = sandbox.send(reference, server.url).references
    assert sandbox.state(job) == "SENT"
    first, final = wait_for_deliveries(server, 2)
    assert (first.states, final.states) == (["SENT"], ["EXPIRED"])
    assert first.signed
    assert final.signed
    assert first.headers["webhook-id"] != final.headers["webhook-id"]
    assert final.headers["content-type"] == "application/json"
    (result,) = final.results
    assert sandbox.call("GET", f"/v1/messages/{job}").body == result
    assert result["id"] == job
    assert result["reason"]
    assert result["at"].endswith("Z")
    assert abs((datetime.fromisoformat(result["at"]) - datetime.now(UTC)).total_seconds()) < TIMEOUT_S
    assert sandbox.jobs(reference)[0] == {
        "reference": job,
        "client_reference": reference,
        "callback": "normal",
        "expected": "failed",
        "disputed": False,
        "matched": True,
    }


def test_early_callback_is_acknowledged_before_the_202(sandbox: Sandbox, server: CallbackServer) -> None:
    server.delay = 0.2
    (job,) = sandbox.send(find_reference("early", match_callback(CallbackKind.EARLY)), server.url).references
    now = time.monotonic()
    (final,) = server.deliveries
    assert final.results[0]["id"] == job
    assert 0 < final.ended < now


def test_late_callback_comes_after_seconds(sandbox: Sandbox, server: CallbackServer) -> None:
    (job,) = sandbox.send(find_reference("late", match_callback(CallbackKind.LATE)), server.url).references
    wait_for_deliveries(server, 1)
    assert sandbox.state(job) == "SENT"
    first, final = wait_for_deliveries(server, 2)
    assert first.states == ["QUEUED"]
    assert 3.5 < final.started - first.started < 5.5


def test_duplicate_comes_three_times_two_at_once(sandbox: Sandbox, server: CallbackServer) -> None:
    server.delay = 0.2
    sandbox.send(find_reference("duplicate", match_callback(CallbackKind.DUPLICATE)), server.url)
    first, second, third = wait_for_deliveries(server, 3)
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in (first, second, third)}) == 1
    assert max(first.started, second.started) < min(first.ended, second.ended)
    assert third.started > max(first.ended, second.ended)


def test_out_of_order_sends_the_final_state_first(sandbox: Sandbox, server: CallbackServer) -> None:
    sandbox.send(find_reference("order", match_callback(CallbackKind.OUT_OF_ORDER, State.DELIVERED)), server.url)
    assert [incoming.states for incoming in wait_for_deliveries(server, 2)] == [["DELIVERED"], ["SENT"]]


@pytest.mark.parametrize(
    ("state", "false_state", "status"),
    [(State.DELIVERED, "UNDELIVERED", "failed"), (State.UNDELIVERED, "DELIVERED", "succeeded")],
)
def test_forged_callbacks_do_not_verify_and_are_recorded(
    sandbox: Sandbox, server: CallbackServer, state: State, false_state: str, status: str
) -> None:
    (job,) = sandbox.send(
        find_reference(f"forged-{state}", match_callback(CallbackKind.FORGED, state)), server.url
    ).references
    *forged, true = wait_for_deliveries(server, 4)
    assert [(incoming.signed, incoming.states) for incoming in forged] == [(False, [false_state])] * 3
    assert (true.signed, true.states) == (True, [state])
    assert len({incoming.headers["webhook-id"] for incoming in server.deliveries}) == 4
    assert sandbox.forged(job) == [
        {"reference": job, "status": status, "flaw": flaw, "response_status": 401}
        for flaw in ("wrong key", "changed body", "stale timestamp")
    ]


def test_contradiction_is_disputed_and_first_state_stands(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("contradicting", match_callback(CallbackKind.CONTRADICTING))
    (job,) = sandbox.send(reference, server.url).references
    assert [incoming.states for incoming in wait_for_deliveries(server, 2)] == [["DELIVERED"], ["UNDELIVERED"]]
    (entry,) = wait_for(lambda: [entry for entry in sandbox.jobs(reference) if entry["disputed"]])
    assert entry["expected"] == "succeeded"
    assert sandbox.state(job) == "DELIVERED"


def test_malformed_callbacks_are_signed_and_not_retried(sandbox: Sandbox, server: CallbackServer) -> None:
    sandbox.send(find_reference("malformed", match_callback(CallbackKind.MALFORMED)), server.url)
    received = wait_for_deliveries(server, 3)
    assert [(incoming.signed, incoming.status) for incoming in received] == [(True, 400), (True, 400), (True, 200)]


def test_broadcast_is_reported_in_one_body(sandbox: Sandbox, server: CallbackServer) -> None:
    references = sandbox.send(find_reference("broadcast", match_response("202 broadcast")), server.url).references
    (bulk,) = wait_for_deliveries(server, 1)
    assert [result["id"] for result in bulk.results] == references
    assert len(references) == 5


def test_lost_job_is_final_when_polled(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("lost", match_callback(CallbackKind.LOST, State.DELIVERED))
    (job,) = sandbox.send(reference, server.url).references
    assert sandbox.state(job) == "SENT"
    wait_for(lambda: sandbox.state(job) == "DELIVERED")
    assert server.deliveries == []


def test_silent_job_stays_unresolved(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = find_reference("silent", match_callback(CallbackKind.SILENT))
    (job,) = sandbox.send(reference, server.url).references
    time.sleep(1)
    assert sandbox.state(job) == "SENT"
    assert sandbox.jobs(reference)[0]["expected"] == "unresolved"
    assert server.deliveries == []


def test_callback_is_retried_until_acknowledged(sandbox: Sandbox, server: CallbackServer) -> None:
    server.choose_status = lambda incoming: 503 if incoming.started - server.deliveries[0].started < 1.1 else 204
    sandbox.send(find_reference("retried", match_callback(CallbackKind.BULK)), server.url)
    wait_for(lambda: [incoming for incoming in server.deliveries if incoming.status == 204])
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in server.deliveries}) == 1
    assert len({incoming.headers["webhook-timestamp"] for incoming in server.deliveries}) > 1
    assert all(incoming.signed for incoming in server.deliveries)


def test_totals_count_pending_and_sent_callbacks(server: CallbackServer) -> None:
    with running_sandbox() as sandbox:
        sandbox.send(find_reference("pending", match_callback(CallbackKind.FORGED)), server.url)
        assert sandbox.ledger()["pending"] == 1
        wait_for(lambda: sandbox.ledger()["pending"] == 0)
        totals = sandbox.call("GET", "/ledger/totals").body
    assert totals == {
        "seed": SEED,
        "pending": 0,
        "requests": 1,
        "jobs": 1,
        "forged": 3,
        "callbacks": {"sent": 4, "by_status": {"401": 3, "200": 1}, "undelivered": 0},
        "double_sends": 0,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_stops_with_requests_and_callbacks_pending(server: CallbackServer, number: signal.Signals) -> None:
    with running_sandbox() as sandbox, closing(HTTPConnection(sandbox.host)) as hanging:
        sandbox.send(find_reference("stop", match_callback(CallbackKind.LATE)), server.url)
        message = {
            "client_reference": find_reference("stop", match_response("hung then 202")),
            "to": ["1"],
            "text": "x",
        }
        body = json.dumps(message | {"callback_url": server.url})
        hanging.request("POST", "/v1/messages", body, {"authorization": f"Bearer {API_KEY}"})
        wait_for(lambda: len(sandbox.ledger()["requests"]) == 2)
        started = time.monotonic()
        assert_stops_cleanly(sandbox, number)
        assert time.monotonic() - started < 2
        with pytest.raises(RemoteDisconnected):
            hanging.getresponse()


def test_invalid_secret_is_a_usage_error_and_hidden() -> None:
    environ = os.environ | {"SANDBOX_API_KEY": API_KEY, "SANDBOX_SECRET": "whsec_?secret?"}
    command = [sys.executable, "-m", "receiver.sandbox"]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--secret" in result.stderr
    assert "?secret?" not in result.stderr
