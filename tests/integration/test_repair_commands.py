"""`receiver audit`, `receiver prune` and `receiver callback replay` of many, as an operator meets them."""

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
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection, connect
from receiver.store.scratch import scratch_database
from tests.command_line import CommandLine
from tests.factories import event, provider
from tests.processes import Web, running_web, wait_for

SECRET = "a-secret-of-acme"
ACME = f"""
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
signature = {{ scheme = "hmac", header = "X-Acme-Signature", secrets = ["{SECRET}"] }}
"""
MENDED = ACME.replace('DONE = "succeeded"', 'DONE = "succeeded", EXPIRED = "failed"')


@dataclass
class Operated:
    """A web process that can be restarted with another configuration, and its database."""

    directory: Path
    dsn: str
    connection: Connection
    running: ExitStack
    config: str = ""
    web: Web | None = None

    def serve(self, config: str) -> CommandLine:
        """Serve by a configuration; give the command line to it."""
        if self.web is None or config != self.config:
            self.running.close()
            listener = self.running.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.web = self.running.enter_context(running_web(self.directory, self.dsn, config, listener))
            self.config = config
        return CommandLine(f"http://127.0.0.1:{self.web.port}")

    def call_back(self, reference: str, word: str, secret: str = SECRET) -> int:
        assert self.web
        body = json.dumps({"id": reference, "state": word}).encode()
        proof = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"content-type": "application/json", "x-acme-signature": proof}
        return self.web.call("POST", "/callbacks/acme", body, headers).status

    def here(self, *arguments: str, config: str = ACME, environ: dict[str, str] | None = None) -> Result:
        """Run a command that works on the database itself."""
        path = self.directory / "here.toml"
        path.write_text(config)
        given = {"DATABASE_URL": self.dsn, "RECEIVER_CONFIG": str(path), **(environ or {})}
        return CliRunner(env=given).invoke(commands, arguments, catch_exceptions=False)

    def jobs(self) -> Sequence[Any]:
        return self.connection.execute("SELECT reference, status, request_id FROM jobs ORDER BY reference").fetchall()


@pytest.fixture(scope="module")
def operated(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with (
        scratch_database(server, template=template) as dsn,
        closing(connect(dsn)) as connection,
        ExitStack() as running,
    ):
        yield Operated(tmp_path_factory.mktemp("repair"), dsn, connection, running)


@pytest.fixture(autouse=True)
def emptied(operated: Operated) -> None:
    operated.connection.execute("TRUNCATE requests, jobs, callbacks, actions CASCADE")


def test_callbacks_are_read_again_after_their_mapping_was_mended(operated: Operated) -> None:
    before = operated.serve(ACME)
    references = [f"ref-{number}" for number in range(5)]
    for reference in references:
        assert operated.call_back(reference, "EXPIRED") == 200
    assert operated.call_back("ref-5", "EXPIRED", secret="another") == 401
    wait_for(lambda: before.json("callback", "list", "--verdict", "refused")["items"])
    which = ("callback", "replay", "--provider", "acme", "--verdict", "unmapped")
    assert before.json(*which, "--dry-run") == {
        "found": 5, "replayed": 0, "changed": [], "still_refused": [], "failed": [], "dry_run": True
    }  # fmt: skip
    assert before.json(*which)["changed"] == []
    assert {status for _, status, _ in operated.jobs()} == {"accepted"}

    after = operated.serve(MENDED)
    assert after.json(*which, "--reason", "EXPIRED was not mapped") == {
        "found": 5,
        "replayed": 5,
        "changed": [{"from": "unmapped", "to": "accepted", "count": 5}],
        "still_refused": [],
        "failed": [],
        "dry_run": False,
    }
    assert operated.jobs() == [(reference, "failed", None) for reference in references]
    assert [action["reason"] for action in actions_of_newest(after)] == [None, "EXPIRED was not mapped"]
    assert after.json(*which)["found"] == 0
    order = "SELECT received_at FROM callbacks JOIN actions ON subject = callbacks.id::text WHERE reason IS NOT NULL"
    read_again = operated.connection.execute(f"{order} ORDER BY created_at".encode()).fetchall()
    assert read_again == sorted(read_again)

    everything = after.run("callback", "replay", "--all")
    assert everything.exit_code == 0
    assert "still refused  1" in everything.stdout
    assert operated.here("audit", config=MENDED).exit_code == 0

    request = uuid4()
    response = event(
        "ref-0", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, actor=provider(name="acme")
    )
    reconcile(operated.connection, [response])
    assert operated.jobs()[0] == ("ref-0", "failed", request)


def actions_of_newest(command: CommandLine) -> Any:
    newest = command.json("callback", "list", "--verdict", "accepted", "--limit", 1)["items"][0]
    return command.json("callback", "show", newest["id"])["actions"]


def test_one_that_fails_is_told_and_the_others_are_read_again(operated: Operated) -> None:
    command = operated.serve(MENDED)
    for number in range(3):
        assert operated.call_back(f"ref-{number}", "DONE") == 200
    operated.connection.execute(
        "UPDATE callbacks SET provider = 'forgotten' WHERE id IN (SELECT min(id::text)::uuid FROM callbacks)"
    )
    result = command.run("callback", "replay", "--verdict", "accepted", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["replayed"], len(told["failed"])) == (1, 2, 1)
    assert "forgotten is not configured" in told["failed"][0]["reason"]
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
def test_it_must_be_said_which_callbacks_are_meant(arguments: Sequence[str]) -> None:
    assert "ID" in CommandLine("http://127.0.0.1:9").fails("callback", "replay", *arguments, code=2)


def test_a_service_that_is_away_ends_the_replay() -> None:
    assert "does not answer" in CommandLine("http://127.0.0.1:9").fails("callback", "replay", "--all")


def test_an_audit_tells_what_it_finds_and_what_it_mended(operated: Operated) -> None:
    reconcile(operated.connection, [event(status=JobStatus.FAILED), event("ref-2")])
    clean = operated.here("audit")
    assert (clean.exit_code, clean.stdout) == (0, "")
    assert "everything stored is proven" in clean.stderr
    operated.connection.execute("UPDATE jobs SET status = 'succeeded' WHERE reference = 'ref-1'")
    operated.connection.execute("UPDATE jobs SET reference = 'ref-3' WHERE reference = 'ref-2'")
    job, other = str(derive_job_id("sandbox", "ref-1")), str(derive_job_id("sandbox", "ref-2"))
    shown = operated.here("audit")
    assert shown.exit_code == 1
    assert f"status    job  {job}  sandbox   no     succeeded  failed" in shown.stdout
    assert "`receiver audit --fix` mends 1" in shown.stderr
    assert operated.here("audit", "--provider", "acme").exit_code == 0
    fixed = json.loads(operated.here("audit", "--fix", "--json").stdout)
    assert (fixed["jobs"], fixed["left"]) == (2, 1)
    assert {(found["kind"], found["id"], found["fixed"]) for found in fixed["findings"]} == {
        ("status", job, True),
        ("identity", other, False),
    }
    left = operated.here("audit", "--fix")
    assert left.exit_code == 1
    assert "nothing proves what is right" in left.stderr


def test_work_that_ended_long_ago_is_removed(operated: Operated) -> None:
    reconcile(operated.connection, [event(status=JobStatus.FAILED), event("ref-2", JobStatus.ACCEPTED)])
    operated.connection.execute(
        "UPDATE jobs SET finished_at = finished_at - interval '100 days' WHERE status = 'failed'"
    )
    operated.connection.execute("UPDATE events SET received_at = received_at - interval '100 days'")
    counts = {"requests": 0, "jobs": 1, "events": 1, "callbacks": 0, "idempotency_keys": 0}
    dry = operated.here("prune", "--older-than", "90d", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {**counts, "idempotency_keys": None, "dry_run": True}
    assert len(operated.jobs()) == 2
    shown = operated.here("prune", "--older-than", "90d")
    assert (shown.exit_code, shown.stdout.split()) == (
        0, ["requests", "0", "jobs", "1", "events", "1", "callbacks", "0", "idempotency", "keys", "0"]
    )  # fmt: skip
    assert [reference for reference, _, _ in operated.jobs()] == ["ref-2"]


@pytest.mark.parametrize(
    ("span", "words"), [("23h", "duplicate"), ("0d", "duplicate"), ("ninety", "90d"), ("2026-01-01", "90d")]
)
def test_what_is_younger_than_a_day_is_never_removed(operated: Operated, span: str, words: str) -> None:
    refused = operated.here("prune", "--older-than", span)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert words in refused.stderr


@pytest.mark.parametrize("command", [("audit",), ("prune", "--older-than", "90d")])
def test_faults_of_the_settings_and_an_absent_database_are_told(operated: Operated, command: Sequence[str]) -> None:
    assert operated.here(*command, config="nonsense").exit_code == 2
    away = operated.here(*command, environ={"DATABASE_URL": "postgresql://127.0.0.1:9/none"})
    assert away.exit_code == 1
    assert "error: " in away.stderr
    with scratch_database(operated.dsn) as empty:
        told = operated.here(*command, environ={"DATABASE_URL": empty})
    assert (told.exit_code, told.stderr) == (
        1,
        "error: the database has not the newest schema; run `receiver migrate`\n",
    )
