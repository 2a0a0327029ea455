"""The commands guide: its examples are run as they are, against a service with the sandbox provider."""

import hmac
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.audit import FindingKind
from receiver.domain.jobs import derive_job_id
from receiver.store.connections import connect
from receiver.store.requests import NewRequest, submit_requests
from tests.acceptance.commands_reference import COMMAND, update_reference
from tests.acceptance.guides import Block, Service, normalize_output, parse_blocks, parse_table, read_guide, run_sandbox
from tests.support.command_service import parse_rows
from tests.support.http import Json, build_report, sign_callback
from tests.support.processes import wait_for

pytestmark = pytest.mark.slow
GUIDE = read_guide("docs/commands.md")
BLOCKS = parse_blocks(GUIDE)
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ACME_SECRET = "a-secret-of-acme"
CONFIG = f"""
[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:9000"
auth = {{ scheme = "bearer", secret = "env:SANDBOX_API_KEY" }}
signature = {{ scheme = "standard-webhooks", secrets = ["env:SANDBOX_SECRET"] }}
on_ambiguous = "hold"
idempotent = false
retry = {{ attempts = 1 }}
poll = {{ first_after = 1, max_interval = 1, give_up_after = 86400 }}
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9000"
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
signature = {{ scheme = "hmac", header = "X-Acme-Signature", secrets = ["{ACME_SECRET}"] }}
"""
MAILER = """
[providers.mailer]
kind = "declared"
base_url = "http://127.0.0.1:9000"
callback = { reference = "id", status = "state", statuses = { DONE = "succeeded" } }
[providers.mailer.signature]
scheme = "ed25519"
header = "X-Mailer-Signature"
"""
"""A provider with public keys, up to the keys themselves."""
ROTATED = CONFIG.replace('secrets = ["env', f'secrets = ["{NEW_SECRET}", "env')
FIXED = CONFIG.replace('DONE = "succeeded"', 'DONE = "failed", EXPIRED = "failed"')

_tested_headings: set[str] = set()


@dataclass
class Deployment:
    """The service of the guide, which can be restarted with another configuration."""

    service: Service
    running: ExitStack

    def restart(self, config: str) -> None:
        self.running.close()
        self.running.enter_context(self.service.serving(config))

    def submit(self, client_reference: str, **metadata: str) -> str:
        """Submit to the sandbox, whose behavior follows from the number in the reference; return the request's id."""
        payload = {"client_reference": client_reference, "to": ["2348030000000"], "text": "On its way."}
        submission = {"provider": "sandbox", "operation": "send", "payload": payload, "metadata": metadata}
        response = self.service.api.call(
            "POST", "/v1/requests", json.dumps(submission).encode(), {"content-type": "application/json"}
        )
        assert response.status == 202, response
        return str(response.json["id"])

    def wait_for_status(self, request: str, status: str) -> Json:
        """Wait until a request has a status; return the request."""
        return wait_for(lambda: document if (document := self.get("requests", request))["status"] == status else {})

    def wait_for_job(self, request: str) -> str:
        """Wait until a request is accepted; return the id of its only job."""
        [job] = self.wait_for_status(request, "accepted")["jobs"]
        return str(job["id"])

    def get(self, *path: str) -> Json:
        return self.service.api.call("GET", "/".join(("/v1", *path))).json

    def send_refused_callbacks(self, references: Sequence[str]) -> list[str]:
        """Send callbacks that are signed with an unconfigured secret; return their ids."""
        for reference in references:
            body = build_report(reference)
            headers = sign_callback(body, secret=NEW_SECRET)
            assert self.service.api.call("POST", "/callbacks/sandbox", body, headers).status == 401
        return wait_for(lambda: self._list_newest("refused", len(references)))

    def send_acme_callbacks(self, references: Sequence[str], status: str, verdict: str) -> list[str]:
        """Send callbacks of acme; return their ids."""
        for reference in references:
            body = json.dumps({"id": reference, "state": status}).encode()
            proof = hmac.new(ACME_SECRET.encode(), body, "sha256").hexdigest()
            headers = {"content-type": "application/json", "x-acme-signature": proof}
            assert self.service.api.call("POST", "/callbacks/acme", body, headers).status == 200
        return wait_for(lambda: self._list_newest(verdict, len(references)))

    def _list_newest(self, verdict: str, number: int) -> list[str]:
        """Return the ids of the newest callbacks with a verdict; empty if there are fewer than `number`."""
        items = self.service.api.call("GET", f"/v1/callbacks?verdict={verdict}&limit={number}").json["items"]
        return [item["id"] for item in items] if len(items) == number else []


@dataclass
class Section:
    """The blocks below a heading, which a test must use completely and in order."""

    deployment: Deployment
    remaining: list[Block]

    def run(self, **names: str) -> str:
        """Run the next block, which must succeed; return its stdout."""
        block = self.remaining.pop(0)
        assert block.language == "sh"
        return self.deployment.service.sh(block.text, **names)

    def read(self, language: str = "text") -> str:
        """Return the next block, which shows output or a file."""
        block = self.remaining.pop(0)
        assert block.language == language
        return block.text


@pytest.fixture(scope="module")
def deployment(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with (
        scratch_database(server, template=template) as dsn,
        run_sandbox(tmp_path_factory.mktemp("commands"), dsn) as service,
        ExitStack() as running,
    ):
        deployment = Deployment(service, running)
        service.environ["DATABASE_URL"] = dsn
        deployment.restart(CONFIG)
        yield deployment


@pytest.fixture
def section(deployment: Deployment, request: pytest.FixtureRequest) -> Iterator[Section]:
    section = Section(deployment, [block for block in BLOCKS if block.heading == request.param])
    yield section
    assert section.remaining == []


def follow(heading: str) -> pytest.MarkDecorator:
    """Return the mark of a test that follows the section below a heading of the guide."""
    _tested_headings.add(heading)
    return pytest.mark.parametrize("section", [heading], indirect=True, ids=[""])


@follow("What happened to this message?")
def test_message_history_is_shown(deployment: Deployment, section: Section) -> None:
    request = deployment.submit("order-51", order="1042")
    job = deployment.wait_for_job(request)
    document = wait_for(lambda: document if (document := deployment.get("jobs", job))["finished_at"] else {})
    output = section.run(REQUEST_ID=request, JOB_ID=job, REFERENCE=document["reference"])
    assert output.startswith("id ")
    assert normalize_output(output).count(normalize_output(section.read())) == 2


@follow("What needs attention")
def test_what_needs_attention_is_listed(deployment: Deployment, section: Section) -> None:
    unknown = deployment.submit("order-29")
    deployment.wait_for_status(unknown, "unknown")
    assert "1 unknown" in section.run()
    assert unknown in section.run()
    section.run()
    section.run()


@follow("A job has no final status")
def test_job_is_polled_or_resolved(deployment: Deployment, section: Section) -> None:
    assert "succeeded" in section.run(JOB_ID=deployment.wait_for_job(deployment.submit("order-1021")))
    assert "operator" in section.run(JOB_ID=deployment.wait_for_job(deployment.submit("order-27")))


@follow("A request is unknown")
def test_unknown_request_is_retried_or_resolved(deployment: Deployment, section: Section) -> None:
    again, arrived = deployment.submit("order-13"), deployment.submit("order-73")
    for request in (again, arrived):
        deployment.wait_for_status(request, "unknown")
    unmatched = "receiver job list --unmatched --provider sandbox"
    wait_for(lambda: "sandbox" in deployment.service.sh(unmatched))
    reference = json.loads(deployment.service.sh(f"{unmatched} --json"))["items"][0]["reference"]
    assert "queued" in section.run(REQUEST_ID=again)
    assert "accepted" in section.run(REQUEST_ID=arrived, REFERENCE=reference)
    for request in (again, arrived):
        deployment.wait_for_job(request)


@follow("A request has a reference conflict")
def test_reference_conflict_is_resolved(deployment: Deployment, section: Section) -> None:
    request = deployment.submit("order-51")
    job = deployment.wait_for_job(request)
    with closing(connect(deployment.service.dsn)) as connection:
        connection.execute(
            "UPDATE requests SET conflict_deadline_at = now() + interval '1 day' WHERE id = %s", [request]
        )
    assert request in deployment.service.sh("receiver request list --reference-conflict")
    assert "seen in their console" in section.run(
        REQUEST_ID=request, REFERENCE=deployment.get("jobs", job)["reference"]
    )
    assert not deployment.get("requests", request)["reference_conflict"]


@follow("A provider is down")
def test_provider_is_paused_and_failed_requests_are_retried(deployment: Deployment, section: Section) -> None:
    failed = [deployment.submit("order-55") for _ in range(2)]
    for request in failed:
        deployment.wait_for_status(request, "failed")
    assert "ticket 4711" in section.run()
    queued = deployment.submit("order-51")
    assert queued in deployment.service.sh("receiver request list --provider sandbox --status queued")
    section.run()
    deployment.wait_for_status(queued, "accepted")
    shown = section.run()
    assert all(request in shown for request in failed)
    section.run()
    for request in failed:
        assert [action["action"] for action in deployment.get("requests", request)["actions"]] == ["retry"]


@follow("A provider was removed")
def test_what_remains_of_a_removed_provider_is_settled(deployment: Deployment, section: Section) -> None:
    queued, unknown = (
        NewRequest(uuid4(), "former", "send", {}, {}, datetime.now(UTC) + timedelta(hours=1), None, 3_600.0)
        for _ in range(2)
    )
    with closing(connect(deployment.service.environ["DATABASE_URL"])) as connection:
        submit_requests(connection, [queued, unknown])
        connection.execute("UPDATE requests SET status = 'unknown', due_at = NULL WHERE id = %s", [unknown.id])
    assert ["former", "unconfigured", "1 unconfigured, 1 unknown"] in [row[:3] for row in parse_rows(section.run())]
    section.run()
    statuses = [deployment.get("requests", str(request.id))["status"] for request in (queued, unknown)]
    assert statuses == ["cancelled", "rejected"]
    assert "former" not in deployment.service.sh("receiver provider list")


@follow("Callbacks have stopped")
def test_refused_callbacks_of_a_provider_are_listed(deployment: Deployment, section: Section) -> None:
    [callback] = deployment.send_refused_callbacks([f"sbx-{uuid4().hex}"])
    output = section.run()
    assert "1 refused" in output
    assert callback in output


@follow("A provider's secret was rotated")
def test_refused_callbacks_are_replayed_with_the_new_secret(deployment: Deployment, section: Section) -> None:
    references = [f"sbx-{uuid4().hex}" for _ in range(2)]
    callbacks = deployment.send_refused_callbacks(references)
    output = section.run(CALLBACK_ID=callbacks[0])
    assert normalize_output(section.read()) in normalize_output(output)
    assert all(callback in output for callback in callbacks)
    deployment.restart(ROTATED)
    assert "register this URL" in section.run()
    section.run(CALLBACK_ID=callbacks[0])
    for reference in references:
        assert deployment.get("jobs", str(derive_job_id("sandbox", reference)))["status"] == "succeeded"


@follow("A status mapping was wrong")
def test_callbacks_are_replayed_with_the_fixed_mapping(deployment: Deployment, section: Section) -> None:
    references = [f"acme-{uuid4().hex}" for _ in range(2)]
    [wrong] = deployment.send_acme_callbacks([f"wrong-{references[0]}"], "DONE", "accepted")
    callbacks = deployment.send_acme_callbacks(references, "EXPIRED", "unmapped")
    output = section.run(CALLBACK_ID=callbacks[0])
    assert all(callback in output for callback in callbacks)
    deployment.restart(FIXED)
    section.run()
    assert normalize_output(section.run()).endswith(normalize_output(section.read()))
    for reference in references:
        assert deployment.get("jobs", str(derive_job_id("acme", reference)))["status"] == "failed"
    deployment.service.sh(f"receiver callback replay {wrong}")
    assert deployment.get("jobs", str(derive_job_id("acme", f"wrong-{references[0]}")))["disputed"]


@follow("Audit the stored data")
def test_stored_data_is_audited_and_fixed(deployment: Deployment, section: Section) -> None:
    job = deployment.wait_for_job(deployment.submit("order-51"))
    wait_for(lambda: deployment.get("jobs", job)["finished_at"])
    assert section.run() == ""
    with closing(connect(deployment.service.dsn)) as connection:
        connection.execute("UPDATE jobs SET status = 'failed' WHERE id = %s", [job])
    output = section.run()
    assert job in output
    assert normalize_output(output) == normalize_output(section.read())
    assert deployment.get("jobs", job)["status"] == "succeeded"


def test_guide_lists_all_finding_kinds() -> None:
    kinds = ", ".join(row[0] for row in parse_table(GUIDE, "finding"))
    assert sorted(kinds.replace("`", "").split(", ")) == sorted(FindingKind)


@follow("Restore a backup")
def test_restored_database_is_recovered(deployment: Deployment, section: Section) -> None:
    deployment.service.sh("receiver provider pause sandbox --reason restoring")
    request = deployment.submit("order-51")
    output = section.run(TIME=datetime.now(UTC).isoformat())
    assert [line.split() for line in output.splitlines()].count(["unknown", "1"]) == 2
    assert request in section.run()
    deployment.service.sh("receiver provider resume sandbox")
    assert deployment.get("requests", request)["status"] == "unknown"
    deployment.service.sh(f"receiver request resolve {request} --status failed --reason 'not in their console'")


@follow("Test a provider's callbacks")
def test_sample_callbacks_are_accepted(deployment: Deployment, section: Section) -> None:
    reference = f"sample-{uuid4().hex}"
    output = section.run(REFERENCE=reference)
    assert normalize_output(section.read()) in normalize_output(output)
    assert "DONE" in output
    body = deployment.service.directory / "callback.json"
    body.write_text(json.dumps({"id": f"{reference}-2", "state": "DONE"}))
    assert "200" in section.run()
    section.run()
    public_key = (deployment.service.directory / "signing.pub").read_text()
    deployment.restart(f"{CONFIG}{MAILER}keys = ['''{public_key}''']\n")
    section.run(REFERENCE=reference)
    assert deployment.get("jobs", str(derive_job_id("mailer", reference)))["status"] == "succeeded"


@follow("Prune old data")
def test_finished_work_is_pruned(deployment: Deployment, section: Section) -> None:
    job = deployment.wait_for_job(deployment.submit("order-51"))
    wait_for(lambda: deployment.get("jobs", job)["finished_at"])
    with closing(connect(deployment.service.dsn)) as connection:
        for table, column, condition in (
            ("jobs", "finished_at", "id = %s"),
            ("events", "received_at", "job_id = %s"),
            ("callbacks", "received_at", "id IN (SELECT callback_id FROM events WHERE job_id = %s)"),
        ):
            statement = f"UPDATE {table} SET {column} = {column} - interval '100 days' WHERE {condition}"
            connection.execute(statement.encode(), [job])
    assert [line.split() for line in section.run().splitlines()].count(["jobs", "1"]) == 2
    assert deployment.service.api.call("GET", f"/v1/jobs/{job}").status == 404


@follow("Erase one person's data")
def test_data_of_one_person_is_erased(deployment: Deployment, section: Section) -> None:
    request = deployment.submit("order-51", customer="1042")
    job = deployment.wait_for_job(request)
    wait_for(lambda: deployment.get("jobs", job)["finished_at"])
    assert [line.split() for line in section.run().splitlines()].count(["requests", "1"]) == 2
    erased = deployment.get("requests", request)
    assert (erased["payload"], erased["metadata"], erased["status"]) == (None, {}, "accepted")
    assert erased["actions"][-1]["reason"] == "request of 23 November"


@follow("Create an API key")
def test_key_is_created_and_revoked(deployment: Deployment, section: Section) -> None:
    key, table = section.run().split("\n", 1)
    assert key.startswith("rcv_")
    [created] = [item for item in deployment.get("keys")["items"] if key.startswith(item["prefix"])]
    assert (created["scopes"], created["providers"]) == (["read", "submit"], ["sandbox"])
    assert created["id"] in table
    section.run(KEY_ID=created["id"])
    assert deployment.get("keys")["items"][0]["revoked_at"]


@follow("Rotate an API key")
def test_key_is_rotated_for_the_same_client(deployment: Deployment, section: Section) -> None:
    old = json.loads(deployment.service.sh("receiver key create --name shop --scope submit,read --json"))
    section.run()
    [new] = [item for item in deployment.get("keys")["items"] if item["name"] == "shop-2"]
    assert (new["client"], old["client"]) == ("shop", "shop")
    assert new["id"] in section.run(KEY_ID=old["id"])
    revoked = {item["id"]: item["revoked_at"] for item in deployment.get("keys")["items"]}
    assert revoked[old["id"]]
    assert not revoked[new["id"]]


@follow("Submit a file of requests")
def test_file_of_requests_is_submitted_once(deployment: Deployment, section: Section) -> None:
    lines = section.read("json")
    (deployment.service.directory / "orders.jsonl").write_text(lines)
    script = section.remaining[0].text
    for output in (section.run(), deployment.service.sh(script)):
        table = output.split("\nid ")[-1]
        assert table.count(" sandbox ") == len(lines.splitlines())


@follow("Use in scripts")
def test_script_waits_for_its_request(section: Section) -> None:
    assert section.run().endswith("delivered\n")


@follow("Shell completion")
def test_shell_completion_is_installed(deployment: Deployment, section: Section) -> None:
    section.run()
    assert "receiver completion bash" in (deployment.service.directory / ".bashrc").read_text()


def test_every_task_has_a_test() -> None:
    assert {block.heading for block in BLOCKS if block.language == "sh" and block.heading} == _tested_headings


def test_introduction_only_sets_variables() -> None:
    first = [block.text for block in BLOCKS if not block.heading]
    assert [line.partition("=")[0] for text in first for line in text.splitlines()] == [
        "export RECEIVER_URL",
        "export RECEIVER_KEY",
    ]


def test_reference_is_up_to_date() -> None:
    assert update_reference(GUIDE) == GUIDE, f"the help of a command has changed; run: {COMMAND}"
