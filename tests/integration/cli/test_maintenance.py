"""`receiver audit`, `prune` and `recover`."""

import json
from collections.abc import Sequence
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.requests import NewRequest, submit_requests
from tests.support.factories import event
from tests.support.operated_service import OperatedService


def test_audit_reports_findings_and_fixes(operated: OperatedService) -> None:
    reconcile(operated.connection, [event(status=JobStatus.FAILED), event("ref-2")])
    clean = operated.run_locally("audit")
    assert (clean.exit_code, clean.stdout) == (0, "")
    assert "no differences" in clean.stderr
    operated.connection.execute("UPDATE jobs SET status = 'succeeded' WHERE reference = 'ref-1'")
    operated.connection.execute("UPDATE jobs SET reference = 'ref-3' WHERE reference = 'ref-2'")
    job, other = str(derive_job_id("sandbox", "ref-1")), str(derive_job_id("sandbox", "ref-2"))
    shown = operated.run_locally("audit")
    assert shown.exit_code == 1
    assert f"status    job      {job}  sandbox   no     succeeded  failed" in shown.stdout
    assert "`receiver audit --fix` fixes 1" in shown.stderr
    assert operated.run_locally("audit", "--provider", "acme").exit_code == 0
    assert operated.run_locally("audit", "--provider", "sandbox").exit_code == 1  # not configured any more
    unknown = operated.run_locally("audit", "--provider", "acne")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert unknown.stderr == (
        "error: No provider acne is configured, and nothing of one is stored. Did you mean acme?\n"
    )
    fixed = json.loads(operated.run_locally("audit", "--fix", "--json").stdout)
    assert (fixed["jobs"], fixed["left"]) == (2, 1)
    assert {(finding["kind"], finding["id"], finding["fixed"]) for finding in fixed["findings"]} == {
        ("status", job, True),
        ("identity", other, False),
    }
    left = operated.run_locally("audit", "--fix")
    assert left.exit_code == 1
    assert "no right value can be proven" in left.stderr


def test_prune_removes_old_finished_work(operated: OperatedService) -> None:
    reconcile(operated.connection, [event(status=JobStatus.FAILED), event("ref-2", JobStatus.ACCEPTED)])
    operated.connection.execute(
        "UPDATE jobs SET finished_at = finished_at - interval '100 days' WHERE status = 'failed'"
    )
    operated.connection.execute("UPDATE events SET received_at = received_at - interval '100 days'")
    counts = {"requests": 0, "jobs": 1, "events": 1, "callbacks": 0, "idempotency_keys": 0, "nonces": 0}
    dry = operated.run_locally("prune", "--older-than", "90d", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {**counts, "idempotency_keys": None, "dry_run": True}
    assert len(operated.jobs()) == 2
    shown = operated.run_locally("prune", "--older-than", "90d")
    assert (shown.exit_code, shown.stdout.split()) == (
        0, ["requests", "0", "jobs", "1", "events", "1", "callbacks", "0", "idempotency", "keys", "0", "nonces", "0"]
    )  # fmt: skip
    assert [reference for reference, _, _ in operated.jobs()] == ["ref-2"]


@pytest.mark.parametrize(
    ("span", "expected"), [("23h", "duplicate"), ("0d", "duplicate"), ("ninety", "90d"), ("2026-01-01", "90d")]
)
def test_prune_refuses_a_span_below_one_day(operated: OperatedService, span: str, expected: str) -> None:
    refused = operated.run_locally("prune", "--older-than", span)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert expected in refused.stderr


def test_recover_makes_due_requests_unknown(operated: OperatedService) -> None:
    submit_requests(operated.connection, [NewRequest(uuid4(), "acme", "send", {}, {}, None, None, 3_600.0)])
    [(now,)] = operated.connection.execute("SELECT now()").fetchall()
    command = ("recover", "--before", now.isoformat())
    dry = operated.run_locally(*command, "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"unknown": 1, "accepted": 0, "dry_run": True}
    shown = operated.run_locally(*command)
    assert (shown.exit_code, shown.stdout.split()) == (0, ["unknown", "1", "accepted", "0"])
    assert json.loads(operated.run_locally(*command, "--json").stdout)["unknown"] == 0
    assert operated.connection.execute("SELECT status FROM requests").fetchall() == [("unknown",)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-23T14:00:00", "Use 2026-11-23T14:00:00Z if it is UTC."),
        ("2999-01-01T00:00:00Z", "is in the future"),
        ("yesterday", "is not a time"),
    ],
)
def test_recover_refuses_an_unusable_time(operated: OperatedService, time: str, expected: str) -> None:
    refused = operated.run_locally("recover", "--before", time)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert expected in refused.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("audit",),
        ("prune", "--older-than", "90d"),
        ("recover", "--before", "1h"),
        ("erase", "--metadata", "a=b", "--reason", "because", "--yes"),
    ],
)
def test_settings_and_database_errors_are_reported(operated: OperatedService, command: Sequence[str]) -> None:
    refused = operated.run_locally(*command, config="nonsense", environ={"DATABASE_URL": ""})
    assert refused.exit_code == 2
    assert "settings: DATABASE_URL: Missing data" in refused.stderr
    assert "Not valid TOML" in refused.stderr
    away = operated.run_locally(*command, environ={"DATABASE_URL": "postgresql://127.0.0.1:9/none"})
    assert away.exit_code == 1
    assert "error: " in away.stderr
    with scratch_database(operated.dsn) as empty:
        output = operated.run_locally(*command, environ={"DATABASE_URL": empty})
    assert (output.exit_code, output.stderr) == (
        1,
        "error: The database schema is not up to date. Run `receiver migrate`.\n",
    )
