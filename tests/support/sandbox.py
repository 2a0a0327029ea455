"""The sandbox as a real process over HTTP, with a server for its callbacks."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from threading import Lock
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.sandbox.scripts import (
    PLAIN_RESPONSE,
    CallbackKind,
    Script,
    State,
    build_script,
    parse_number,
)
from tests.support.processes import wait_for

SEED = 7
API_KEY = "test-api-key"
SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="
TIMEOUT_S = 8.0
Json = dict[str, Any]


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


def wait_for_deliveries(callback_server: CallbackServer, number: int) -> list[Delivery]:
    """Wait until at least `number` callbacks have got a response; return all of them."""
    wait_for(
        lambda: (
            len(callback_server.deliveries) >= number and all(incoming.ended for incoming in callback_server.deliveries)
        )
    )
    return callback_server.deliveries
