"""The commands over HTTP as an operator meets them, against a real web process, worker and provider."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.jobs import derive_job_id
from receiver.store.scratch import scratch_database
from tests.command_line import CommandLine
from tests.factories import SECRET
from tests.http import says, signed
from tests.processes import Web, assert_ends_well, running_web, running_worker, wait_for
from tests.provider import DROP, Reply, items, listening, state, taken
from tests.scene import Scene, set_scene

POLLED = "poll = { first_after = 3600, max_interval = 3600, give_up_after = 86400 }"
NOWHERE = "018f0000-0000-7000-8000-000000000000"
SOMEDAY = "2126-01-01T00:00:00Z"
ENVIRON = {
    "RECEIVER_RATE_LIMIT": "100000",
    "RECEIVER_NOTIFY_HOSTS": "shop.example",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}


@dataclass(frozen=True)
class Service(CommandLine):
    """A service with its provider, at the command line."""

    scene: Scene = field(kw_only=True)
    web: Web = field(kw_only=True)

    def submitted(self, name: str, *options: object, via: str = "acme") -> str:
        """Submit a request; give its id."""
        return str(self.json("request", "submit", via, "send", "--payload", payload(name), *options)["id"])

    def accepted(self, name: str) -> str:
        """Have a request accepted; give the id of its only job."""
        self.scene.script(name, taken())
        request = self.submitted(name)
        wait_for(lambda: self.json("request", "show", request)["jobs"])
        return str(derive_job_id("acme", f"{name}-0"))

    def call_back(self, name: str, said: str = "DELIVERED") -> None:
        assert self.web.call_back(says(f"{name}-0", said), "acme").status == 200


@pytest.fixture(scope="module")
def service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("commands")
    with (
        scratch_database(server, template=template) as dsn,
        listening() as provider,
        set_scene(dsn, provider) as scene,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        config = scene.declared("acme", POLLED) + scene.declared("other", POLLED)
        with (
            running_web(directory, dsn, config, listener, **ENVIRON) as web,
            running_worker(directory, dsn, config) as worker,
        ):
            yield Service(f"http://{web.host}:{web.port}", scene=scene, web=web)
            assert_ends_well(worker)
            assert_ends_well(web)


@pytest.fixture
def name() -> str:
    return f"m-{uuid4().hex}"


def payload(name: str, **more: Any) -> str:
    return json.dumps({"client_reference": name, "to": ["2348030000000"], "text": "hello", **more})


def later(name: str, **more: Any) -> str:
    """A line of a file of requests; they are not sent during the test."""
    submission = {"provider": "acme", "operation": "send", "payload": json.loads(payload(name))}
    return json.dumps({**submission, "send_after": SOMEDAY, **more})


def rows(table: str) -> list[list[str]]:
    """Give the cells of a table's rows; two spaces or more are between them."""
    return [re.split(r"\s{2,}", line) for line in table.splitlines()]


def listed(service: Service, name: str, *options: object) -> Sequence[Any]:
    found: Sequence[Any] = service.json("request", "list", "--metadata", f"list={name}", *options)["items"]
    return found


def test_one_command_tells_what_happened_to_a_message(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.call_back(name, "SENT")
    service.call_back(name)
    told = service.ok("job", "show", "--reference", f"{name}-0")
    assert told == service.ok("job", "show", job)
    assert ["status", "succeeded"] in rows(told)
    timeline = [row[1:5] for row in rows(told.partition("events\n")[2].partition("callbacks\n")[0]) if len(row) > 4]
    assert timeline == [
        ["source", "status", "effect", "provider said"],
        ["response", "accepted", "applied", "ACK / 1801"],
        ["callback", "in_progress", "applied", "SENT"],
        ["callback", "succeeded", "applied", "DELIVERED"],
    ]
    for event in service.json("job", "show", job)["events"][1:]:
        assert event["callback_id"] in told


def test_a_request_is_submitted_with_who_is_to_be_told(service: Service, name: str) -> None:
    url = "https://shop.example/told"
    request = service.submitted(name, "--notify-url", url, "--send-after", SOMEDAY)
    assert ["told at the end", url] in rows(service.ok("request", "show", request))
    refused = service.fails(
        "request", "submit", "acme", "send", "--payload", payload(name), "--notify-url", "https://a.b/"
    )
    assert "notify_url: The host a.b is not allowed. Add it to RECEIVER_NOTIFY_HOSTS." in refused


def test_an_unfinished_job_is_told_with_what_can_be_done(service: Service, name: str) -> None:
    job = service.accepted(name)
    assert f"receiver job poll {job}" in service.ok("job", "show", job)


def test_a_reference_that_nobody_knows_or_several_do_is_said_so(service: Service, name: str) -> None:
    assert "no job has this reference" in service.fails("job", "show", "--reference", name)
    for provider in ("acme", "other"):
        assert service.web.call_back(says(name), provider).status == 200
    assert "acme, other" in service.fails("job", "show", "--reference", name)
    assert service.json("job", "show", "--reference", name, "--provider", "other")["provider"] == "other"


def test_a_payload_comes_from_a_file_or_stdin_as_well(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text(payload(name), encoding="utf-8-sig")
    submit = ("request", "submit", "acme", "send", "--send-after", SOMEDAY, "--payload")
    for source, given in ((f"@{file}", None), ("-", payload(name))):
        assert service.json(*submit, source, given=given)["payload"] == json.loads(payload(name))


@pytest.mark.parametrize("given", ["{", "[]", "7", "@/nowhere/at all", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 9999])
def test_a_payload_that_is_no_object_is_a_mistake_of_usage(service: Service, given: str) -> None:
    assert "--payload" in service.fails("request", "submit", "acme", "send", "--payload", given, code=2)


def test_times_are_given_as_they_are_or_from_now_on(service: Service, name: str) -> None:
    request = service.submitted(name, "--send-after", "2126-01-01T01:00:00+01:00", "--deadline", "2126-01-02T00:00:00Z")
    shown = service.json("request", "show", request)
    assert datetime.fromisoformat(shown["due_at"]) == datetime.fromisoformat(SOMEDAY)
    soon = service.json("request", "submit", "acme", "send", "--payload", payload(name), "--send-after", "2h")
    assert abs(datetime.fromisoformat(soon["due_at"]) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize("time", ["tomorrow", "2126-01-01T00:00:00", "999999w", "0001-01-01T00:00:00+14:00", "-2h"])
def test_a_time_without_meaning_is_a_mistake_of_usage(service: Service, time: str) -> None:
    assert "--send-after" in service.fails("request", "submit", "acme", "send", f"--send-after={time}", code=2)


def test_a_request_is_found_by_its_metadata(service: Service, name: str) -> None:
    given = f"a&b={name}=%2B é"
    request = service.submitted(name, "--metadata", f"order={given}", "--metadata", "k=v", "--send-after", SOMEDAY)
    service.submitted(name, "--metadata", "k=v", "--send-after", SOMEDAY)
    found = service.json("request", "list", "--metadata", f"order={given}", "--metadata", "k=v", "--status", "queued")
    assert [item["id"] for item in found["items"]] == [request]
    assert found["items"][0]["metadata"] == {"order": given, "k": "v"}
    ago = ("--created-from", "1m", "--created-to", SOMEDAY, "--provider", "acme", "--operation", "send")
    assert service.json("request", "list", "--metadata", f"order={given}", *ago) == found
    assert (
        service.run("request", "list", "--metadata", f"order={given}", "--created-to", "1h").stderr == "nothing found\n"
    )


def test_with_an_idempotency_key_a_request_is_taken_once(service: Service, name: str) -> None:
    submit = ("--send-after", SOMEDAY, "--idempotency-key", f"key-{name}")
    first = service.submitted(name, *submit)
    assert service.submitted(name, *submit) == first
    told = service.fails("request", "submit", "acme", "send", "--payload", payload(f"{name}x"), *submit)
    assert told.startswith("error: ")


def test_every_fault_of_a_request_is_told_with_its_field(service: Service, name: str) -> None:
    told = service.fails("request", "submit", "acme", "send", "--payload", payload(name, to=["1", 5], text=None))
    assert re.search(r"^payload\.to\.1: ", told, re.MULTILINE)
    assert re.search(r"^payload\.text: ", told, re.MULTILINE)


def test_a_request_is_cancelled_and_retried_with_reasons(service: Service, name: str) -> None:
    request = service.submitted(name, "--send-after", SOMEDAY)
    assert ["status", "cancelled"] in rows(service.ok("request", "cancel", request, "--reason", "sent by mistake"))
    assert "cancelled" in service.fails("request", "cancel", request)
    service.scene.script(name, Reply(400))
    assert service.json("request", "retry", request, "--reason", "no, it was right")["status"] == "queued"
    told = wait_for(lambda: shown if "rejected" in (shown := service.ok("request", "show", request)) else "")
    assert f"receiver request retry {request}" in told
    assert [row[2:] for row in rows(told.partition("actions\n")[2])] == [
        ["action", "reason"],
        ["cancel", "sent by mistake"],
        ["retry", "no, it was right"],
    ]
    assert [row[3] for row in rows(told.partition("attempts\n")[2].partition("\n\n")[0])] == ["response", "400"]


def test_an_operator_says_what_became_of_an_unknown_request(service: Service, name: str) -> None:
    service.scene.script(name, DROP)
    request = service.submitted(name)
    told = wait_for(lambda: shown if "unknown" in (shown := service.ok("request", "show", request)) else "")
    assert f"receiver request resolve {request} --status accepted" in told
    word = ("request", "resolve", request, "--reason", "seen in their console", "--status")
    service.fails(*word, "unknown", code=2)
    assert "references: " in service.fails(*word, "accepted")
    references = [f"{name}-a", f"{name}-b"]
    for reference in references:
        service.scene.script(reference, state("DELIVERED"))
    told = service.ok(*word, "accepted", *(part for one in references for part in ("--reference", one)))
    assert ["status", "accepted"] in rows(told)
    assert "resolve" in told.partition("actions\n")[2]
    jobs = service.json("request", "show", request)["jobs"]
    assert sorted(job["reference"] for job in jobs) == references
    for job in jobs:
        assert service.json("job", "wait", job["id"])["items"][0]["status"] == "succeeded"
    assert "accepted" in service.fails(*word, "completed")


def test_a_file_of_many_requests_is_taken_in_batches_and_once(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(later(f"{name}-{number}") for number in range(1_203)) + "\n\n")
    taken = service.json("request", "submit-many", file)["items"]
    assert [item["payload"]["client_reference"] for item in taken] == [f"{name}-{number}" for number in range(1_203)]
    again = service.run("request", "submit-many", file, "--json")
    assert [item["id"] for item in json.loads(again.stdout)["items"]] == [item["id"] for item in taken]
    assert "1203 of 1203 requests taken" in again.stderr


def test_another_idempotency_key_sends_a_file_once_more(service: Service, name: str) -> None:
    array = f" [{later(name)}, {later(name)}]"
    ids = [
        [item["id"] for item in service.json("request", "submit-many", "-", *key, given=array)["items"]]
        for key in ((), (), ("--idempotency-key", name), ("--idempotency-key", name))
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert len({*ids[0], *ids[2]}) == 4


def test_large_requests_go_in_smaller_batches(service: Service, name: str) -> None:
    lines = "\n".join(later(name, metadata={"text": "é" * 100_000}) for _ in range(6))
    assert len(service.json("request", "submit-many", "-", given=lines)["items"]) == 6


def test_all_faults_of_a_file_are_told_before_anything_is_sent(service: Service, name: str) -> None:
    good = later(name, metadata={"list": name})
    lines = [good, "{", "7", good, '{"a": 1, "a": 2}']
    told = service.fails("request", "submit-many", "-", given="\n".join(lines), code=2)
    places = [line.partition(":")[0] for line in told.splitlines() if line.startswith("line")]
    assert places == ["line 2", "line 3", "line 5"]
    assert "item 2: " in service.fails("request", "submit-many", "-", given=f"[{good}, 7]", code=2)
    assert "holds nothing" in service.fails("request", "submit-many", "-", given="\n", code=2)
    assert listed(service, name) == []


def test_a_batch_that_is_refused_is_told_by_its_lines_and_those_before_it_stay(service: Service, name: str) -> None:
    lines = [later(f"{name}-{number}") for number in range(1_001)]
    wrong = [*lines, later(name, metadata=7), later(name, surprise=1)]
    result = service.run("request", "submit-many", "-", "--json", given="\n".join(wrong))
    assert result.exit_code == 1
    assert "line 1002: metadata: " in result.stderr
    assert "line 1003: surprise: " in result.stderr
    before = [item["id"] for item in json.loads(result.stdout)["items"]]
    assert len(before) == 1_000
    mended = service.json("request", "submit-many", "-", given="\n".join(lines))["items"]
    assert [item["id"] for item in mended[:1_000]] == before
    assert len(mended) == 1_001


def test_a_list_goes_on_where_it_ended_or_to_its_end(service: Service, name: str) -> None:
    lines = "\n".join(later(name, metadata={"list": name}) for _ in range(501))
    taken = [item["id"] for item in service.json("request", "submit-many", "-", given=lines)["items"]]
    page = service.run("request", "list", "--metadata", f"list={name}", "--limit", 2)
    [cursor] = re.findall(r"--cursor (\S+)", page.stderr)
    shown = [row[0] for row in rows(page.stdout)][1:]
    poll_policy = listed(service, name, "--limit", 2, "--cursor", cursor)
    everything = listed(service, name, "--all")
    assert {item["id"] for item in everything} == set(taken)
    assert [item["id"] for item in everything[:4]] == shown + [item["id"] for item in poll_policy]
    table = service.ok("request", "list", "--metadata", f"list={name}", "--all").splitlines()
    assert table[0].split()[0] == "id"
    assert [line.split()[0] for line in table[1:]] == [item["id"] for item in everything]
    assert "--limit" in service.fails("request", "list", "--all", "--limit", 1, code=2)


def test_waiting_ends_with_the_last_final_word(service: Service, name: str) -> None:
    jobs = [service.accepted(f"{name}-{number}") for number in range(2)]
    waited = service.run("job", "wait", *jobs, "--timeout", "0.2")
    assert waited.exit_code == 1
    assert "0 of 2 succeeded" in waited.stderr
    service.call_back(f"{name}-0")
    service.call_back(f"{name}-1")
    assert [item["status"] for item in service.json("job", "wait", *jobs)["items"]] == ["succeeded", "succeeded"]


def test_waiting_for_a_job_that_fails_fails(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.call_back(name, "UNDELIVERED")
    waited = service.run("job", "wait", job)
    assert waited.exit_code == 1
    assert f"receiver job show {job}" in waited.stderr


def test_waiting_for_a_request_waits_for_all_its_jobs(service: Service, name: str) -> None:
    service.scene.script(name, items((1800, "-0"), (1800, "-1")))
    request = service.submitted(name)
    assert len(service.json("job", "wait", "--request", request)["items"]) == 2


def test_waiting_for_a_request_that_was_rejected_fails(service: Service, name: str) -> None:
    service.scene.script(name, Reply(400))
    request = service.submitted(name)
    told = service.fails("job", "wait", "--request", request)
    assert "the request is rejected" in told


def test_waiting_needs_something_to_wait_for(service: Service) -> None:
    service.fails("job", "wait", code=2)
    service.fails("job", "wait", NOWHERE, "--request", NOWHERE, code=2)


def test_a_provider_is_asked_at_once(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.scene.script(f"{name}-0", state("DELIVERED"))
    polled = service.run("job", "poll", job, "--reason", "it is late")
    assert polled.exit_code == 0
    assert f"receiver job wait {job}" in polled.stderr
    assert service.json("job", "wait", job)["items"][0]["status"] == "succeeded"
    assert "already" in service.fails("job", "poll", job)


def test_an_operator_says_how_a_job_ended(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.fails("job", "resolve", job, "--status", "succeeded", code=2)
    service.fails("job", "resolve", job, "--status", "accepted", "--reason", "no", code=2)
    told = service.ok("job", "resolve", job, "--status", "failed", "--reason", "seen at the provider")
    assert any(row[1:] == ["operator", "failed", "applied", "seen at the provider", "bootstrap"] for row in rows(told))


def test_jobs_are_listed_by_what_is_known_of_them(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.call_back(name)
    service.call_back(name, "UNDELIVERED")
    shown = service.json("job", "show", job)
    filters = ["--status", "succeeded", "--provider", "acme", "--reference", f"{name}-0", "--disputed", "--matched"]
    filters += ["--request", shown["request_id"], "--accepted-from", "5m", "--finished-from", "5m"]
    filters += ["--accepted-to", SOMEDAY, "--finished-to", SOMEDAY]
    [found] = service.json("job", "list", *filters)["items"]
    assert found["id"] == job
    assert "disputed" in service.ok("job", "list", *filters)
    assert "job resolve" in service.ok("job", "show", job)
    for other in ("--not-disputed", "--unmatched", "--status=failed", "--accepted-to=1h"):
        assert service.json("job", "list", *filters, other)["items"] == []


def test_a_callback_is_listed_shown_and_read_again(service: Service, name: str) -> None:
    job = service.accepted(name)
    service.call_back(name)
    callback = service.json("job", "show", job)["events"][-1]["callback_id"]
    filters = ("--provider", "acme", "--verdict", "accepted", "--received-from", "5m", "--received-to", SOMEDAY)
    assert callback in service.ok("callback", "list", *filters)
    shown = service.ok("callback", "show", callback)
    assert says(f"{name}-0").decode() in shown
    assert job in shown
    assert "accepted" in service.ok("callback", "replay", callback, "--reason", "to be sure")
    assert "to be sure" in service.ok("callback", "show", callback)


def test_a_callback_that_is_still_refused_is_not_read_again(service: Service, name: str) -> None:
    body = says(name)
    forged = service.web.call("POST", "/callbacks/acme", body, signed(body, secret="whsec_c29tZWJvZHkgZWxzZQ=="))
    assert forged.status == 401
    refused = ("callback", "list", "--verdict", "refused")
    [callback, *_] = wait_for(lambda: service.json(*refused)["items"])
    assert "still refused" in service.fails("callback", "replay", callback["id"])


def test_providers_are_paused_with_a_reason_and_resumed(service: Service) -> None:
    assert "their outage" in service.ok("provider", "pause", "other", "--reason", "their outage")
    table = {row[0]: row[1] for row in rows(service.ok("provider", "list"))}
    assert (table["acme"], table["other"]) == ("no", "yes")
    assert "https://receiver.example/callbacks/other" in service.ok("provider", "list")
    assert service.json("provider", "resume", "other")["paused"] is False


def test_providers_are_listed_with_what_needs_somebody(service: Service, name: str) -> None:
    before = service.json("provider", "list")["items"]
    service.call_back(f"{name}-nobody-asked")
    needed = next(item["attention"] for item in service.json("provider", "list")["items"] if item["name"] == "acme")
    assert needed["unmatched"] == next(item["attention"]["unmatched"] for item in before if item["name"] == "acme") + 1
    heads, *table = rows(service.ok("provider", "list"))
    [cell] = [row[heads.index("attention")] for row in table if row[0] == "acme"]
    assert f"{needed['unmatched']} unmatched" in cell


def test_arguments_lead_to_no_other_path(service: Service) -> None:
    for name in ("other/pause?", "other/pause#", "../providers/other", "other%2fpause", "é"):
        assert service.run("provider", "resume", name).exit_code == 1
        assert service.run("provider", "pause", name).exit_code == 1
    assert not any(item["paused"] for item in service.json("provider", "list")["items"])


def test_a_key_is_printed_alone_and_once(service: Service, name: str) -> None:
    made = service.run(
        *("key", "create", "--name", name, "--scope", "submit,read", "--provider", "acme"),
        *("--per-minute", 1000, "--expires", "90d"),
    )
    assert made.exit_code == 0
    key = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"\S+", key)
    assert "only once" in made.stderr
    theirs = service.with_key(key)
    assert [item["name"] for item in theirs.json("provider", "list")["items"]] == ["acme"]
    assert "may not" in theirs.fails("provider", "pause", "acme")
    [found] = [item for item in service.json("key", "list", "--all")["items"] if item["name"] == name]
    assert (found["scopes"], found["providers"], found["per_minute"]) == (["read", "submit"], ["acme"], 1000)
    assert timedelta(days=89) < datetime.fromisoformat(found["expires_at"]) - datetime.now(UTC) < timedelta(days=91)
    assert key not in service.ok("key", "list", "--all")
    assert found["id"] in service.ok("key", "revoke", found["id"], "--reason", "lost")
    wait_for(lambda: theirs.run("provider", "list").exit_code == 1)
    assert "RECEIVER_KEY" in theirs.fails("provider", "list")


def test_a_scope_that_does_not_exist_is_a_mistake_of_usage(service: Service) -> None:
    assert "submit, read, admin" in service.fails("key", "create", "--name", "x", "--scope", "submit,write", code=2)


def test_headers_and_bodies_of_callbacks_are_for_admins(service: Service, name: str) -> None:
    service.accepted(name)
    service.call_back(name)
    key = service.ok("key", "create", "--name", name, "--scope", "read").strip()
    callback = service.json("callback", "list", "--limit", 1)["items"][0]["id"]
    shown = service.with_key(key).run("callback", "show", callback)
    assert "admin" in shown.stderr
    assert "webhook-signature" not in shown.stdout


@pytest.mark.parametrize(
    "command", [("job", "show"), ("request", "show"), ("callback", "show"), ("key", "revoke"), ("job", "wait")]
)
def test_an_id_that_leads_nowhere_fails_and_one_that_is_none_is_a_mistake(
    service: Service, command: tuple[str, ...]
) -> None:
    assert "has this id" in service.fails(*command, NOWHERE)
    service.fails(*command, "7", code=2)
