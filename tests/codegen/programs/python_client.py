"""The life of a request, with the client of openapi-python-client; called with the service's URL and key."""

import sys
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from receiver_client import AuthenticatedClient
from receiver_client.api.jobs import browse_jobs, show_job, track_job
from receiver_client.api.keys import create_api_key
from receiver_client.api.providers import browse_providers
from receiver_client.api.requests import (
    act_on_requests,
    browse_requests,
    cancel_request,
    resolve_request,
    show_request,
    submit_batch,
    submit_request,
)
from receiver_client.api.stats import show_stats
from receiver_client.api.tail import follow_changes
from receiver_client.models import (
    ActionReason,
    Batch,
    BrowseRequestsMetadata,
    BulkAction,
    BulkActionKind,
    BulkFilter,
    BulkFilterMetadata,
    EventSource,
    JobStatus,
    NewKey,
    PayloadAcmeSend,
    PayloadCeculaSendTemplate,
    PayloadCeculaSendTemplateRecipientsItem,
    PayloadCeculaSendTemplateRecipientsItemData,
    PayloadSandboxSend,
    Problem,
    ProblemType,
    Request,
    RequestResolution,
    RequestResolutionStatus,
    RequestStatus,
    Scope,
    SubmissionAcmeSend,
    SubmissionAcmeSendMetadata,
    SubmissionAcmeSendOperation,
    SubmissionAcmeSendProvider,
    SubmissionCeculaSendTemplate,
    SubmissionCeculaSendTemplateMetadata,
    SubmissionCeculaSendTemplateOperation,
    SubmissionCeculaSendTemplateProvider,
    SubmissionSandboxSend,
    SubmissionSandboxSendOperation,
    SubmissionSandboxSendProvider,
    TrackingAcme,
    TrackingAcmeProvider,
)
from receiver_client.types import Response, Unset

T = TypeVar("T")
STYLE = {"font": {"name": "Inter", "sizes": [12, 14.5]}, "bold": True, "colour": None}
ORDER = f"python-{uuid4()}"


def parse(response: Response[T | Problem], status: int) -> T:
    """Return the document of a response, which must have a status and be no problem."""
    assert response.status_code == status, (response.status_code, response.content)
    assert response.parsed is not None
    assert not isinstance(response.parsed, Problem), response.parsed
    return response.parsed


def parse_problem(response: Response[T | Problem], status: int, problem_type: ProblemType) -> Problem:
    """Return the problem of a response."""
    assert isinstance(response.parsed, Problem), (response.status_code, response.content)
    assert (response.status_code, response.parsed.status) == (status, status)
    assert response.parsed.type_ is problem_type
    return response.parsed


def build_submission(text: str) -> SubmissionAcmeSend:
    """Build a submission with nested JSON in its payload and metadata."""
    payload = PayloadAcmeSend(client_reference=f"{ORDER}-7", to=["2348030000000"], text=text)
    payload["style"] = STYLE
    return SubmissionAcmeSend(
        provider=SubmissionAcmeSendProvider.ACME,
        operation=SubmissionAcmeSendOperation.SEND,
        payload=payload,
        metadata=SubmissionAcmeSendMetadata.from_dict({"order": ORDER, "customer": {"vip": True, "tags": ["a", None]}}),
        deadline=datetime.now(UTC) + timedelta(hours=1),
    )


def submit(client: AuthenticatedClient) -> Request:
    """Submit a request twice with one idempotency key, and another one with the same key."""
    submission = build_submission("On its way.")
    response = submit_request.sync_detailed(client=client, body=submission, idempotency_key=ORDER)
    request = parse(response, 202)
    assert isinstance(request.id, UUID)
    assert request.payload is not None
    assert request.payload.to_dict() == submission.payload.to_dict()
    assert request.metadata["customer"] == {"vip": True, "tags": ["a", None]}
    assert isinstance(request.created_at, datetime)
    assert request.created_at.tzinfo is not None
    assert request.notify_url is None
    assert response.headers["Location"] == f"/v1/requests/{request.id}"
    replayed = submit_request.sync_detailed(client=client, body=submission, idempotency_key=ORDER)
    assert parse(replayed, 202).id == request.id
    assert replayed.headers["Idempotent-Replayed"] == "true"
    other = submit_request.sync_detailed(client=client, body=build_submission("Late."), idempotency_key=ORDER)
    parse_problem(other, 409, ProblemType.IDEMPOTENCY_KEY_REUSED)
    return request


def find(client: AuthenticatedClient, request: Request) -> None:
    """Find a request by its metadata, with other filters and a cursor."""
    metadata = BrowseRequestsMetadata.from_dict({"metadata.order": ORDER})
    hour = timedelta(hours=1)
    page = parse(
        browse_requests.sync_detailed(
            client=client, metadata=metadata, provider="acme", created_from=request.created_at - hour, limit=1
        ),
        200,
    )
    assert [item.id for item in page.items] == [request.id]
    assert page.next_cursor is None
    other = browse_requests.sync_detailed(client=client, metadata=metadata, created_to=request.created_at - hour)
    assert parse(other, 200).items == []
    other = browse_requests.sync_detailed(client=client, metadata=metadata, status=RequestStatus.FAILED)
    assert parse(other, 200).items == []


def wait(client: AuthenticatedClient, request: Request) -> None:
    """Wait until a request is accepted and its job has succeeded."""
    while not (jobs := parse(show_request.sync_detailed(request.id, client=client), 200).jobs):
        parse(follow_changes.sync_detailed(client=client, prefer="wait=1"), 200)
    response = show_job.sync_detailed(jobs[0].id, client=client, prefer="wait=30")
    job = parse(response, 200)
    assert response.headers["Preference-Applied"] == "wait=30"
    assert job.status is JobStatus.SUCCEEDED
    assert isinstance(job.finished_at, datetime)
    assert {event.source for event in job.events} == {EventSource.RESPONSE, EventSource.CALLBACK}
    listed = parse(browse_jobs.sync_detailed(client=client, request_id=request.id, disputed=False), 200)
    assert [item.id for item in listed.items] == [job.id]


def fail(client: AuthenticatedClient, request: Request) -> None:
    """Make calls that are refused, each with a problem of its type."""
    sandbox = SubmissionSandboxSend(
        provider=SubmissionSandboxSendProvider.SANDBOX,
        operation=SubmissionSandboxSendOperation.SEND,
        payload=PayloadSandboxSend(client_reference="1", to=[], text=""),
    )
    problem = parse_problem(
        submit_request.sync_detailed(client=client, body=sandbox),
        400,
        ProblemType.INVALID_REQUEST,
    )
    assert not isinstance(problem.errors, Unset)
    assert problem.errors["payload"].keys() == {"to", "text"}
    unknown = show_request.sync_detailed(uuid4(), client=client)
    parse_problem(unknown, 404, ProblemType.NOT_FOUND)
    finished = cancel_request.sync_detailed(request.id, client=client, body=ActionReason(reason="too late"))
    parse_problem(finished, 409, ProblemType.STATE_CONFLICT)
    resolution = RequestResolution(status=RequestResolutionStatus.REJECTED, reason="too late")
    finished = resolve_request.sync_detailed(request.id, client=client, body=resolution)
    parse_problem(finished, 409, ProblemType.STATE_CONFLICT)
    stranger = AuthenticatedClient(client._base_url, token="wrong")
    refused = show_request.sync_detailed(request.id, client=stranger)
    parse_problem(refused, 401, ProblemType.INVALID_API_KEY)


def act(client: AuthenticatedClient) -> None:
    """Submit several requests at once, cancel them together, and call some other operations."""
    recipient = PayloadCeculaSendTemplateRecipientsItem(mobile="2348181234567")
    recipient.data = PayloadCeculaSendTemplateRecipientsItemData.from_dict({"name": "Ada", "items": [{"count": 2}]})
    later = SubmissionCeculaSendTemplate(
        provider=SubmissionCeculaSendTemplateProvider.CECULA,
        operation=SubmissionCeculaSendTemplateOperation.SEND_TEMPLATE,
        payload=PayloadCeculaSendTemplate(recipients=[recipient], template="welcome", sender="Shop"),
        send_after=datetime.now(UTC) + timedelta(hours=1),
    )
    later.metadata = SubmissionCeculaSendTemplateMetadata.from_dict({"campaign": ORDER})
    batch = parse(submit_batch.sync_detailed(client=client, body=Batch(requests=[later, later])), 202)
    assert [item.status for item in batch.items] == [RequestStatus.QUEUED] * 2
    action = BulkAction(
        action=BulkActionKind.CANCEL,
        filter_=BulkFilter(metadata=BulkFilterMetadata.from_dict({"campaign": ORDER})),
        dry_run=True,
    )
    preview = parse(act_on_requests.sync_detailed(client=client, body=action), 200)
    assert (preview.count, preview.applied) == (2, 0)
    action.dry_run, action.token = False, preview.token
    assert parse(act_on_requests.sync_detailed(client=client, body=action), 200).applied == 2
    tracking = TrackingAcme(provider=TrackingAcmeProvider.ACME, reference=ORDER)
    assert parse(track_job.sync_detailed(client=client, body=tracking), 201).status is JobStatus.ACCEPTED
    key = NewKey(name=ORDER, scopes=[Scope.READ], expires_at=datetime.now(UTC) + timedelta(days=1))
    assert parse(create_api_key.sync_detailed(client=client, body=key), 201).scopes == [Scope.READ]
    providers = parse(browse_providers.sync_detailed(client=client), 200).items
    assert {item.name for item in providers} == {"acme", "cecula", "sandbox"}
    assert parse(show_stats.sync_detailed(client=client), 200).requests["cancelled"] >= 2


def main(url: str, key: str) -> None:
    """Run the life of a request."""
    with AuthenticatedClient(url, token=key, raise_on_unexpected_status=True) as client:
        request = submit(client)
        find(client, request)
        wait(client, request)
        fail(client, request)
        act(client)


main(*sys.argv[1:])
