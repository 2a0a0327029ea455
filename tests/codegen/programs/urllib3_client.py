"""Some calls with the client that openapi-generator generates for Python; called with the service's URL and key."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from receiver_api import ApiClient, Configuration
from receiver_api.api import JobsApi, RequestsApi
from receiver_api.exceptions import ApiException
from receiver_api.models import (
    JobStatus,
    PayloadAcmeSend,
    PayloadSandboxSend,
    Problem,
    RequestStatus,
    Submission,
    SubmissionAcmeSend,
    SubmissionSandboxSend,
)

ORDER = f"urllib3-{uuid4()}"
STYLE = {"font": {"name": "Inter", "sizes": [12, 14.5]}, "bold": True, "colour": None}


def build_submission(text: str) -> Submission:
    """Build a submission with nested JSON in its payload and metadata."""
    payload = PayloadAcmeSend(client_reference=f"{ORDER}-7", to=["2348030000000"], text=text)
    payload.additional_properties["style"] = STYLE
    deadline = datetime.now(UTC) + timedelta(hours=1)
    metadata = {"order": ORDER, "customer": {"vip": True}}
    return Submission(
        SubmissionAcmeSend(provider="acme", operation="send", payload=payload, metadata=metadata, deadline=deadline)
    )


def find_problem(call: Callable[[], object]) -> Problem:
    """Make a call that must be refused, and return the problem."""
    problem = None
    try:
        call()
    except ApiException as error:
        problem = error.data
    assert isinstance(problem, Problem), problem
    return problem


def main(url: str, key: str) -> None:
    """Submit a request, find it, wait for its job, and make calls that are refused."""
    # The format of times in a query; the default has an offset without a colon, which is not RFC 3339.
    configuration = Configuration(host=url, access_token=key, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    with ApiClient(configuration) as client:
        requests, jobs = RequestsApi(client), JobsApi(client)
        submission = build_submission("On its way.")
        request = requests.submit_request(submission, idempotency_key=ORDER)
        assert request.payload is not None
        assert request.payload["style"] == STYLE
        assert request.metadata["customer"] == {"vip": True}
        replayed = requests.submit_request_with_http_info(submission, idempotency_key=ORDER)
        assert replayed.headers["Idempotent-Replayed"] == "true"
        page = requests.browse_requests(
            metadata={"metadata.order": ORDER}, created_from=datetime.now(UTC) - timedelta(hours=1)
        )
        assert [item.id for item in page.items] == [request.id]
        assert requests.browse_requests(metadata={"metadata.order": ORDER}, status=RequestStatus.FAILED).items == []
        while not (listed := jobs.browse_jobs(request_id=request.id).items):
            pass
        job = jobs.show_job(listed[0].id, prefer="wait=30")
        assert job.status is JobStatus.SUCCEEDED
        assert isinstance(job.finished_at, datetime)
        invalid = SubmissionSandboxSend.model_construct(
            provider="sandbox",
            operation="send",
            payload=PayloadSandboxSend.model_construct(client_reference="1", to=[], text=""),
        )
        problem = find_problem(lambda: requests.submit_request(Submission.model_construct(actual_instance=invalid)))
        assert problem.type == "urn:callback-receiver:problem:invalid-request"
        assert problem.errors is not None
        assert problem.errors["payload"].keys() == {"to", "text"}
        problem = find_problem(lambda: requests.submit_request(build_submission("Late."), idempotency_key=ORDER))
        assert problem.type == "urn:callback-receiver:problem:idempotency-key-reused"


main(*sys.argv[1:])
