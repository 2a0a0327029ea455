"""`/v1/jobs`: what providers do for us, and how it ended."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from flask import request, url_for
from werkzeug.exceptions import NotFound

from receiver.domain.access import Scope
from receiver.domain.jobs import JobEvent, compute_effects
from receiver.domain.paging import Page
from receiver.followup import operations
from receiver.schemas.api import jobs as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.database import Connection
from receiver.store.jobs import Job, find_events, find_job, list_jobs
from receiver.web.context import current_context
from receiver.web.operations import Result, build_operator_action, current_caller, extend_fields, filter_providers
from receiver.web.v1.blueprint import api
from receiver.web.waiting import MAX_WAIT_S

_STORY = schemas.JobDetailSchema()
_UNKNOWN = "no job has this id"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=[,;]|$)", re.IGNORECASE | re.ASCII)
_PREFER = {
    "Prefer": f"`wait=SECONDS` (RFC 7240) holds the answer until the job is final, for {MAX_WAIT_S:.0f} s at most; "
    "`Preference-Applied` tells for how long."
}


@api.operation("GET", "/jobs", Scope.READ, list_of(schemas.JobSchema)(), query=schemas.JobQuerySchema())
def browse_jobs(query: dict[str, Any]) -> Page[Job]:
    """List jobs, those accepted last first; with `finished_from` or `finished_to`, those that ended last."""
    providers = filter_providers(query.pop("provider"))
    with current_context().database.connection() as connection:
        return list_jobs(connection, providers=providers, **query)


@api.operation(
    "GET",
    "/jobs/<uuid:job_id>",
    Scope.READ,
    _STORY,
    headers=_PREFER,
    response_headers=["Preference-Applied"],
    refusals={404: _UNKNOWN},
)
def show_job(job_id: UUID) -> Result:
    """Show a job with everything anybody said about it, in the order of receipt."""
    wished = _WAIT.search(request.headers.get("Prefer", ""))
    waiters = current_context().waiters
    if wished and waiters.has_room:
        seconds = min(float(wished[1]), MAX_WAIT_S)
        who = current_caller()
        detail = waiters.wait(job_id, seconds, lambda job: who.sees(job.provider))
        if detail is None:
            raise NotFound(_UNKNOWN)
        return Result(_document(detail.job, detail.events), {"Preference-Applied": f"wait={seconds:.0f}"})
    with current_context().database.connection() as connection:
        return Result(_story(connection, job_id))


@api.operation(
    "POST",
    "/jobs/<uuid:job_id>/poll",
    Scope.ADMIN,
    _STORY,
    status=202,
    body=ReasonSchema(),
    optional_body=True,
    response_headers=["Location"],
    refusals={404: _UNKNOWN, 409: "it is final, or its provider cannot be asked"},
)
def poll_job(job_id: UUID, body: dict[str, Any]) -> Result:
    """Have the provider asked about a job now."""
    with current_context().database.transaction() as connection:
        found = _found(connection, job_id)
        provider = current_context().providers.get(found.provider)
        operations.poll_now(connection, found, provider, build_operator_action(body["reason"]))
        return Result(_story(connection, job_id), {"Location": url_for("v1.show_job", job_id=job_id)})


@api.operation(
    "POST",
    "/jobs/<uuid:job_id>/resolve",
    Scope.ADMIN,
    _STORY,
    body=schemas.ResolutionSchema(),
    refusals={404: _UNKNOWN},
)
def resolve_job(job_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Say how a job ended, as an operator who knows it from elsewhere.

    It outweighs whatever the provider says. Of several operators the first stands; if another contradicts, the job is
    `disputed`.
    """
    with current_context().database.transaction() as connection:
        operations.resolve(
            connection, _found(connection, job_id), body["status"], build_operator_action(body["reason"])
        )
        return _story(connection, job_id)


def _found(connection: Connection, job_id: UUID) -> Job:
    found = find_job(connection, job_id)
    if found is None or not current_caller().sees(found.provider):
        raise NotFound(_UNKNOWN)
    return found


def _story(connection: Connection, job_id: UUID) -> Mapping[str, Any]:
    return _document(_found(connection, job_id), find_events(connection, [job_id]))


def _document(job: Job, events: Collection[JobEvent]) -> Mapping[str, Any]:
    """Give a job with its events, and what each of them changed, for its schema."""
    told = [extend_fields(event, effect=effect) for event, effect in compute_effects(events)]
    return extend_fields(job, unmatched=job.unmatched, events=told)
