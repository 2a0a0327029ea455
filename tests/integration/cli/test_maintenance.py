"""`receiver audit`, `receiver prune`, and `receiver callback replay` with filters."""

import hmac
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import commands
from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection, connect
from tests.support.command_line import CommandLine
from tests.support.factories import event, provider
from tests.support.processes import Web, running_web, wait_for

SECRET = "a-secret-of-acme"
ACME = f"""
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
signature = {{ scheme = "hmac", header = "X-Acme-Signature", secrets = ["{SECRET}"] }}
"""
FIXED = ACME.replace('DONE = "succeeded"', 'DONE = "succeeded", EXPIRED = "failed"')


@dataclass
class OperatedService:
    """A web process that can be restarted with another configuration, and its database."""

    directory: Path
    dsn: str
    connection: Connection
    running: ExitStack
    config: str = ""
    web: Web | None = None

    def serve(self, config: str) -> CommandLine:
        """Serve with a configuration; return a command line for the service."""
        if self.web is None or config != self.config:
            self.running.close()
            listener = self.running.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.web = self.running.enter_context(running_web(self.directory, self.dsn, config, listener))
            self.config = config
        return CommandLine(f"http://127.0.0.1:{self.web.port}")

    def call_back(self, reference: str, status: str, secret: str = SECRET) -> int:
        assert self.web
        body = json.dumps({"id": reference, "state": status}).encode()
        proof = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"content-type": "application/json", "x-acme-signature": proof}
        return self.web.call("POST", "/callbacks/acme", body, headers).status

    def run_locally(self, *arguments: str, config: str = ACME, environ: dict[str, str] | None = None) -> Result:
        """Run a command that works directly on the database."""
        path = self.directory / "local.toml"
        path.write_text(config)
        environment = {"DATABASE_URL": self.dsn, "RECEIVER_CONFIG": str(path), **(environ or {})}
        return CliRunner(env=environment).invoke(commands, arguments, catch_exceptions=False)

    def jobs(self) -> Sequence[Any]:
        return self.connection.execute("SELECT reference, status, request_id FROM jobs ORDER BY reference").fetchall()


@pytest.fixture(scope="module")
def service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedService]:
    with (
        scratch_database(server, template=template) as dsn,
        closing(connect(dsn)) as connection,
        ExitStack() as running,
    ):
        yield OperatedService(tmp_path_factory.mktemp("repair"), dsn, connection, running)


@pytest.fixture(autouse=True)
def empty_tables(service: OperatedService) -> None:
    service.connection.execute("TRUNCATE requests, jobs, callbacks, actions CASCADE")


def test_replay_applies_a_fixed_mapping(service: OperatedService) -> None:
    before = service.serve(ACME)
    references = [f"ref-{number}" for number in range(5)]
    for reference in references:
        assert service.call_back(reference, "EXPIRED") == 200
    assert service.call_back("ref-5", "EXPIRED", secret="another") == 401
    wait_for(lambda: before.json("callback", "list", "--verdict", "refused")["items"])
    replay = ("callback", "replay", "--provider", "acme", "--verdict", "unmapped")
    assert before.json(*replay, "--dry-run") == {
        "found": 5, "replayed": 0, "changed": [], "still_refused": [], "failed": [], "dry_run": True
    }  # fmt: skip
    assert before.json(*replay)["changed"] == []
    assert {status for _, status, _ in service.jobs()} == {"accepted"}

    after = service.serve(FIXED)
    assert after.json(*replay, "--reason", "EXPIRED was not mapped") == {
        "found": 5,
        "replayed": 5,
        "changed": [{"from": "unmapped", "to": "accepted", "count": 5}],
        "still_refused": [],
        "failed": [],
        "dry_run": False,
    }
    assert service.jobs() == [(reference, "failed", None) for reference in references]
    assert [action["reason"] for action in list_actions_of_newest(after)] == [None, "EXPIRED was not mapped"]
    assert after.json(*replay)["found"] == 0
    query = "SELECT received_at FROM callbacks JOIN actions ON subject = callbacks.id::text WHERE reason IS NOT NULL"
    replayed_times = service.connection.execute(f"{query} ORDER BY created_at".encode()).fetchall()
    assert replayed_times == sorted(replayed_times)

    everything = after.run("callback", "replay", "--all")
    assert everything.exit_code == 0
    assert "still refused  1" in everything.stdout
    assert service.run_locally("audit", config=FIXED).exit_code == 0

    request = uuid4()
    response = event(
        "ref-0", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, actor=provider(name="acme")
    )
    reconcile(service.connection, [response])
    assert service.jobs()[0] == ("ref-0", "failed", request)


def list_actions_of_newest(command: CommandLine) -> Any:
    newest = command.json("callback", "list", "--verdict", "accepted", "--limit", 1)["items"][0]
    return command.json("callback", "show", newest["id"])["actions"]


def test_replay_reports_a_failure_and_continues(service: OperatedService) -> None:
    command = service.serve(FIXED)
    for number in range(3):
        assert service.call_back(f"ref-{number}", "DONE") == 200
    service.connection.execute(
        "UPDATE callbacks SET provider = 'forgotten' WHERE id IN (SELECT min(id::text)::uuid FROM callbacks)"
    )
    result = command.run("callback", "replay", "--verdict", "accepted", "--json")
    output = json.loads(result.stdout)
    assert (result.exit_code, output["replayed"], len(output["failed"])) == (1, 2, 1)
    assert "forgotten is not configured" in output["failed"][0]["reason"]
    assert "forgotten is not configured" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all", "--verdict", "refused"),
        ("018f0000-0000-7000-8000-000000000000", "--all"),
        ("018f0000-0000-7000-8000-000000000000", "--dry-run"),
    ],
)
def test_replay_needs_an_id_or_filters(arguments: Sequence[str]) -> None:
    assert "ID" in CommandLine("http://127.0.0.1:9").fails("callback", "replay", *arguments, code=2)


def test_replay_ends_if_the_service_is_unavailable() -> None:
    assert "Cannot connect" in CommandLine("http://127.0.0.1:9").fails("callback", "replay", "--all")


def test_audit_reports_findings_and_fixes(service: OperatedService) -> None:
    reconcile(service.connection, [event(status=JobStatus.FAILED), event("ref-2")])
    clean = service.run_locally("audit")
    assert (clean.exit_code, clean.stdout) == (0, "")
    assert "no differences" in clean.stderr
    service.connection.execute("UPDATE jobs SET status = 'succeeded' WHERE reference = 'ref-1'")
    service.connection.execute("UPDATE jobs SET reference = 'ref-3' WHERE reference = 'ref-2'")
    job, other = str(derive_job_id("sandbox", "ref-1")), str(derive_job_id("sandbox", "ref-2"))
    shown = service.run_locally("audit")
    assert shown.exit_code == 1
    assert f"status    job      {job}  sandbox   no     succeeded  failed" in shown.stdout
    assert "`receiver audit --fix` fixes 1" in shown.stderr
    assert service.run_locally("audit", "--provider", "acme").exit_code == 0
    fixed = json.loads(service.run_locally("audit", "--fix", "--json").stdout)
    assert (fixed["jobs"], fixed["left"]) == (2, 1)
    assert {(finding["kind"], finding["id"], finding["fixed"]) for finding in fixed["findings"]} == {
        ("status", job, True),
        ("identity", other, False),
    }
    left = service.run_locally("audit", "--fix")
    assert left.exit_code == 1
    assert "no right value can be proven" in left.stderr


def test_prune_removes_old_finished_work(service: OperatedService) -> None:
    reconcile(service.connection, [event(status=JobStatus.FAILED), event("ref-2", JobStatus.ACCEPTED)])
    service.connection.execute(
        "UPDATE jobs SET finished_at = finished_at - interval '100 days' WHERE status = 'failed'"
    )
    service.connection.execute("UPDATE events SET received_at = received_at - interval '100 days'")
    counts = {"requests": 0, "jobs": 1, "events": 1, "callbacks": 0, "idempotency_keys": 0}
    dry = service.run_locally("prune", "--older-than", "90d", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {**counts, "idempotency_keys": None, "dry_run": True}
    assert len(service.jobs()) == 2
    shown = service.run_locally("prune", "--older-than", "90d")
    assert (shown.exit_code, shown.stdout.split()) == (
        0, ["requests", "0", "jobs", "1", "events", "1", "callbacks", "0", "idempotency", "keys", "0"]
    )  # fmt: skip
    assert [reference for reference, _, _ in service.jobs()] == ["ref-2"]


@pytest.mark.parametrize(
    ("span", "expected"), [("23h", "duplicate"), ("0d", "duplicate"), ("ninety", "90d"), ("2026-01-01", "90d")]
)
def test_prune_refuses_a_span_below_one_day(service: OperatedService, span: str, expected: str) -> None:
    refused = service.run_locally("prune", "--older-than", span)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert expected in refused.stderr


@pytest.mark.parametrize("command", [("audit",), ("prune", "--older-than", "90d")])
def test_settings_and_database_errors_are_reported(service: OperatedService, command: Sequence[str]) -> None:
    assert service.run_locally(*command, config="nonsense").exit_code == 2
    away = service.run_locally(*command, environ={"DATABASE_URL": "postgresql://127.0.0.1:9/none"})
    assert away.exit_code == 1
    assert "error: " in away.stderr
    with scratch_database(service.dsn) as empty:
        output = service.run_locally(*command, environ={"DATABASE_URL": empty})
    assert (output.exit_code, output.stderr) == (
        1,
        "error: The database schema is not up to date. Run `receiver migrate`.\n",
    )
