"""The sandbox as its clients meet it: a real process over real HTTP, its callbacks verified by another library."""

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
PATIENCE = 8.0

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Delivery:
    """One callback as the receiver saw it."""

    headers: dict[str, str]
    body: bytes
    signed: bool
    began: float
    ended: float = 0.0
    status: int = 0

    @property
    def results(self) -> list[Json]:
        results: list[Json] = json.loads(self.body)["results"]
        return results

    @property
    def states(self) -> list[str]:
        return [result["state"] for result in self.results]


def proper_answer(incoming: Delivery) -> int:
    """Answer as a receiver should: 401 unless signed, 400 unless every result names its job."""
    if not incoming.signed:
        return 401
    try:
        return 200 if all("id" in result for result in incoming.results) else 400
    except ValueError:
        return 400


@dataclass
class CallbackServer:
    """Takes callbacks, answers each as `response` says, after `delay` seconds, and keeps them."""

    response: Callable[[Delivery], int] = proper_answer
    delay: float = 0.0
    deliveries: list[Delivery] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    url: str = ""

    def take(self, headers: dict[str, str], body: bytes) -> int:
        try:
            Webhook(SECRET).verify(body, headers, json_parse=False)
            signed = True
        except WebhookVerificationError:
            signed = False
        incoming = Delivery(headers, body, signed, time.monotonic())
        with self.lock:
            self.deliveries.append(incoming)
            incoming.status = self.response(incoming)
        time.sleep(self.delay)
        incoming.ended = time.monotonic()
        return incoming.status


@dataclass(frozen=True)
class Answer:
    """What a client was answered."""

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

    def call(self, method: str, path: str, body: Json | str = "", timeout: float = PATIENCE, **headers: str) -> Answer:
        text = body if isinstance(body, str) else json.dumps(body)
        sent = {"authorization": f"Bearer {API_KEY}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        with closing(HTTPConnection(self.host, timeout=timeout)) as connection:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, json.loads(content or "{}"))

    def send(self, client_reference: str, callback_url: str, key: str = "", timeout: float = PATIENCE) -> Answer:
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
    """Start the process; whoever did not stop it gets it killed."""
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
    output, errors = sandbox.process.communicate(timeout=PATIENCE)
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
            self.send_response(callbacks.take(headers, body) if self.path == path else 404)
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


def reference_for(name: str, wanted: Callable[[Script], bool]) -> str:
    """Give a client reference whose script is the first wanted one; `name` keeps the tests' requests apart."""
    return next(f"{name}-{number:04d}" for number in count() if wanted(build_script(SEED, number)))


def answered(kind: str) -> Callable[[Script], bool]:
    return lambda script: script.response.kind == kind


def called_back(kind: CallbackKind, state: State | None = None) -> Callable[[Script], bool]:
    """Want a plain 202 whose job calls back so and, if a state is given, ends in it."""

    def wanted(script: Script) -> bool:
        fate = script.fate(0, PLAIN_RESPONSE.codes[0])
        return (
            script.response is PLAIN_RESPONSE
            and script.callback is kind
            and (state is None or (fate is not None and fate.state is state))
        )

    return wanted


def wait_for(found: Callable[[], T]) -> T:
    """Give the first true thing that `found` gives."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def deliveries(server: CallbackServer, number: int) -> list[Delivery]:
    """Wait for so many answered callbacks, and give all there are."""
    wait_for(lambda: len(server.deliveries) >= number and all(incoming.ended for incoming in server.deliveries))
    return server.deliveries


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("start", [0, 1, 37])
def test_any_sixty_requests_meet_every_answer_and_every_kind_of_callback(seed: int, start: int) -> None:
    scripts = [build_script(seed, number) for number in range(start, start + CYCLE_LENGTH)]
    assert {script.response for script in scripts} == {PLAIN_RESPONSE, *SPECIAL_RESPONSES}
    assert {script.callback for script in scripts if script.response.calls_back} == set(CallbackKind)
    assert sum(script.response is PLAIN_RESPONSE for script in scripts) >= CYCLE_LENGTH / 2


def test_scripts_follow_from_seed_and_number_alone() -> None:
    forward = [build_script(SEED, number) for number in range(500)]
    assert forward == [build_script(SEED, number) for number in reversed(range(500))][::-1]
    assert forward != [build_script(SEED + 1, number) for number in range(500)]


def test_at_most_two_requests_of_a_run_pause_the_provider() -> None:
    assert sum(build_script(SEED, number).response.kind == "401 then 202" for number in range(20_000)) == 2


def test_references_without_a_number_have_one_all_the_same() -> None:
    assert parse_number("demo-0017") == 17
    assert parse_number("no number") == parse_number("no number") != parse_number("none either")


def test_a_wrong_key_is_always_401(sandbox: Sandbox) -> None:
    assert sandbox.call("POST", "/v1/messages", "{}", authorization="Bearer wrong").status == 401
    assert sandbox.call("GET", "/v1/messages/any", authorization="").status == 401


@pytest.mark.parametrize("body", ["", "[]", "no json", '{"client_reference": "x-1", "to": []}'])
def test_what_is_no_message_is_400(sandbox: Sandbox, body: str) -> None:
    response = sandbox.call("POST", "/v1/messages", body)
    assert response.status == 400
    assert response.body["error"]


def test_an_unknown_message_is_404(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/v1/messages/unknown").status == 404


def test_is_healthy(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/healthz").status == 200


ANSWERS = {
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


def test_every_answer_is_tried() -> None:
    assert set(ANSWERS) == {response.kind for response in (PLAIN_RESPONSE, *SPECIAL_RESPONSES)}


@pytest.mark.parametrize(("kind", "row"), ANSWERS.items())
def test_each_answer_comes_first_and_again(
    sandbox: Sandbox, server: CallbackServer, kind: str, row: tuple[int | None, int, str]
) -> None:
    first, second, expected = row
    reference = reference_for("row", answered(kind))
    if first is None:
        with pytest.raises((TimeoutError, RemoteDisconnected)):
            sandbox.send(reference, server.url, key=reference, timeout=0.5)
    else:
        assert sandbox.send(reference, server.url, key=reference).status == first
    assert sandbox.send(reference, server.url, key=reference).status == second
    taken = 200 <= second < 300
    assert sandbox.request(reference) == {
        "client_reference": reference,
        "response": kind,
        "expected": expected,
        "received": 2,
        "acted": int(taken),
    }


def test_mixed_items_are_accepted_delivered_and_refused(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("mixed", answered("200 mixed"))
    items = sandbox.send(reference, server.url).items
    assert [(item["code"], item["id"] is not None) for item in items] == [
        (1801, True),
        (1800, True),
        (1806, False),
        (1804, False),
    ]
    assert sandbox.state(items[1]["id"]) == "DELIVERED"
    assert [job["reference"] for job in sandbox.jobs(reference)] == [items[0]["id"], items[1]["id"]]


def test_busy_does_nothing(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("busy", answered("200 busy then 202"))
    response = sandbox.send(reference, server.url)
    assert [(item["code"], item["id"]) for item in response.items] == [(1899, None)]
    assert sandbox.jobs(reference) == []


def test_retry_after_comes_in_both_forms(sandbox: Sandbox, server: CallbackServer) -> None:
    seconds = sandbox.send(reference_for("seconds", answered("429 seconds then 202")), server.url)
    date = sandbox.send(reference_for("date", answered("429 date then 202")), server.url)
    assert seconds.headers["retry-after"] == "1"
    assert 0 < (parsedate_to_datetime(date.headers["retry-after"]) - datetime.now(UTC)).total_seconds() <= 2


def test_hints_tell_where_and_when_to_poll(sandbox: Sandbox, server: CallbackServer) -> None:
    response = sandbox.send(reference_for("hints", answered("202 with hints")), server.url)
    assert response.headers["retry-after"] == "1"
    assert sandbox.call("GET", response.headers["location"]).body["id"] == response.references[0]


def test_the_same_idempotency_key_never_acts_twice(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("idempotent", answered("202"))
    first, second = (sandbox.send(reference, server.url, key="the same") for _ in range(2))
    assert first.body == second.body
    assert len(sandbox.jobs(reference)) == 1


def test_without_a_key_a_repeat_acts_again_and_is_counted(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("twice", answered("202"))
    before = sandbox.ledger()["double_sends"]
    assert sandbox.send(reference, server.url).references != sandbox.send(reference, server.url).references
    assert sandbox.ledger()["double_sends"] == before + 1
    assert sandbox.request(reference)["acted"] == 2


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202"])
def test_a_withheld_answer_is_taken_and_given_to_who_repeats_its_key(
    sandbox: Sandbox, server: CallbackServer, kind: str
) -> None:
    reference = reference_for("withheld", answered(kind))
    with pytest.raises((TimeoutError, RemoteDisconnected)):
        sandbox.send(reference, server.url, key=reference, timeout=0.5)
    response = sandbox.send(reference, server.url, key=reference)
    (job,) = sandbox.jobs(reference)
    assert response.references == [job["reference"]]
    assert job["matched"]


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202", "504 then 202"])
def test_who_cannot_resend_what_got_no_answer_knows_nothing(
    sandbox: Sandbox, server: CallbackServer, kind: str
) -> None:
    reference = reference_for("unknown", answered(kind))
    try:
        assert sandbox.send(reference, server.url, timeout=0.5).status == 504
    except (TimeoutError, RemoteDisconnected):
        assert [job["matched"] for job in sandbox.jobs(reference)] == [False]
        deliveries(server, 2)
    assert sandbox.request(reference)["expected"] == "unknown"


def test_a_normal_job_is_sent_then_final(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("normal", called_back(CallbackKind.NORMAL, State.EXPIRED))
    (job,) = sandbox.send(reference, server.url).references
    assert sandbox.state(job) == "SENT"
    first, final = deliveries(server, 2)
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
    assert abs((datetime.fromisoformat(result["at"]) - datetime.now(UTC)).total_seconds()) < PATIENCE
    assert sandbox.jobs(reference)[0] == {
        "reference": job,
        "client_reference": reference,
        "callback": "normal",
        "expected": "failed",
        "disputed": False,
        "matched": True,
    }


def test_an_early_callback_is_answered_before_the_202(sandbox: Sandbox, server: CallbackServer) -> None:
    server.delay = 0.2
    (job,) = sandbox.send(reference_for("early", called_back(CallbackKind.EARLY)), server.url).references
    now = time.monotonic()
    (final,) = server.deliveries
    assert final.results[0]["id"] == job
    assert 0 < final.ended < now


def test_a_late_callback_comes_after_seconds(sandbox: Sandbox, server: CallbackServer) -> None:
    (job,) = sandbox.send(reference_for("late", called_back(CallbackKind.LATE)), server.url).references
    deliveries(server, 1)
    assert sandbox.state(job) == "SENT"
    first, final = deliveries(server, 2)
    assert first.states == ["QUEUED"]
    assert 3.5 < final.began - first.began < 5.5


def test_a_duplicate_comes_three_times_twice_at_once(sandbox: Sandbox, server: CallbackServer) -> None:
    server.delay = 0.2
    sandbox.send(reference_for("duplicate", called_back(CallbackKind.DUPLICATE)), server.url)
    one, two, three = deliveries(server, 3)
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in (one, two, three)}) == 1
    assert max(one.began, two.began) < min(one.ended, two.ended)
    assert three.began > max(one.ended, two.ended)


def test_out_of_order_says_the_final_word_first(sandbox: Sandbox, server: CallbackServer) -> None:
    sandbox.send(reference_for("order", called_back(CallbackKind.OUT_OF_ORDER, State.DELIVERED)), server.url)
    assert [incoming.states for incoming in deliveries(server, 2)] == [["DELIVERED"], ["SENT"]]


@pytest.mark.parametrize(
    ("state", "claim", "status"),
    [(State.DELIVERED, "UNDELIVERED", "failed"), (State.UNDELIVERED, "DELIVERED", "succeeded")],
)
def test_forged_callbacks_do_not_verify_and_are_recorded(
    sandbox: Sandbox, server: CallbackServer, state: State, claim: str, status: str
) -> None:
    (job,) = sandbox.send(
        reference_for(f"forged-{state}", called_back(CallbackKind.FORGED, state)), server.url
    ).references
    *forged, true = deliveries(server, 4)
    assert [(incoming.signed, incoming.states) for incoming in forged] == [(False, [claim])] * 3
    assert (true.signed, true.states) == (True, [state])
    assert len({incoming.headers["webhook-id"] for incoming in server.deliveries}) == 4
    assert sandbox.forged(job) == [
        {"reference": job, "claims": status, "why": why, "answered": 401}
        for why in ("wrong key", "changed body", "stale timestamp")
    ]


def test_a_contradiction_is_disputed_and_the_first_word_stands(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("contradicting", called_back(CallbackKind.CONTRADICTING))
    (job,) = sandbox.send(reference, server.url).references
    assert [incoming.states for incoming in deliveries(server, 2)] == [["DELIVERED"], ["UNDELIVERED"]]
    (entry,) = wait_for(lambda: [entry for entry in sandbox.jobs(reference) if entry["disputed"]])
    assert entry["expected"] == "succeeded"
    assert sandbox.state(job) == "DELIVERED"


def test_malformed_callbacks_are_signed_and_not_retried(sandbox: Sandbox, server: CallbackServer) -> None:
    sandbox.send(reference_for("malformed", called_back(CallbackKind.MALFORMED)), server.url)
    received = deliveries(server, 3)
    assert [(incoming.signed, incoming.status) for incoming in received] == [(True, 400), (True, 400), (True, 200)]


def test_a_broadcast_is_reported_in_one_body(sandbox: Sandbox, server: CallbackServer) -> None:
    references = sandbox.send(reference_for("broadcast", answered("202 broadcast")), server.url).references
    (bulk,) = deliveries(server, 1)
    assert [result["id"] for result in bulk.results] == references
    assert len(references) == 5


def test_a_lost_job_is_known_to_who_polls(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("lost", called_back(CallbackKind.LOST, State.DELIVERED))
    (job,) = sandbox.send(reference, server.url).references
    assert sandbox.state(job) == "SENT"
    wait_for(lambda: sandbox.state(job) == "DELIVERED")
    assert server.deliveries == []


def test_a_silent_job_stays_unresolved(sandbox: Sandbox, server: CallbackServer) -> None:
    reference = reference_for("silent", called_back(CallbackKind.SILENT))
    (job,) = sandbox.send(reference, server.url).references
    time.sleep(1)
    assert sandbox.state(job) == "SENT"
    assert sandbox.jobs(reference)[0]["expected"] == "unresolved"
    assert server.deliveries == []


def test_a_callback_is_retried_until_it_is_acknowledged(sandbox: Sandbox, server: CallbackServer) -> None:
    server.response = lambda incoming: 503 if incoming.began - server.deliveries[0].began < 1.1 else 204
    sandbox.send(reference_for("retried", called_back(CallbackKind.BULK)), server.url)
    wait_for(lambda: [incoming for incoming in server.deliveries if incoming.status == 204])
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in server.deliveries}) == 1
    assert len({incoming.headers["webhook-timestamp"] for incoming in server.deliveries}) > 1
    assert all(incoming.signed for incoming in server.deliveries)


def test_pending_falls_to_zero_and_callbacks_are_counted(server: CallbackServer) -> None:
    with running_sandbox() as sandbox:
        sandbox.send(reference_for("pending", called_back(CallbackKind.FORGED)), server.url)
        assert sandbox.ledger()["pending"] == 1
        wait_for(lambda: sandbox.ledger()["pending"] == 0)
        totals = sandbox.call("GET", "/ledger/totals").body
    assert totals == {
        "seed": SEED,
        "pending": 0,
        "requests": 1,
        "jobs": 1,
        "forged": 3,
        "callbacks": {"sent": 4, "by_answer": {"401": 3, "200": 1}, "undelivered": 0},
        "double_sends": 0,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_with_requests_hanging_and_callbacks_pending(
    server: CallbackServer, number: signal.Signals
) -> None:
    with running_sandbox() as sandbox, closing(HTTPConnection(sandbox.host)) as hanging:
        sandbox.send(reference_for("stop", called_back(CallbackKind.LATE)), server.url)
        message = {"client_reference": reference_for("stop", answered("hung then 202")), "to": ["1"], "text": "x"}
        body = json.dumps(message | {"callback_url": server.url})
        hanging.request("POST", "/v1/messages", body, {"authorization": f"Bearer {API_KEY}"})
        wait_for(lambda: len(sandbox.ledger()["requests"]) == 2)
        began = time.monotonic()
        assert_stops_cleanly(sandbox, number)
        assert time.monotonic() - began < 2
        with pytest.raises(RemoteDisconnected):
            hanging.getresponse()


def test_a_secret_that_is_none_is_a_usage_error_and_not_printed() -> None:
    environment = os.environ | {"SANDBOX_API_KEY": API_KEY, "SANDBOX_SECRET": "whsec_?secret?"}
    command = [sys.executable, "-m", "receiver.sandbox"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--secret" in ended.stderr
    assert "?secret?" not in ended.stderr
