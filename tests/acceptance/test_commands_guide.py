"""What the guide to the commands shows is so: they are run as they stand, against a service with the sandbox."""

import hmac
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from uuid import uuid4

import pytest

from receiver.domain.audit import FindingKind
from receiver.domain.jobs import derive_job_id
from receiver.store.database import connect
from receiver.store.scratch import scratch_database
from tests.acceptance.commands_reference import ANEW, written_anew
from tests.acceptance.guides import Block, Service, beside_a_sandbox, blocks_of, guide, plain, rows_of
from tests.http import Json, says, signed
from tests.processes import wait_for

GUIDE = guide("receiver/cli/README.md")
BLOCKS = blocks_of(GUIDE)
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
ROTATED = CONFIG.replace('secrets = ["env', f'secrets = ["{NEW_SECRET}", "env')
MENDED = CONFIG.replace('DONE = "succeeded"', 'DONE = "failed", EXPIRED = "failed"')

_told: set[str] = set()


@dataclass
class Night:
    """A service that is operated by the guide; it can be restarted with another configuration."""

    service: Service
    running: ExitStack

    def restart(self, config: str) -> None:
        self.running.close()
        self.running.enter_context(self.service.serving(config))

    def submitted(self, client_reference: str, **metadata: str) -> str:
        """Submit to the sandbox, whose conduct the number in the reference decides; give the request's id."""
        payload = {"client_reference": client_reference, "to": ["2348030000000"], "text": "On its way."}
        submission = {"provider": "sandbox", "operation": "send", "payload": payload, "metadata": metadata}
        response = self.service.api.call(
            "POST", "/v1/requests", json.dumps(submission).encode(), {"content-type": "application/json"}
        )
        assert response.status == 202, response
        return str(response.json["id"])

    def becomes(self, request: str, status: str) -> Json:
        """Wait until a request has a status; give it."""
        return wait_for(lambda: found if (found := self.get("requests", request))["status"] == status else {})

    def job_of(self, request: str) -> str:
        """Wait until a request is accepted; give the id of its only job."""
        [job] = self.becomes(request, "accepted")["jobs"]
        return str(job["id"])

    def get(self, *path: str) -> Json:
        return self.service.api.call("GET", "/".join(("/v1", *path))).json

    def refused(self, references: Sequence[str]) -> list[str]:
        """Call back with a secret that is not configured; give the callbacks' ids."""
        for reference in references:
            body = says(reference)
            headers = signed(body, secret=NEW_SECRET)
            assert self.service.api.call("POST", "/callbacks/sandbox", body, headers).status == 401
        return wait_for(lambda: self._callbacks("refused", len(references)))

    def misread(self, references: Sequence[str], word: str, verdict: str) -> list[str]:
        """Call back as acme does; give the callbacks' ids."""
        for reference in references:
            body = json.dumps({"id": reference, "state": word}).encode()
            proof = hmac.new(ACME_SECRET.encode(), body, "sha256").hexdigest()
            headers = {"content-type": "application/json", "x-acme-signature": proof}
            assert self.service.api.call("POST", "/callbacks/acme", body, headers).status == 200
        return wait_for(lambda: self._callbacks(verdict, len(references)))

    def _callbacks(self, verdict: str, number: int) -> list[str]:
        """Give the newest callbacks of a verdict, if there are so many."""
        found = self.service.api.call("GET", f"/v1/callbacks?verdict={verdict}&limit={number}").json["items"]
        return [item["id"] for item in found] if len(found) == number else []


@dataclass
class Section:
    """The blocks below a heading, done one after the other; all of them must be."""

    night: Night
    left: list[Block]

    def run(self, **names: str) -> str:
        """Run the next block, which must go well; give what it prints."""
        block = self.left.pop(0)
        assert block.language == "sh"
        return self.night.service.sh(block.text, **names)

    def shown(self, language: str = "text") -> str:
        """Give the next block, which shows something."""
        block = self.left.pop(0)
        assert block.language == language
        return block.text


@pytest.fixture(scope="module")
def night(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with (
        scratch_database(server, template=template) as dsn,
        beside_a_sandbox(tmp_path_factory.mktemp("night"), dsn) as service,
        ExitStack() as running,
    ):
        operated = Night(service, running)
        service.environ["DATABASE_URL"] = dsn
        operated.restart(CONFIG)
        yield operated


@pytest.fixture
def section(night: Night, request: pytest.FixtureRequest) -> Iterator[Section]:
    found = Section(night, [block for block in BLOCKS if block.heading == request.param])
    yield found
    assert found.left == []


def about(heading: str) -> pytest.MarkDecorator:
    """Let a test follow what stands below a heading of the guide."""
    _told.add(heading)
    return pytest.mark.parametrize("section", [heading], indirect=True, ids=[""])


@about("What happened to this message?")
def test_what_happened_to_a_message_is_told(night: Night, section: Section) -> None:
    request = night.submitted("order-51", order="1042")
    job = night.job_of(request)
    ended = wait_for(lambda: found if (found := night.get("jobs", job))["finished_at"] else {})
    told = section.run(REQUEST_ID=request, JOB_ID=job, REFERENCE=ended["reference"])
    assert told.startswith("id ")
    assert plain(told).count(plain(section.shown())) == 2


@about("What needs somebody?")
def test_what_needs_somebody_is_listed(night: Night, section: Section) -> None:
    unknown = night.submitted("order-29")
    night.becomes(unknown, "unknown")
    assert "1 unknown" in section.run()
    assert unknown in section.run()
    section.run()


@about("A job has no final word")
def test_a_job_without_a_final_word_is_polled_or_resolved(night: Night, section: Section) -> None:
    assert "succeeded" in section.run(JOB_ID=night.job_of(night.submitted("order-1021")))
    assert "operator" in section.run(JOB_ID=night.job_of(night.submitted("order-27")))


@about("A request is unknown")
def test_an_unknown_request_is_sent_again_or_said_to_be_taken(night: Night, section: Section) -> None:
    again, arrived = night.submitted("order-13"), night.submitted("order-73")
    for request in (again, arrived):
        night.becomes(request, "unknown")
    unmatched = "receiver job list --unmatched --provider sandbox"
    wait_for(lambda: "sandbox" in night.service.sh(unmatched))
    reference = json.loads(night.service.sh(f"{unmatched} --json"))["items"][0]["reference"]
    assert "queued" in section.run(REQUEST_ID=again)
    assert "accepted" in section.run(REQUEST_ID=arrived, REFERENCE=reference)
    for request in (again, arrived):
        night.job_of(request)


@about("A provider is down")
def test_requests_to_a_provider_that_is_down_wait_and_those_that_failed_are_sent_again(
    night: Night, section: Section
) -> None:
    failed = [night.submitted("order-55") for _ in range(2)]
    for request in failed:
        night.becomes(request, "failed")
    assert "ticket 4711" in section.run()
    held = night.submitted("order-51")
    assert held in night.service.sh("receiver request list --provider sandbox --status queued")
    section.run()
    night.becomes(held, "accepted")
    section.run()
    for request in failed:
        assert [action["action"] for action in night.get("requests", request)["actions"]] == ["retry"]


@about("The provider's secret was rotated and callbacks were refused")
def test_callbacks_that_were_refused_are_taken_with_the_new_secret(night: Night, section: Section) -> None:
    references = [f"sbx-{uuid4().hex}" for _ in range(2)]
    callbacks = night.refused(references)
    told = section.run(CALLBACK_ID=callbacks[0])
    assert plain(section.shown()) in plain(told)
    assert all(callback in told for callback in callbacks)
    night.restart(ROTATED)
    assert "register this URL" in section.run()
    section.run(CALLBACK_ID=callbacks[0])
    for reference in references:
        assert night.get("jobs", str(derive_job_id("sandbox", reference)))["status"] == "succeeded"


@about("A mapping was wrong")
def test_callbacks_that_were_misread_are_read_again(night: Night, section: Section) -> None:
    references = [f"acme-{uuid4().hex}" for _ in range(2)]
    [wrong] = night.misread([f"wrong-{references[0]}"], "DONE", "accepted")
    callbacks = night.misread(references, "EXPIRED", "unmapped")
    told = section.run(CALLBACK_ID=callbacks[0])
    assert all(callback in told for callback in callbacks)
    night.restart(MENDED)
    section.run()
    assert plain(section.run()).endswith(plain(section.shown()))
    for reference in references:
        assert night.get("jobs", str(derive_job_id("acme", reference)))["status"] == "failed"
    night.service.sh(f"receiver callback replay {wrong}")
    assert night.get("jobs", str(derive_job_id("acme", f"wrong-{references[0]}")))["disputed"]


@about("Is what is stored right?")
def test_what_is_stored_is_proven_and_mended(night: Night, section: Section) -> None:
    job = night.job_of(night.submitted("order-51"))
    wait_for(lambda: night.get("jobs", job)["finished_at"])
    assert section.run() == ""
    with closing(connect(night.service.dsn)) as connection:
        connection.execute("UPDATE jobs SET status = 'failed' WHERE id = %s", [job])
    told = section.run()
    assert job in told
    assert plain(told) == plain(section.shown())
    assert night.get("jobs", job)["status"] == "succeeded"


def test_every_kind_of_finding_is_told() -> None:
    told = ", ".join(row[0] for row in rows_of(GUIDE, "finding"))
    assert sorted(told.replace("`", "").split(", ")) == sorted(FindingKind)


@about("The database grows")
def test_finished_work_is_removed(night: Night, section: Section) -> None:
    job = night.job_of(night.submitted("order-51"))
    wait_for(lambda: night.get("jobs", job)["finished_at"])
    with closing(connect(night.service.dsn)) as connection:
        for table, column, which in (
            ("jobs", "finished_at", "id = %s"),
            ("events", "received_at", "job_id = %s"),
            ("callbacks", "received_at", "id IN (SELECT callback_id FROM events WHERE job_id = %s)"),
        ):
            aged = f"UPDATE {table} SET {column} = {column} - interval '100 days' WHERE {which}"
            connection.execute(aged.encode(), [job])
    assert [line.split() for line in section.run().splitlines()].count(["jobs", "1"]) == 2
    assert night.service.api.call("GET", f"/v1/jobs/{job}").status == 404


@about("Make a key for a team")
def test_a_key_is_made_and_ended(night: Night, section: Section) -> None:
    key, table = section.run().split("\n", 1)
    assert key.startswith("rcv_")
    [found] = [item for item in night.get("keys")["items"] if key.startswith(item["prefix"])]
    assert (found["scopes"], found["providers"]) == (["read", "submit"], ["sandbox"])
    assert found["id"] in table
    section.run(KEY_ID=found["id"])
    assert night.get("keys")["items"][0]["revoked_at"]


@about("Submit a file of requests")
def test_a_file_of_requests_is_submitted_once(night: Night, section: Section) -> None:
    lines = section.shown("json")
    (night.service.directory / "orders.jsonl").write_text(lines)
    script = section.left[0].text
    for told in (section.run(), night.service.sh(script)):
        listed = told.split("\nid ")[-1]
        assert listed.count(" sandbox ") == len(lines.splitlines())


@about("In a script")
def test_a_script_waits_for_what_it_submits(section: Section) -> None:
    assert section.run().endswith("delivered\n")


@about("Shell completion")
def test_a_shell_is_told_to_complete(night: Night, section: Section) -> None:
    section.run()
    assert "receiver completion bash" in (night.service.directory / ".bashrc").read_text()


def test_a_test_follows_every_task() -> None:
    assert {block.heading for block in BLOCKS if block.language == "sh" and block.heading} == _told


def test_before_the_tasks_only_variables_are_set() -> None:
    first = [block.text for block in BLOCKS if not block.heading]
    assert [line.partition("=")[0] for text in first for line in text.splitlines()] == [
        "export RECEIVER_URL",
        "export RECEIVER_KEY",
    ]


def test_the_reference_is_what_the_commands_say_of_themselves() -> None:
    assert written_anew(GUIDE) == GUIDE, f"the commands have changed; write their reference anew: {ANEW}"
