"""`/v1/jobs`: list, show and track jobs, wait for them, poll their providers, and resolve them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, request, url_for

from receiver.domain.access import Scope
from receiver.domain.accounts import join_account
from receiver.domain.jobs import Effect, JobEvent, compute_effects
from receiver.domain.paging import Page, PageRequest
from receiver.domain.status_explanations import explain_status
from receiver.domain.tracing import TRACEPARENT, parse_traceparent
from receiver.operations import jobs as operations
from receiver.outbound.track import AlreadyTracked, TrackedReference, track_reference
from receiver.schemas.api import jobs as schemas
from receiver.schemas.api.common import list_of
from receiver.store.connections import Connection
from receiver.store.events import NewestEvents, find_newest_events
from receiver.store.jobs import Job, find_job, list_jobs
from receiver.store.requests import find_requests
from receiver.web.bodies import json_response
from receiver.web.context import current_context
from receiver.web.idempotency import HEADERS, KEY_REUSED, REPLAYED, run_idempotently
from receiver.web.operations import (
    Result,
    build_operator_action,
    current_caller,
    extend_fields,
    require_provider,
    restrict_filter,
)
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.tracing import trace_submission
from receiver.web.v1.blueprint import api
from receiver.web.v1.waits import PREFER, parse_wait

_JOB = schemas.JobDetailSchema()
_NOT_FOUND = "No such job."
_PREFER = {"Prefer": PREFER.format(event="the job is final")}


@api.operation(
    "POST",
    "/jobs",
    Scope.SUBMIT,
    _JOB,
    status=201,
    other_statuses={200: "The job of an earlier request of the same client, which is unchanged."},
    body=schemas.TrackingSchema(),
    headers=HEADERS,
    response_headers=["Location", REPLAYED],
    problems={
        ProblemType.STATE_CONFLICT: "The job with this reference belongs to another request. Check the reference.",
        ProblemType.IDEMPOTENCY_KEY_REUSED: KEY_REUSED,
    },
)
def track_job(body: dict[str, Any]) -> Response:
    """Track a job that the client obtained from the provider itself.

    The job is that of a new request, which is accepted and never sent. From then on the job is followed up like any
    other. Callbacks that came first count.
    """
    require_provider(join_account(body["provider"], body.get("account")))
    traceparent, tracing = parse_traceparent(request.headers.get(TRACEPARENT)), current_context().tracing
    if tracing:
        return trace_submission(tracing, request.path, traceparent, partial(_track, body))
    return _track(body, traceparent)


def _track(body: dict[str, Any], traceparent: str | None) -> Response:
    tracked = TrackedReference(**body, client=current_caller().client, traceparent=traceparent)
    operator = build_operator_action(None)

    def track(connection: Connection) -> Response:
        context = current_context()
        job_id = track_reference(connection, context.providers, tracked, operator, context.settings.notify_targets)
        return _respond_with_job(connection, job_id=job_id, status=201)

    try:
        return run_idempotently(body, track)
    except AlreadyTracked as error:  # the transaction, which would have created a second request, is rolled back
        return run_idempotently(body, partial(_respond_with_job, job_id=error.job_id, status=200))


def _respond_with_job(connection: Connection, *, job_id: UUID, status: int) -> Response:
    headers = {"Location": url_for("v1.show_job", job_id=job_id)}
    return json_response(_JOB.dump(_build_detail(connection, job_id)), status, headers)


@api.operation(
    "GET",
    "/jobs",
    Scope.READ,
    list_of(schemas.JobSchema)(),
    own_scope=Scope.SUBMIT,
    query=schemas.JobQuerySchema(),
)
def browse_jobs(query: dict[str, Any]) -> Page[Job]:
    """List jobs, newest first by acceptance; with `finished_from` or `finished_to`, by finish time."""
    job_filter, client = restrict_filter(query["filter"]), current_caller().own_client
    return current_context().reader.read(
        lambda connection: list_jobs(connection, job_filter, query["page"], client=client)
    )


@api.operation(
    "GET",
    "/jobs/<uuid:job_id>",
    Scope.READ,
    _JOB,
    own_scope=Scope.SUBMIT,
    headers=_PREFER,
    response_headers=["Preference-Applied"],
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def show_job(job_id: UUID) -> Result:
    """Show a job with its newest events in the order of receipt, optionally once it is final."""
    seconds = parse_wait()
    job_waiters = current_context().job_waiters
    if seconds is not None and job_waiters.has_capacity:
        caller = current_caller()  # not available in the thread that calls the lambda
        if caller.own_client is not None:  # a job never changes its client
            with current_context().database.connection() as connection:
                _find_job(connection, job_id)
        detail = job_waiters.wait(job_id, seconds, lambda job: caller.can_access(job.provider))
        if detail is None:
            raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
        return Result(_build_document(detail.job, detail.events), {"Preference-Applied": f"wait={seconds:.0f}"})
    with current_context().database.connection() as connection:
        return Result(_build_detail(connection, job_id))


@api.operation(
    "GET",
    "/jobs/<uuid:job_id>/events",
    Scope.READ,
    list_of(schemas.EventSchema)(),
    own_scope=Scope.SUBMIT,
    query=schemas.JobEventQuerySchema(),
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def browse_job_events(job_id: UUID, query: dict[str, Any]) -> Page[Mapping[str, Any]]:
    """List all events of a job with their effects, newest first."""
    page = query["page"]
    with current_context().database.connection() as connection:
        _find_job(connection, job_id)
        newest = find_newest_events(connection, [job_id], page)[job_id]
    effects = compute_effects(newest.events, newest.preceding)
    return Page([_build_event(event, effect) for event, effect in reversed(effects)], newest.next_cursor)


@api.action(
    "/jobs/<uuid:job_id>/poll",
    Scope.ADMIN,
    _JOB,
    status=202,
    response_headers=["Location"],
    problems={
        ProblemType.NOT_FOUND: _NOT_FOUND,
        ProblemType.STATE_CONFLICT: "The job is final, or its provider cannot be polled.",
    },
)
def poll_job(job_id: UUID, body: dict[str, Any]) -> Result:
    """Schedule a poll of the job's provider for now."""
    with current_context().database.transaction() as connection:
        job = _find_job(connection, job_id)
        provider = current_context().providers.get(job.provider)
        operations.poll_now(connection, job, provider, build_operator_action(body["reason"]))
        return Result(_build_detail(connection, job_id), {"Location": url_for("v1.show_job", job_id=job_id)})


@api.operation(
    "POST",
    "/jobs/<uuid:job_id>/resolve",
    Scope.ADMIN,
    _JOB,
    body=schemas.ResolutionSchema(),
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def resolve_job(job_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Set a job's final status manually.

    The resolution outranks every status of the provider, and settles a dispute. Of several resolutions the latest
    stands, so that a mistake can be corrected.
    """
    with current_context().database.transaction() as connection:
        operations.resolve(
            connection, _find_job(connection, job_id), body["status"], build_operator_action(body["reason"])
        )
        return _build_detail(connection, job_id)


def _find_job(connection: Connection, job_id: UUID) -> Job:
    job, caller = find_job(connection, job_id), current_caller()
    if job is None or not caller.can_access(job.provider):
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    if caller.own_client is not None:
        requests = find_requests(connection, [job.request_id] if job.request_id else ())
        if not any(caller.can_see(job.provider, request.client) for request in requests):
            raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return job


def _build_detail(connection: Connection, job_id: UUID) -> Mapping[str, Any]:
    job = _find_job(connection, job_id)
    newest = find_newest_events(connection, [job_id], PageRequest(limit=schemas.MAX_SHOWN_EVENTS))[job_id]
    return _build_document(job, newest)


def _build_document(job: Job, newest: NewestEvents) -> Mapping[str, Any]:
    """Build the document of a job with its newest events and their effects, and why it has its status."""
    effects = compute_effects(newest.events, newest.preceding)
    return extend_fields(
        job,
        explanation=_build_explanation(job, effects, newest.preceding) if effects else None,
        events=[_build_event(event, effect) for event, effect in effects],
        events_cursor=newest.next_cursor,
    )


def _build_explanation(
    job: Job, effects: Sequence[tuple[JobEvent, Effect | None]], preceding: JobEvent | None
) -> Mapping[str, Any]:
    explanation = explain_status(
        effects, preceding, disputed=job.disputed, unmatched=job.unmatched, deadline_at=job.deadline_at
    )
    event = explanation.event
    return extend_fields(explanation, event=_build_event(event, Effect.APPLIED if event.status else None))


def _build_event(event: JobEvent, effect: Effect | None) -> Mapping[str, Any]:
    return extend_fields(event, effect=effect, superseding=event.superseding)
