"""`receiver erase`."""

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner

from receiver.cli.main import commands
from receiver.store.requests import NewRequest, submit_requests
from tests.support.operated_service import OperatedService

COMMAND = ("erase", "--metadata", "customer=1042", "--reason", "request of 23 November")


def submit(operated: OperatedService, status: str = "completed") -> str:
    request_id = uuid4()
    submit_requests(
        operated.connection,
        [NewRequest(request_id, "acme", "send", {"to": "ada"}, {"customer": "1042"}, None, None, 3_600.0)],
    )
    if status != "queued":
        operated.connection.execute(
            "UPDATE requests SET status = %s, due_at = NULL, finished_at = now() WHERE id = %s", [status, request_id]
        )
    return str(request_id)


def count_erased(operated: OperatedService) -> int:
    rows = operated.connection.execute("SELECT FROM requests WHERE payload IS NULL")
    return len(rows.fetchall())


def test_erase_counts_and_erases(operated: OperatedService) -> None:
    submit(operated)
    counts = {"requests": 1, "attempts": 0, "jobs": 0, "events": 0, "callbacks": 0, "open_requests": []}
    dry = operated.run_locally(*COMMAND, "--dry-run", "--json")
    assert (dry.exit_code, json.loads(dry.stdout)) == (0, {**counts, "dry_run": True})
    assert count_erased(operated) == 0
    erased = operated.run_locally(*COMMAND, "--yes", "--json")
    assert (erased.exit_code, json.loads(erased.stdout)) == (0, {**counts, "dry_run": False})
    assert count_erased(operated) == 1
    again = operated.run_locally(*COMMAND, "--yes")
    assert (again.exit_code, "no request or job matches" in again.stderr) == (1, True)


@pytest.mark.parametrize(("answer", "exit_code", "erased"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_erase_asks_for_confirmation(operated: OperatedService, answer: str, exit_code: int, erased: int) -> None:
    submit(operated)
    path = operated.directory / "local.toml"
    path.write_text("")
    runner = CliRunner(env={"DATABASE_URL": operated.dsn, "RECEIVER_CONFIG": str(path)})
    result = runner.invoke(commands, COMMAND, input=answer)
    assert (result.exit_code, count_erased(operated)) == (exit_code, erased)
    assert "would be erased:" in result.stderr


def test_open_request_is_named_for_later(operated: OperatedService) -> None:
    request_id = submit(operated, "queued")
    result = operated.run_locally(*COMMAND, "--yes")
    assert result.exit_code == 1
    assert f"still open, and to be erased again by --request once they are finished: {request_id}" in result.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "Pass either"),
        (("--request", str(uuid4()), "--metadata", "a=b"), "Pass either"),
        (("--reference", "ref-1"), "requires --provider"),
        (("--request", str(uuid4()), "--provider", "acme"), "Omit --provider"),
        (("--request", str(uuid4()), "--json"), "--json requires"),
    ],
)
def test_erase_refuses_an_unclear_selection(operated: OperatedService, options: tuple[str, ...], expected: str) -> None:
    result = operated.run_locally("erase", "--reason", "because", *options)
    assert (result.exit_code, expected in result.stderr) == (2, True)
