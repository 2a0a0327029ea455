"""`receiver job wait`."""

from uuid import uuid4

from tests.support.api_calls import UNKNOWN_ID
from tests.support.command_line import CommandLine
from tests.support.command_service import Service
from tests.support.provider import Provider, Reply, items
from tests.support.stub_api import build_job_document, build_problem, build_reply


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


def test_job_wait_tolerates_an_outage(stub: Provider, command: CommandLine) -> None:
    job_id = str(uuid4())
    still = build_reply(build_job_document(id=job_id, status="accepted"))
    stub.script(job_id, still, build_problem(503), build_reply(build_job_document(id=job_id, status="succeeded")))
    waited = command.run("job", "wait", job_id)
    assert waited.exit_code == 0
    assert "still waiting" in waited.stderr
    assert stub.find_received(job_id)[-1].headers["prefer"] == "wait=30"
