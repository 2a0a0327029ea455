"""The journeys that `tests.tooling.journeys` records: a callback, a request, a poll, a notified end, a query."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import gevent
from flask import Flask

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.domain.jobs import EventSource, JobStatus
from receiver.exchange.channels import Channels
from receiver.exchange.loop import ExchangeLoop
from receiver.followup.poll import PollTask
from receiver.logs import configure_logs
from receiver.outbound.notifications import queue_notifications
from receiver.outbound.send import SendTask
from receiver.reconcile import reconcile
from receiver.settings import load_settings
from receiver.store.clock import Clock
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.web.app import build_direct_endpoints, create_app
from receiver.web.context import get_app_context
from receiver.web.server.messages import HttpRequest
from tests.support.factories import SECRET, event
from tests.support.factories import provider as sandbox
from tests.support.http import sign_callback
from tests.support.processes import build_provider_toml
from tests.support.provider import accept_request, listening, state
from tests.tooling.journeys import Recorder

_KEY = "an-admin-key-for-journeys"
_WAIT_S = 20.0


class Scenario:
    """A database, the app, the worker's parts and a provider, in this process."""

    def __init__(self, recorder: Recorder, home: Path, environ: Mapping[str, str], stack: ExitStack) -> None:
        self.recorder = recorder
        self.provider = stack.enter_context(listening())
        self.dsn = stack.enter_context(EmbeddedPostgres(home / "postgres", {"fsync": "off"})).dsn
        migrate(self.dsn)
        config = home / "receiver.toml"
        config.write_text(
            build_provider_toml("sandbox", f"{self.provider.url}/sandbox", "poll = { first_after = 0.05 }")
        )
        self.settings = load_settings(
            {
                **environ,
                "DATABASE_URL": self.dsn,
                "RECEIVER_CONFIG": str(config),
                "RECEIVER_ADMIN_KEY": _KEY,
                "RECEIVER_NOTIFY_HOSTS": "127.0.0.1",
                "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
                "RECEIVER_NOTIFY_SECRETS": SECRET,
                "LOG_LEVEL": "ERROR",
            }
        )
        configure_logs("ERROR", "json")
        self.app: Flask = create_app(self.settings)
        stack.callback(get_app_context(self.app).close)
        self.endpoints = build_direct_endpoints(self.app)
        self.connection: Connection = stack.enter_context(closing(connect(self.dsn)))
        self.database = stack.enter_context(closing(Database(self.dsn)))
        self.clock = stack.enter_context(closing(Clock(self.database)))
        urls = {name: self.settings.callback_url(name) for name in self.settings.send_targets}
        self.channels = stack.enter_context(Channels(self.database, self.settings.send_targets, urls))
        self.channels.rate_limiter.renew()

    def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
        """Call an endpoint or else the app, as our gunicorn worker does.

        Returns:
            The decoded JSON of the response, None for an empty one.
        """
        status, content = self._respond(method, path, body, headers or {})
        if not 200 <= status < 300:
            raise AssertionError(f"{method} {path}: {status} {content!r}")
        return json.loads(content) if content else None

    def _respond(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return the status and the body of a response."""
        headers = {name.lower(): value for name, value in headers.items()}
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
        endpoint = next((endpoint for endpoint in self.endpoints if endpoint.handles(method, path)), None)
        if endpoint is None:
            return self._call_app(method, path, body, headers)
        response = endpoint.respond(HttpRequest(method, path, path.partition("?")[0], headers, io.BytesIO(body)))
        return response.status, response.body

    def _call_app(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "RAW_URI": path,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "CONTENT_TYPE": headers["content-type"],
            "CONTENT_LENGTH": headers["content-length"],
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        statuses: list[str] = []

        def start_response(status: str, _headers: object, _error: object = None) -> Callable[[bytes], object]:
            statuses.append(status)
            return lambda _: None

        content = b"".join(self.app.wsgi_app(environ, start_response))
        return int(statuses[0].split()[0]), content

    def submit(self, name: str, **params: Any) -> UUID:
        """Submit a request through the API; return its id."""
        payload = {"client_reference": name, "to": ["2348030000000"], "text": "hello"}
        body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload, **params}).encode()
        return UUID(self.call("POST", "/v1/requests", body, {"Authorization": f"Bearer {_KEY}"})["id"])

    def wait_for(self, query: str, *params: Any) -> None:
        """Wait until a query returns a row."""
        with gevent.Timeout(_WAIT_S):
            while self.connection.execute(query.encode(), params).fetchone() is None:
                gevent.sleep(0.01)

    def step_until(self, step: Callable[[], object], query: str, *params: Any) -> None:
        """Step a worker's loop until a query returns a row."""
        with gevent.Timeout(_WAIT_S):
            while self.connection.execute(query.encode(), params).fetchone() is None:
                step()
                gevent.sleep(0.02)


def walk_callback(scenario: Scenario) -> None:
    """Take a callback from the web server to its committed row."""
    body = json.dumps({"results": [{"id": uuid4().hex, "state": "DELIVERED"}]}).encode()
    with scenario.recorder.journey():
        scenario.call("POST", "/callbacks/sandbox", body, dict(sign_callback(body)))


def walk_request(scenario: Scenario) -> None:
    """Submit a request and send it, until the response is recorded."""
    name = uuid4().hex
    scenario.provider.script(name, accept_request())
    loop = ExchangeLoop(SendTask(scenario.settings.send_targets), scenario.database, scenario.channels, scenario.clock)
    with scenario.recorder.journey():
        request = scenario.submit(name)
        scenario.step_until(loop.step, "SELECT FROM requests WHERE id = %s AND status = 'accepted'", request)
        loop.drain(1.0)


def walk_poll(scenario: Scenario) -> None:
    """Poll a silent job until its final status is recorded."""
    reference = uuid4().hex
    scenario.provider.script(reference, state("DELIVERED"))
    job = event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, actor=sandbox(name="sandbox"))
    reconcile(scenario.connection, [job])
    # The jobs of other journeys are not polled, as the provider does not know them.
    scenario.connection.execute("UPDATE jobs SET poll_at = CASE WHEN id = %s THEN now() END", [job.job_id])
    task = PollTask(scenario.settings.send_targets)
    loop = ExchangeLoop(task, scenario.database, scenario.channels, scenario.clock)
    with scenario.recorder.journey():
        scenario.step_until(loop.step, "SELECT FROM jobs WHERE id = %s AND status = 'succeeded'", job.job_id)
        loop.drain(1.0)


def walk_notified_end(scenario: Scenario) -> None:
    """Take the callback that ends a request's only job, and deliver the notification of its client."""
    name, client = uuid4().hex, uuid4().hex
    scenario.provider.script(name, accept_request())
    scenario.provider.script(client, accept_request())
    loop = ExchangeLoop(SendTask(scenario.settings.send_targets), scenario.database, scenario.channels, scenario.clock)
    request = scenario.submit(name, notify_url=f"{scenario.provider.url}/notified/{client}")
    scenario.step_until(loop.step, "SELECT FROM requests WHERE id = %s AND status = 'accepted'", request)
    body = json.dumps({"results": [{"id": f"{name}-0", "state": "DELIVERED"}]}).encode()
    with scenario.recorder.journey():
        scenario.call("POST", "/callbacks/sandbox", body, dict(sign_callback(body)))
        queue_notifications(scenario.database)
        notified = "SELECT FROM requests WHERE status = 'completed' AND metadata ->> 'request_id' = %s"
        scenario.step_until(loop.step, notified, str(request))
        loop.drain(1.0)


def walk_query(scenario: Scenario) -> None:
    """Show one job with its events through the API."""
    job = event(uuid4().hex, JobStatus.SUCCEEDED, actor=sandbox(name="sandbox"))
    reconcile(scenario.connection, [job])
    headers = {"Authorization": f"Bearer {_KEY}"}
    scenario.call("GET", "/v1/jobs", headers=headers)
    with scenario.recorder.journey():
        scenario.call("GET", f"/v1/jobs/{job.job_id}", headers=headers)


WALKS: Mapping[str, Callable[[Scenario], None]] = {
    "callback": walk_callback,
    "request": walk_request,
    "poll": walk_poll,
    "notified end": walk_notified_end,
    "query": walk_query,
}


def walk(
    recorder: Recorder, home: Path, environ: Mapping[str, str], names: Sequence[str]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Run the journeys that are named, or all; yield each with the functions that it passed."""
    with ExitStack() as stack:
        scenario = Scenario(recorder, home, environ, stack)
        for name in names or WALKS:
            for _ in range(2):  # The second time, which is recorded last, statements are loaded and keys are cached.
                WALKS[name](scenario)
            yield name, recorder.calls()
