"""`receiver request retry`, `cancel`, `send-now` and `resolve` of several requests: by id, and by options."""

import json
from collections.abc import Mapping

import pytest

from tests.support.command_line import CommandLine
from tests.support.command_service import FAR_FUTURE, Service, parse_rows
from tests.support.processes import wait_for
from tests.support.provider import DROP, Provider, Reply
from tests.support.stub_api import JOB_ID, build_reply

REASON = ("--reason", "sent by mistake")


def submit_waiting(service: Service, name: str, count: int) -> list[str]:
    """Submit requests that are not sent during the test; return their ids."""
    return [service.submit(name, "--metadata", f"list={name}", "--send-after", FAR_FUTURE) for _ in range(count)]


def list_statuses(service: Service, name: str) -> Mapping[str, str]:
    items = service.json("request", "list", "--metadata", f"list={name}", "--all")["items"]
    return {item["id"]: item["status"] for item in items}


def test_matching_requests_are_cancelled_after_confirmation(service: Service, name: str) -> None:
    ids = submit_waiting(service, name, 12)
    result = service.run("request", "cancel", "--status", "queued", "--metadata", f"list={name}", *REASON, stdin="y\n")
    assert result.exit_code == 0, result.output
    assert [row[0] for row in parse_rows(result.stdout)] == ["id", *ids[:10]]
    assert "and 2 more" in result.stderr
    assert "cancel: 12 requests?" in result.stderr
    assert result.stderr.endswith("cancel: 12 requests\n")
    assert set(list_statuses(service, name).values()) == {"cancelled"}
    assert service.json("request", "show", ids[0])["actions"][0]["reason"] == "sent by mistake"


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_declined_confirmation_changes_nothing(service: Service, name: str, answer: str) -> None:
    submit_waiting(service, name, 1)
    result = service.run("request", "cancel", "--metadata", f"list={name}", stdin=answer)
    assert result.exit_code == 1
    assert set(list_statuses(service, name).values()) == {"queued"}


def test_dry_run_shows_what_matches_and_changes_nothing(service: Service, name: str) -> None:
    [request] = submit_waiting(service, name, 1)
    output = service.ok("request", "send-now", "--metadata", f"list={name}", "--dry-run")
    assert [row[0] for row in parse_rows(output)] == ["id", request]
    document = service.json("request", "send-now", "--metadata", f"list={name}", "--dry-run")
    assert (document["count"], document["applied"], document["action"]) == (1, 0, "send-now")
    assert list_statuses(service, name) == {request: "queued"}


def test_bulk_action_as_json_is_the_document_of_the_result(service: Service, name: str) -> None:
    submit_waiting(service, name, 3)
    filters = ("--metadata", f"list={name}", "--provider", "acme", "--operation", "send", "--created-from", "1h")
    document = service.json("request", "cancel", *filters, "--yes")
    assert [document[field] for field in ("count", "applied", "skipped", "remaining")] == [3, 3, 0, 0]
    document = service.json("request", "retry", *filters, "--status", "cancelled", "--yes", *REASON)
    assert (document["action"], document["applied"]) == ("retry", 3)
    assert service.json("request", "cancel", *filters, "--created-to", "1h", "--yes")["count"] == 0
    assert service.json("request", "cancel", *filters, "--account", "north", "--yes")["count"] == 0


def test_nothing_that_matches_is_said(service: Service, name: str) -> None:
    result = service.run("request", "cancel", "--metadata", f"list={name}")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no requests match" in result.stderr


def test_unknown_requests_are_resolved_in_bulk(service: Service, name: str) -> None:
    service.scene.script(name, DROP, DROP)
    ids = [service.submit(name, "--metadata", f"list={name}") for _ in range(2)]
    wait_for(lambda: set(list_statuses(service, name).values()) == {"unknown"})
    command = ("request", "resolve", "--metadata", f"list={name}", "--reason", "not there", "--yes", "--status")
    assert "completed" in service.fails(*command, "accepted")
    assert "Use it with an ID" in service.fails(*command, "accepted", "--reference", "a", code=2)
    service.ok(*command, "rejected")
    assert list_statuses(service, name) == dict.fromkeys(ids, "rejected")


def test_several_ids_are_acted_on_one_by_one(service: Service, name: str) -> None:
    first, second = submit_waiting(service, name, 2)
    service.ok("request", "cancel", first)
    result = service.run("request", "cancel", first, second)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{first}: ")
    assert [row[:2] for row in parse_rows(result.stdout)[1:]] == [[second, "cancelled"]]
    service.scene.script(name, Reply(204), Reply(204))
    document = service.json("request", "retry", first, second)
    assert [item["status"] for item in document["items"]] == ["queued", "queued"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("018f0000-0000-7000-8000-000000000000", "--provider", "acme"),
        ("018f0000-0000-7000-8000-000000000000", "--dry-run"),
        ("--status", "queued"),
    ],
    ids=["nothing selected", "id and option", "id and dry run", "status of another action"],
)
def test_unclear_selection_is_a_usage_error(service: Service, arguments: tuple[str, ...]) -> None:
    service.fails("request", "retry", *arguments, code=2)


def test_call_is_repeated_until_nothing_remains(stub: Provider, command: CommandLine) -> None:
    progress = {"action": "cancel", "token": JOB_ID, "count": 7, "applied": 0, "skipped": 0, "sample": []}
    stub.script(
        "bulk",
        build_reply({**progress, "remaining": 7}),
        build_reply({**progress, "remaining": 4, "applied": 3}),
        DROP,
        build_reply({**progress, "remaining": 0, "applied": 6, "skipped": 1}),
    )
    result = command.run("request", "cancel", "--provider", "acme", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("cancel: 6 requests, 1 skipped because their status has changed\n")
    calls = [json.loads(received.body) for received in stub.find_received("bulk")]
    assert [call.get("token") for call in calls] == [None, JOB_ID, JOB_ID, JOB_ID]
    assert [call.get("dry_run") for call in calls] == [True, None, None, None]
