"""The steps of the demo: submit requests, watch them, act as the operator, and compare the ledger with Postgres."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import click
import orjson
from gevent.pool import Pool
from geventhttpclient import HTTPClient

from receiver.cli.demo.compare import Comparison, StoredState, compare
from receiver.cli.demo.display import DemoDisplay
from receiver.cli.demo.environment import HOLD_PROVIDER, RETRY_PROVIDER, DemoEnvironment, start_environment
from receiver.cli.process_group import StopRequested
from receiver.cli.ready_message import print_ready
from receiver.domain.errors import ReceiverError
from receiver.domain.plurals import format_count
from receiver.sandbox.scripts import build_script
from receiver.store.connections import Connection, connect
from receiver.store.stats import count_by_status, list_all_jobs, list_all_requests

_CONCURRENCY = 8
_POLL_INTERVAL_S = 0.25
_HTTP_TIMEOUT_S = 30.0
_MIN_WAIT_S, _REQUESTS_PER_S = 45, 20
"""After the submission the demo waits this many seconds, and one second more for every 20 requests."""
_DEADLINE = timedelta(minutes=30)
# Coprime to the length of the sandbox's cycle of responses, so that both providers get every response.
_HOLD_INTERVAL = 7
_OPEN_STATUSES = {("request", "queued"), ("request", "sending"), ("job", "accepted"), ("job", "in_progress")}


class DemoFailed(ReceiverError):
    """The demo could not submit its requests."""


def run_demo(environ: Mapping[str, str], *, requests: int, seed: int, keep: bool, as_json: bool) -> bool:
    """Run the demo and print its result.

    Args:
        environ: the environment of this process; `DATABASE_URL` may name a server to use.
        requests: the number of requests to submit.
        seed: the seed of the sandbox's misbehavior.
        keep: keep the processes running afterwards until SIGINT or SIGTERM.
        as_json: print the result as one JSON object on stdout.

    Returns:
        Whether the ledger and Postgres agree completely.
    """
    started = time.monotonic()
    display = DemoDisplay(requests)
    display.print_step("starting Postgres, the sandbox provider, web and worker")
    with start_environment(environ, seed) as environment, closing(connect(environment.dsn)) as connection:
        display.print_step(f"submitting {format_count(requests, 'request')} to {environment.url}/v1/requests")
        with display.show_live():
            _submit(environment, requests, seed)
            deadline = time.monotonic() + _MIN_WAIT_S + requests / _REQUESTS_PER_S
            comparison = _watch(environment, connection, display, deadline)
        seconds = time.monotonic() - started
        display.print_result(comparison, seconds)
        if as_json:
            click.echo(orjson.dumps(_build_result(comparison, seconds)))
        if keep:
            click.echo(f"key: {environment.key}", err=True)
            print_ready(environment.url, "this key", err=True)
            with suppress(StopRequested):
                environment.processes.watch()
    return comparison.agrees


def _submit(environment: DemoEnvironment, requests: int, seed: int) -> None:
    client = HTTPClient.from_url(environment.url, concurrency=_CONCURRENCY, network_timeout=_HTTP_TIMEOUT_S)
    headers = {"authorization": f"Bearer {environment.key}", "content-type": "application/json"}

    def submit(body: bytes) -> None:
        response = client.post("/v1/requests", body, headers)
        content = response.read()
        if response.status_code != 202:
            problem = content.decode(errors="replace")
            raise DemoFailed(f"POST /v1/requests failed with {response.status_code}: {problem}")

    pool = Pool(_CONCURRENCY)
    with closing(client):
        try:
            for _ in pool.imap_unordered(submit, _build_bodies(requests, seed)):
                pass
        finally:
            pool.kill()  # after an interrupt, their open connections would delay the stop of the web process


def _build_bodies(requests: int, seed: int) -> Iterator[bytes]:
    random = Random(seed)  # noqa: S311  # phone numbers that must be repeatable, not secret
    # A `Retry-After` of the sandbox delays all requests by longer than the provider's short `deadline`.
    deadline = (datetime.now(UTC) + _DEADLINE).isoformat().replace("+00:00", "Z")
    for number in range(requests):
        recipients = build_script(seed, number).response.recipients
        payload = {
            "client_reference": f"demo-{number:05d}",
            "to": [f"234{random.randrange(10**9, 10**10)}" for _ in range(recipients)],
            "text": f"Your order {number} is on its way.",
        }
        provider = HOLD_PROVIDER if number % _HOLD_INTERVAL == 0 else RETRY_PROVIDER
        yield orjson.dumps({"provider": provider, "operation": "send", "payload": payload, "deadline": deadline})


def _watch(environment: DemoEnvironment, connection: Connection, display: DemoDisplay, deadline: float) -> Comparison:
    """Show the progress until the ledger and Postgres agree or the deadline passes; return the last comparison.

    A difference counts only if it persists: a poll may still be under way for a job that is unresolved.
    """
    with closing(HTTPClient.from_url(environment.sandbox_url, network_timeout=_HTTP_TIMEOUT_S)) as sandbox:
        while True:
            environment.processes.check(wait=_POLL_INTERVAL_S)
            _resume_paused(environment, display)
            counts = count_by_status(connection)
            pending = orjson.loads(sandbox.get("/ledger/totals").read())["pending"]
            display.update(counts, pending)
            settled = not pending and not any(counts.get(status) for status in _OPEN_STATUSES)
            timed_out = time.monotonic() > deadline
            if settled or timed_out:
                comparison = _compare(orjson.loads(sandbox.get("/ledger").read()), connection)
                if comparison.agrees or timed_out:
                    return comparison


def _resume_paused(environment: DemoEnvironment, display: DemoDisplay) -> None:
    """Resume paused providers, as an operator does after the provider has accepted the credentials again."""
    client = HTTPClient.from_url(environment.url, headers={"authorization": f"Bearer {environment.key}"})
    with closing(client):
        for provider in orjson.loads(client.get("/v1/providers").read())["items"]:
            if provider["paused"]:
                name = provider["name"]
                display.print_step(f"{name} was paused ({provider['pause_reason']}); resuming it as the operator")
                client.post(f"/v1/providers/{name}/resume").read()


def _compare(ledger: Mapping[str, Any], connection: Connection) -> Comparison:
    return compare(
        ledger,
        {reference: StoredState(status) for reference, status in list_all_requests(connection)},
        {
            reference: StoredState(status, disputed, matched)
            for reference, status, disputed, matched in list_all_jobs(connection)
        },
    )


def _build_result(comparison: Comparison, seconds: float) -> dict[str, Any]:
    return {
        "requests": comparison.requests,
        "jobs": comparison.jobs,
        **{status: comparison.by_status.get(status, 0) for status in ("succeeded", "failed", "unresolved")},
        "forged": comparison.forged,
        "forged_accepted": comparison.forged_accepted,
        "mismatches": len(comparison.mismatches),
        "seconds": round(seconds, 1),
    }
