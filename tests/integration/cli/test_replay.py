"""`receiver callback replay`: one callback, or all that filters match."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus
from receiver.reconcile import reconcile
from tests.support.command_line import CommandLine
from tests.support.command_service import Service, parse_rows
from tests.support.factories import event, provider
from tests.support.http import build_report, sign_callback
from tests.support.operated_service import ACME, OperatedService
from tests.support.processes import wait_for

FIXED = ACME.replace('DONE = "succeeded"', 'DONE = "succeeded", EXPIRED = "failed"')


@pytest.mark.slow
def test_replay_applies_a_fixed_mapping(operated: OperatedService) -> None:
    before = operated.serve(ACME)
    references = [f"ref-{number}" for number in range(5)]
    for reference in references:
        assert operated.call_back(reference, "EXPIRED") == 200
    assert operated.call_back("ref-5", "EXPIRED", secret="another") == 401
    wait_for(lambda: before.json("callback", "list", "--verdict", "refused")["items"])
    replay = ("callback", "replay", "--provider", "acme", "--verdict", "unmapped")
    assert before.json(*replay, "--dry-run") == {
        "found": 5, "replayed": 0, "changed": [], "still_refused": [], "failed": [], "dry_run": True
    }  # fmt: skip
    assert before.json(*replay)["changed"] == []
    assert {status for _, status, _ in operated.jobs()} == {"accepted"}

    after = operated.serve(FIXED)
    assert after.json(*replay, "--reason", "EXPIRED was not mapped") == {
        "found": 5,
        "replayed": 5,
        "changed": [{"from": "unmapped", "to": "accepted", "count": 5}],
        "still_refused": [],
        "failed": [],
        "dry_run": False,
    }
    assert operated.jobs() == [(reference, "failed", None) for reference in references]
    shown = after.ok("job", "show", "--reference", references[0])
    assert [row[-1] for row in parse_rows(shown.partition("callbacks\n")[2])][1:] == [
        after.json("job", "show", "--reference", references[0])["events"][0]["callback_id"]
    ]
    assert "replaced" in shown.partition("events\n")[2]
    explanation = after.json("job", "show", "--reference", references[0])["explanation"]
    assert not [note for note in explanation["notes"] if "`statuses`" in note]
    assert [action["reason"] for action in list_actions_of_newest(after)] == [None, "EXPIRED was not mapped"]
    assert after.json(*replay)["found"] == 0
    query = "SELECT received_at FROM callbacks JOIN actions ON subject = callbacks.id::text WHERE reason IS NOT NULL"
    replayed_times = operated.connection.execute(f"{query} ORDER BY created_at".encode()).fetchall()
    assert replayed_times == sorted(replayed_times)

    everything = after.run("callback", "replay", "--all")
    assert everything.exit_code == 0
    assert "still refused  1" in everything.stdout
    assert operated.run_locally("audit", config=FIXED).exit_code == 0

    request = uuid4()
    response = event(
        "ref-0", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, actor=provider(name="acme")
    )
    reconcile(operated.connection, [response])
    assert operated.jobs()[0] == ("ref-0", "failed", request)


def list_actions_of_newest(command: CommandLine) -> Any:
    newest = command.json("callback", "list", "--verdict", "accepted", "--limit", 1)["items"][0]
    return command.json("callback", "show", newest["id"])["actions"]


def test_replay_reports_a_failure_and_continues(operated: OperatedService) -> None:
    command = operated.serve(FIXED)
    for number in range(3):
        assert operated.call_back(f"ref-{number}", "DONE") == 200
    operated.connection.execute(
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


def test_replay_fails_for_a_callback_that_is_still_refused(service: Service, name: str) -> None:
    body = build_report(name)
    forged = service.web.call("POST", "/callbacks/acme", body, sign_callback(body, secret="whsec_c29tZWJvZHkgZWxzZQ=="))
    assert forged.status == 401
    refused = ("callback", "list", "--verdict", "refused")
    [callback, *_] = wait_for(lambda: service.json(*refused)["items"])
    assert "still refused" in service.fails("callback", "replay", callback["id"])
