"""The commands that call the API, against a real web process, worker and provider."""

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

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import derive_job_id
from tests.support.command_line import CommandLine
from tests.support.factories import SECRET
from tests.support.http import build_report, sign_callback
from tests.support.processes import Web, assert_ends_well, running_web, running_worker, wait_for
from tests.support.provider import DROP, Reply, accept_request, items, listening, state
from tests.support.scene import Scene, open_scene

POLLED = "poll = { first_after = 3600, max_interval = 3600, give_up_after = 86400 }"
UNKNOWN_ID = "018f0000-0000-7000-8000-000000000000"
FAR_FUTURE = "2126-01-01T00:00:00Z"
ENVIRON = {
    "RECEIVER_RATE_LIMIT": "100000",
    "RECEIVER_NOTIFY_HOSTS": "shop.example",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}


@dataclass(frozen=True)
class Service(CommandLine):
    """A command line for a service with a provider."""

    scene: Scene = field(kw_only=True)
    web: Web = field(kw_only=True)

    def submit(self, name: str, *options: object, via: str = "acme") -> str:
        """Submit a request; return its id."""
        return str(self.json("request", "submit", via, "send", "--payload", payload(name), *options)["id"])

    def create_accepted_job(self, name: str) -> str:
        """Submit a request that the provider accepts; return the id of its only job."""
        self.scene.script(name, accept_request())
        request = self.submit(name)
        wait_for(lambda: self.json("request", "show", request)["jobs"])
        return str(derive_job_id("acme", f"{name}-0"))

    def call_back(self, name: str, reported: str = "DELIVERED") -> None:
        assert self.web.call_back(build_report(f"{name}-0", reported), "acme").status == 200


@pytest.fixture(scope="module")
def service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("commands")
    with (
        scratch_database(server, template=template) as dsn,
        listening() as provider,
        open_scene(dsn, provider) as scene,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        config = scene.build_provider_toml("acme", POLLED) + scene.build_provider_toml("other", POLLED)
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


def build_submission_line(name: str, **more: Any) -> str:
    """Return a line of a file of requests, which are not sent during the test."""
    submission = {"provider": "acme", "operation": "send", "payload": json.loads(payload(name))}
    return json.dumps({**submission, "send_after": FAR_FUTURE, **more})


def parse_rows(table: str) -> list[list[str]]:
    """Return the cells of a table's rows, which are separated by two spaces or more."""
    return [re.split(r"\s{2,}", line) for line in table.splitlines()]


def list_requests(service: Service, name: str, *options: object) -> Sequence[Any]:
    items: Sequence[Any] = service.json("request", "list", "--metadata", f"list={name}", *options)["items"]
    return items


def test_job_show_prints_the_history_of_a_message(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name, "SENT")
    service.call_back(name)
    output = service.ok("job", "show", "--reference", f"{name}-0")
    assert output == service.ok("job", "show", job)
    assert ["status", "succeeded"] in parse_rows(output)
    timeline = [
        row[1:5] for row in parse_rows(output.partition("events\n")[2].partition("callbacks\n")[0]) if len(row) > 4
    ]
    assert timeline == [
        ["source", "status", "effect", "provider status"],
        ["response", "accepted", "applied", "ACK / 1801"],
        ["callback", "in_progress", "applied", "SENT"],
        ["callback", "succeeded", "applied", "DELIVERED"],
    ]
    for event in service.json("job", "show", job)["events"][1:]:
        assert event["callback_id"] in output


def test_request_submit_accepts_a_notify_url(service: Service, name: str) -> None:
    url = "https://shop.example/notify"
    request = service.submit(name, "--notify-url", url, "--send-after", FAR_FUTURE)
    assert ["notify URL", url] in parse_rows(service.ok("request", "show", request))
    refused = service.fails(
        "request", "submit", "acme", "send", "--payload", payload(name), "--notify-url", "https://a.b/"
    )
    assert "notify_url: The host a.b is not allowed. Add it to RECEIVER_NOTIFY_HOSTS." in refused


def test_job_show_advises_on_an_open_job(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    assert f"receiver job poll {job}" in service.ok("job", "show", job)


def test_job_show_reports_unknown_and_ambiguous_references(service: Service, name: str) -> None:
    assert "No job has this reference" in service.fails("job", "show", "--reference", name)
    for provider in ("acme", "other"):
        assert service.web.call_back(build_report(name), provider).status == 200
    assert "acme, other" in service.fails("job", "show", "--reference", name)
    assert service.json("job", "show", "--reference", name, "--provider", "other")["provider"] == "other"


def test_payload_may_come_from_a_file_or_stdin(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text(payload(name), encoding="utf-8-sig")
    submit = ("request", "submit", "acme", "send", "--send-after", FAR_FUTURE, "--payload")
    for source, stdin in ((f"@{file}", None), ("-", payload(name))):
        assert service.json(*submit, source, stdin=stdin)["payload"] == json.loads(payload(name))


@pytest.mark.parametrize("text", ["{", "[]", "7", "@/nowhere/at all", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 9999])
def test_invalid_payload_is_a_usage_error(service: Service, text: str) -> None:
    assert "--payload" in service.fails("request", "submit", "acme", "send", "--payload", text, code=2)


def test_times_may_be_absolute_or_spans(service: Service, name: str) -> None:
    request = service.submit(name, "--send-after", "2126-01-01T01:00:00+01:00", "--deadline", "2126-01-02T00:00:00Z")
    shown = service.json("request", "show", request)
    assert datetime.fromisoformat(shown["due_at"]) == datetime.fromisoformat(FAR_FUTURE)
    soon = service.json("request", "submit", "acme", "send", "--payload", payload(name), "--send-after", "2h")
    assert abs(datetime.fromisoformat(soon["due_at"]) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize("time", ["tomorrow", "2126-01-01T00:00:00", "999999w", "0001-01-01T00:00:00+14:00", "-2h"])
def test_invalid_time_is_a_usage_error(service: Service, time: str) -> None:
    assert "--send-after" in service.fails("request", "submit", "acme", "send", f"--send-after={time}", code=2)


def test_request_list_filters_by_metadata(service: Service, name: str) -> None:
    order = f"a&b={name}=%2B é"
    request = service.submit(name, "--metadata", f"order={order}", "--metadata", "k=v", "--send-after", FAR_FUTURE)
    service.submit(name, "--metadata", "k=v", "--send-after", FAR_FUTURE)
    document = service.json(
        "request", "list", "--metadata", f"order={order}", "--metadata", "k=v", "--status", "queued"
    )
    assert [item["id"] for item in document["items"]] == [request]
    assert document["items"][0]["metadata"] == {"order": order, "k": "v"}
    filters = ("--created-from", "1m", "--created-to", FAR_FUTURE, "--provider", "acme", "--operation", "send")
    assert service.json("request", "list", "--metadata", f"order={order}", *filters) == document
    assert (
        service.run("request", "list", "--metadata", f"order={order}", "--created-to", "1h").stderr
        == "no items found\n"
    )


def test_idempotency_key_prevents_a_second_request(service: Service, name: str) -> None:
    submit = ("--send-after", FAR_FUTURE, "--idempotency-key", f"key-{name}")
    first = service.submit(name, *submit)
    assert service.submit(name, *submit) == first
    output = service.fails("request", "submit", "acme", "send", "--payload", payload(f"{name}x"), *submit)
    assert output.startswith("error: ")


def test_request_submit_prints_all_errors_with_their_fields(service: Service, name: str) -> None:
    output = service.fails("request", "submit", "acme", "send", "--payload", payload(name, to=["1", 5], text=None))
    assert re.search(r"^payload\.to\.1: ", output, re.MULTILINE)
    assert re.search(r"^payload\.text: ", output, re.MULTILINE)


def test_request_is_cancelled_and_retried_with_reasons(service: Service, name: str) -> None:
    request = service.submit(name, "--send-after", FAR_FUTURE)
    assert ["status", "cancelled"] in parse_rows(
        service.ok("request", "cancel", request, "--reason", "sent by mistake")
    )
    assert "cancelled" in service.fails("request", "cancel", request)
    service.scene.script(name, Reply(400))
    assert service.json("request", "retry", request, "--reason", "no, it was right")["status"] == "queued"
    output = wait_for(lambda: text if "rejected" in (text := service.ok("request", "show", request)) else "")
    assert f"receiver request retry {request}" in output
    assert [row[2:] for row in parse_rows(output.partition("actions\n")[2])] == [
        ["action", "reason"],
        ["cancel", "sent by mistake"],
        ["retry", "no, it was right"],
    ]
    assert [row[3] for row in parse_rows(output.partition("attempts\n")[2].partition("\n\n")[0])] == ["response", "400"]


def test_request_resolve_settles_an_unknown_request(service: Service, name: str) -> None:
    service.scene.script(name, DROP)
    request = service.submit(name)
    output = wait_for(lambda: text if "unknown" in (text := service.ok("request", "show", request)) else "")
    assert f"receiver request resolve {request} --status accepted" in output
    resolve = ("request", "resolve", request, "--reason", "seen in their console", "--status")
    service.fails(*resolve, "unknown", code=2)
    assert "references: " in service.fails(*resolve, "accepted")
    references = [f"{name}-a", f"{name}-b"]
    for reference in references:
        service.scene.script(reference, state("DELIVERED"))
    output = service.ok(
        *resolve, "accepted", *(part for reference in references for part in ("--reference", reference))
    )
    assert ["status", "accepted"] in parse_rows(output)
    assert "resolve" in output.partition("actions\n")[2]
    jobs = service.json("request", "show", request)["jobs"]
    assert sorted(job["reference"] for job in jobs) == references
    for job in jobs:
        assert service.json("job", "wait", job["id"])["items"][0]["status"] == "succeeded"
    assert "accepted" in service.fails(*resolve, "completed")


def test_submit_many_submits_batches_once(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(build_submission_line(f"{name}-{number}") for number in range(1_203)) + "\n\n")
    submitted_items = service.json("request", "submit-many", file)["items"]
    assert [item["payload"]["client_reference"] for item in submitted_items] == [
        f"{name}-{number}" for number in range(1_203)
    ]
    again = service.run("request", "submit-many", file, "--json")
    assert [item["id"] for item in json.loads(again.stdout)["items"]] == [item["id"] for item in submitted_items]
    assert "1203 of 1203 requests submitted" in again.stderr


def test_submit_many_with_a_new_key_submits_again(service: Service, name: str) -> None:
    array = f" [{build_submission_line(name)}, {build_submission_line(name)}]"
    ids = [
        [item["id"] for item in service.json("request", "submit-many", "-", *key, stdin=array)["items"]]
        for key in ((), (), ("--idempotency-key", name), ("--idempotency-key", name))
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert len({*ids[0], *ids[2]}) == 4


def test_submit_many_limits_the_size_of_batches(service: Service, name: str) -> None:
    lines = "\n".join(build_submission_line(name, metadata={"text": "é" * 100_000}) for _ in range(6))
    assert len(service.json("request", "submit-many", "-", stdin=lines)["items"]) == 6


def test_submit_many_reports_all_faults_before_submitting(service: Service, name: str) -> None:
    good = build_submission_line(name, metadata={"list": name})
    lines = [good, "{", "7", good, '{"a": 1, "a": 2}']
    output = service.fails("request", "submit-many", "-", stdin="\n".join(lines), code=2)
    places = [line.partition(":")[0] for line in output.splitlines() if line.startswith("line")]
    assert places == ["line 2", "line 3", "line 5"]
    assert "item 2: " in service.fails("request", "submit-many", "-", stdin=f"[{good}, 7]", code=2)
    assert "Contains no requests" in service.fails("request", "submit-many", "-", stdin="\n", code=2)
    assert list_requests(service, name) == []


def test_submit_many_reports_lines_of_a_refused_batch(service: Service, name: str) -> None:
    lines = [build_submission_line(f"{name}-{number}") for number in range(1_001)]
    wrong = [*lines, build_submission_line(name, metadata=7), build_submission_line(name, surprise=1)]
    result = service.run("request", "submit-many", "-", "--json", stdin="\n".join(wrong))
    assert result.exit_code == 1
    assert "line 1002: metadata: " in result.stderr
    assert "line 1003: surprise: " in result.stderr
    before = [item["id"] for item in json.loads(result.stdout)["items"]]
    assert len(before) == 1_000
    fixed = service.json("request", "submit-many", "-", stdin="\n".join(lines))["items"]
    assert [item["id"] for item in fixed[:1_000]] == before
    assert len(fixed) == 1_001


def test_list_continues_at_a_cursor_or_shows_all(service: Service, name: str) -> None:
    lines = "\n".join(build_submission_line(name, metadata={"list": name}) for _ in range(501))
    ids = [item["id"] for item in service.json("request", "submit-many", "-", stdin=lines)["items"]]
    page = service.run("request", "list", "--metadata", f"list={name}", "--limit", 2)
    [cursor] = re.findall(r"--cursor (\S+)", page.stderr)
    shown = [row[0] for row in parse_rows(page.stdout)][1:]
    next_page = list_requests(service, name, "--limit", 2, "--cursor", cursor)
    everything = list_requests(service, name, "--all")
    assert {item["id"] for item in everything} == set(ids)
    assert [item["id"] for item in everything[:4]] == shown + [item["id"] for item in next_page]
    table = service.ok("request", "list", "--metadata", f"list={name}", "--all").splitlines()
    assert table[0].split()[0] == "id"
    assert [line.split()[0] for line in table[1:]] == [item["id"] for item in everything]
    assert "--limit" in service.fails("request", "list", "--all", "--limit", 1, code=2)


def test_job_wait_ends_when_all_jobs_are_final(service: Service, name: str) -> None:
    jobs = [service.create_accepted_job(f"{name}-{number}") for number in range(2)]
    waited = service.run("job", "wait", *jobs, "--timeout", "0.2")
    assert waited.exit_code == 1
    assert "0 of 2 jobs succeeded" in waited.stderr
    service.call_back(f"{name}-0")
    service.call_back(f"{name}-1")
    assert [item["status"] for item in service.json("job", "wait", *jobs)["items"]] == ["succeeded", "succeeded"]


def test_job_wait_exits_1_for_a_failed_job(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name, "UNDELIVERED")
    waited = service.run("job", "wait", job)
    assert waited.exit_code == 1
    assert f"receiver job show {job}" in waited.stderr


def test_job_wait_waits_for_all_jobs_of_a_request(service: Service, name: str) -> None:
    service.scene.script(name, items((1800, "-0"), (1800, "-1")))
    request = service.submit(name)
    assert len(service.json("job", "wait", "--request", request)["items"]) == 2


def test_job_wait_exits_1_for_a_rejected_request(service: Service, name: str) -> None:
    service.scene.script(name, Reply(400))
    request = service.submit(name)
    output = service.fails("job", "wait", "--request", request)
    assert "the request is rejected" in output


def test_job_wait_needs_ids_or_a_request(service: Service) -> None:
    service.fails("job", "wait", code=2)
    service.fails("job", "wait", UNKNOWN_ID, "--request", UNKNOWN_ID, code=2)


def test_job_poll_polls_the_provider(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.scene.script(f"{name}-0", state("DELIVERED"))
    polled = service.run("job", "poll", job, "--reason", "it is late")
    assert polled.exit_code == 0
    assert f"receiver job wait {job}" in polled.stderr
    assert service.json("job", "wait", job)["items"][0]["status"] == "succeeded"
    assert "already" in service.fails("job", "poll", job)


def test_job_resolve_sets_the_final_status(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.fails("job", "resolve", job, "--status", "succeeded", code=2)
    service.fails("job", "resolve", job, "--status", "accepted", "--reason", "no", code=2)
    output = service.ok("job", "resolve", job, "--status", "failed", "--reason", "seen at the provider")
    assert any(
        row[1:] == ["operator", "failed", "applied", "seen at the provider", "bootstrap"] for row in parse_rows(output)
    )


def test_job_list_filters(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name)
    service.call_back(name, "UNDELIVERED")
    shown = service.json("job", "show", job)
    filters = ["--status", "succeeded", "--provider", "acme", "--reference", f"{name}-0", "--disputed", "--matched"]
    filters += ["--request", shown["request_id"], "--accepted-from", "5m", "--finished-from", "5m"]
    filters += ["--accepted-to", FAR_FUTURE, "--finished-to", FAR_FUTURE]
    [listed_job] = service.json("job", "list", *filters)["items"]
    assert listed_job["id"] == job
    assert "disputed" in service.ok("job", "list", *filters)
    assert "job resolve" in service.ok("job", "show", job)
    for other in ("--not-disputed", "--unmatched", "--status=failed", "--accepted-to=1h"):
        assert service.json("job", "list", *filters, other)["items"] == []


def test_callback_is_listed_shown_and_replayed(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name)
    callback = service.json("job", "show", job)["events"][-1]["callback_id"]
    filters = ("--provider", "acme", "--verdict", "accepted", "--received-from", "5m", "--received-to", FAR_FUTURE)
    assert callback in service.ok("callback", "list", *filters)
    shown = service.ok("callback", "show", callback)
    assert build_report(f"{name}-0").decode() in shown
    assert job in shown
    assert "accepted" in service.ok("callback", "replay", callback, "--reason", "to be sure")
    assert "to be sure" in service.ok("callback", "show", callback)


def test_replay_fails_for_a_callback_that_is_still_refused(service: Service, name: str) -> None:
    body = build_report(name)
    forged = service.web.call("POST", "/callbacks/acme", body, sign_callback(body, secret="whsec_c29tZWJvZHkgZWxzZQ=="))
    assert forged.status == 401
    refused = ("callback", "list", "--verdict", "refused")
    [callback, *_] = wait_for(lambda: service.json(*refused)["items"])
    assert "still refused" in service.fails("callback", "replay", callback["id"])


def test_provider_is_paused_with_a_reason_and_resumed(service: Service) -> None:
    assert "their outage" in service.ok("provider", "pause", "other", "--reason", "their outage")
    table = {row[0]: row[1] for row in parse_rows(service.ok("provider", "list"))}
    assert (table["acme"], table["other"]) == ("no", "yes")
    assert "https://receiver.example/callbacks/other" in service.ok("provider", "list")
    assert service.json("provider", "resume", "other")["paused"] is False


def test_provider_list_counts_what_needs_attention(service: Service, name: str) -> None:
    before = service.json("provider", "list")["items"]
    service.call_back(f"{name}-unmatched")
    needed = next(item["attention"] for item in service.json("provider", "list")["items"] if item["name"] == "acme")
    assert needed["unmatched"] == next(item["attention"]["unmatched"] for item in before if item["name"] == "acme") + 1
    headings, *table = parse_rows(service.ok("provider", "list"))
    [cell] = [row[headings.index("attention")] for row in table if row[0] == "acme"]
    assert f"{needed['unmatched']} unmatched" in cell


def test_arguments_are_escaped_in_paths(service: Service) -> None:
    for name in ("other/pause?", "other/pause#", "../providers/other", "other%2fpause", "é"):
        assert service.run("provider", "resume", name).exit_code == 1
        assert service.run("provider", "pause", name).exit_code == 1
    assert not any(item["paused"] for item in service.json("provider", "list")["items"])


def test_key_create_prints_the_key_alone_and_once(service: Service, name: str) -> None:
    created = service.run(
        *("key", "create", "--name", name, "--scope", "submit,read", "--provider", "acme"),
        *("--per-minute", 1000, "--expires", "90d"),
    )
    assert created.exit_code == 0
    key = created.stdout.removesuffix("\n")
    assert re.fullmatch(r"\S+", key)
    assert "only once" in created.stderr
    client = service.with_key(key)
    assert [item["name"] for item in client.json("provider", "list")["items"]] == ["acme"]
    assert "not allowed" in client.fails("provider", "pause", "acme")
    [created_key] = [item for item in service.json("key", "list", "--all")["items"] if item["name"] == name]
    assert (created_key["scopes"], created_key["providers"], created_key["per_minute"]) == (
        ["read", "submit"],
        ["acme"],
        1000,
    )
    assert (
        timedelta(days=89) < datetime.fromisoformat(created_key["expires_at"]) - datetime.now(UTC) < timedelta(days=91)
    )
    assert key not in service.ok("key", "list", "--all")
    assert created_key["id"] in service.ok("key", "revoke", created_key["id"], "--reason", "lost")
    wait_for(lambda: client.run("provider", "list").exit_code == 1)
    assert "RECEIVER_KEY" in client.fails("provider", "list")


def test_unknown_scope_is_a_usage_error(service: Service) -> None:
    assert "submit, read, admin" in service.fails("key", "create", "--name", "x", "--scope", "submit,write", code=2)


def test_callback_show_hides_headers_and_body_without_admin(service: Service, name: str) -> None:
    service.create_accepted_job(name)
    service.call_back(name)
    key = service.ok("key", "create", "--name", name, "--scope", "read").strip()
    callback = service.json("callback", "list", "--limit", 1)["items"][0]["id"]
    shown = service.with_key(key).run("callback", "show", callback)
    assert "admin" in shown.stderr
    assert "webhook-signature" not in shown.stdout


@pytest.mark.parametrize(
    "command", [("job", "show"), ("request", "show"), ("callback", "show"), ("key", "revoke"), ("job", "wait")]
)
def test_unknown_id_fails_and_malformed_id_is_a_usage_error(service: Service, command: tuple[str, ...]) -> None:
    assert "No such" in service.fails(*command, UNKNOWN_ID)
    service.fails(*command, "7", code=2)
