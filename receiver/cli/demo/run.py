"""The demo's course: submit, watch, act as the operator, and at the end hold the ledger against Postgres."""

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
from receiver.cli.demo.environment import HOLDING, RETRYING, DemoEnvironment, start_environment
from receiver.cli.process_group import StopRequested
from receiver.domain.errors import ReceiverError
from receiver.sandbox.scripts import build_script
from receiver.store.database import Connection, connect
from receiver.store.overview import count_by_status, list_all_jobs, list_all_requests

_SUBMITTERS = 8
_LOOK_EVERY = 0.25
_DEADLINE = timedelta(minutes=30)
# Prime to the length of the sandbox's cycle of answers, so that every answer falls on both providers.
_HOLDING_EVERY = 7
_OPEN = {("request", "queued"), ("request", "sending"), ("job", "accepted"), ("job", "in_progress")}


class DemoFailed(ReceiverError):
    """The demo could not do its part."""


def run_demo(environ: Mapping[str, str], *, requests: int, seed: int, keep: bool, as_json: bool) -> bool:
    """Run the demo and show its result; True when ledger and Postgres agree in everything.

    Args:
        environ: our environment; `DATABASE_URL` may name a server to use.
        requests: how many to submit.
        seed: decides how the sandbox misbehaves.
        keep: stay up afterwards until SIGINT or SIGTERM.
        as_json: end with one JSON object on stdout.
    """
    began = time.monotonic()
    display = DemoDisplay(requests)
    display.say("starting Postgres, the sandbox provider, web and worker")
    with start_environment(environ, seed) as stage, closing(connect(stage.dsn)) as connection:
        display.say(f"submitting {requests} requests to {stage.url}/v1/requests")
        with display.live():
            _submit(stage, requests, seed)
            comparison = _watch(stage, connection, display, until=time.monotonic() + 45 + requests / 20)
        seconds = time.monotonic() - began
        display.result(comparison, seconds)
        if as_json:
            click.echo(orjson.dumps(_as_json(comparison, seconds)))
        if keep:
            click.echo(f"API: {stage.url}/v1  key: {stage.key}  (Ctrl-C ends it)", err=True)
            with suppress(StopRequested):
                stage.fleet.watch()
    return comparison.agrees


def _submit(stage: DemoEnvironment, requests: int, seed: int) -> None:
    client = HTTPClient.from_url(stage.url, concurrency=_SUBMITTERS, network_timeout=30.0)
    headers = {"authorization": f"Bearer {stage.key}", "content-type": "application/json"}

    def submit(body: bytes) -> None:
        reply = client.post("/v1/requests", body, headers)
        content = reply.read()
        if reply.status_code != 202:
            raise DemoFailed(f"POST /v1/requests answered {reply.status_code}: {content.decode(errors='replace')}")

    with closing(client):
        for _ in Pool(_SUBMITTERS).imap_unordered(submit, _bodies(requests, seed)):
            pass


def _bodies(requests: int, seed: int) -> Iterator[bytes]:
    random = Random(seed)  # noqa: S311  # made-up numbers, the same for the same seed
    # A provider that asks all to wait delays them for longer than a silent job has, by the settings of the demo.
    deadline = (datetime.now(UTC) + _DEADLINE).isoformat().replace("+00:00", "Z")
    for number in range(requests):
        recipients = build_script(seed, number).response.recipients
        payload = {
            "client_reference": f"demo-{number:05d}",
            "to": [f"234{random.randrange(10**9, 10**10)}" for _ in range(recipients)],
            "text": f"Your order {number} is on its way.",
        }
        provider = HOLDING if number % _HOLDING_EVERY == 0 else RETRYING
        yield orjson.dumps({"provider": provider, "operation": "send", "payload": payload, "deadline": deadline})


def _watch(stage: DemoEnvironment, connection: Connection, display: DemoDisplay, until: float) -> Comparison:
    """Show the progress until ledger and Postgres agree or time is up, and give the last comparison.

    Polls may still be on their way to a job that is unresolved, so that a difference counts only when it stays.
    """
    with closing(HTTPClient.from_url(stage.sandbox_url, network_timeout=30.0)) as sandbox:
        while True:
            stage.fleet.check(wait=_LOOK_EVERY)
            _resume_paused(stage, display)
            now = count_by_status(connection)
            pending = orjson.loads(sandbox.get("/ledger/totals").read())["pending"]
            display.show(now, pending)
            settled = not pending and not any(now.get(kind) for kind in _OPEN)
            late = time.monotonic() > until
            if settled or late:
                comparison = _compare(orjson.loads(sandbox.get("/ledger").read()), connection)
                if comparison.agrees or late:
                    return comparison


def _resume_paused(stage: DemoEnvironment, display: DemoDisplay) -> None:
    """Do as an operator would whose provider refused the credentials and has mended that."""
    client = HTTPClient.from_url(stage.url, headers={"authorization": f"Bearer {stage.key}"})
    with closing(client):
        for provider in orjson.loads(client.get("/v1/providers").read())["items"]:
            if provider["paused"]:
                display.say(f"{provider['name']} was paused ({provider['pause_reason']}); the operator resumes it")
                client.post(f"/v1/providers/{provider['name']}/resume").read()


def _compare(ledger: Mapping[str, Any], connection: Connection) -> Comparison:
    return compare(
        ledger,
        {reference: StoredState(status) for reference, status in list_all_requests(connection)},
        {
            reference: StoredState(status, disputed, matched)
            for reference, status, disputed, matched in list_all_jobs(connection)
        },
    )


def _as_json(comparison: Comparison, seconds: float) -> dict[str, Any]:
    return {
        "requests": comparison.requests,
        "jobs": comparison.jobs,
        **{status: comparison.by_status.get(status, 0) for status in ("succeeded", "failed", "unresolved")},
        "forged": comparison.forged,
        "forged_accepted": comparison.forged_accepted,
        "mismatches": len(comparison.mismatches),
        "seconds": round(seconds, 1),
    }
