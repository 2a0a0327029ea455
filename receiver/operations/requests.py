"""Operators' actions on requests: retry, cancel, send now, and resolve an unknown request or a reference conflict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import EventSource, StatusReport
from receiver.domain.sending import RequestStatus
from receiver.providers.base import Provider, find_lookup_delays
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.jobs import schedule_polls_now
from receiver.store.requests import Request, cancel_requests, retry_requests, send_requests_now
from receiver.store.unknown_requests import resolve_requests


@dataclass(frozen=True, slots=True)
class RequestResolution:
    """The status that an operator gives a request; for an accepted one `references` name its jobs."""

    status: RequestStatus
    references: Sequence[str]


def retry(connection: Connection, request: Request, provider: Provider | None, actor: str, reason: str | None) -> None:
    """Queue a request again that ended without being accepted; call within a transaction.

    Raises:
        StateConflict: the request is in progress or was accepted, its payload is erased, or its provider is not
            configured any more.
    """
    if provider is None:
        raise StateConflict(f"The provider {request.provider} is not configured. Configure it to retry the request.")
    if request.payload is None:
        raise StateConflict(
            "The payload of the request was erased, so that it cannot be sent again. Submit a new request."
        )
    if not retry_requests(connection, [request.id], {request.provider: provider.deadline}):
        remedy = " Use send-now to send it now." if request.status is RequestStatus.QUEUED else ""
        raise StateConflict(
            f"The request is {request.status}. Only a rejected, failed, unknown or cancelled request can be retried."
            f"{remedy}"
        )
    record_action(connection, request.id, "retry", actor, reason)


def cancel(connection: Connection, request: Request, provider: Provider | None, actor: str, reason: str | None) -> None:
    """Remove a request from the queue; call within a transaction.

    Raises:
        StateConflict: the request is not queued, so that it may have been sent already.
    """
    if not cancel_requests(
        connection, [request.id], find_lookup_delays({request.provider: provider} if provider else {})
    ):
        raise StateConflict(f"The request is {request.status}. Only a queued request can be cancelled.")
    record_action(connection, request.id, "cancel", actor, reason)


def send_now(
    connection: Connection, request: Request, provider: Provider | None, actor: str, reason: str | None
) -> None:
    """Make a queued request due now; call within a transaction.

    Neither its failures nor its deadline change, and the provider's limits, pause and circuit still apply.

    Raises:
        StateConflict: the request is not queued, or its provider is not configured any more.
    """
    if provider is None:
        raise StateConflict(f"The provider {request.provider} is not configured. Configure it to send the request.")
    if not send_requests_now(connection, [request.id]):
        raise StateConflict(f"The request is {request.status}. Only a queued request can be sent now.")
    record_action(connection, request.id, "send-now", actor, reason)


def resolve(
    connection: Connection,
    request: Request,
    provider: Provider | None,
    resolution: RequestResolution,
    operator: OperatorAction,
) -> None:
    """Set the status of an unknown request, or of one with a reference conflict; call within a transaction.

    Raises:
        StateConflict: the request is neither of these, its provider is not configured any more, or a reference belongs
            to another request.
    """
    status, references = resolution.status, resolution.references
    if not resolve_requests(connection, [request.id], status, f"resolved by {operator.actor}: {operator.reason}"):
        raise StateConflict(
            f"The request is {request.status}. Only one that is unknown or has a reference conflict can be resolved."
        )
    if references:
        _create_jobs(connection, request, provider, references, operator)
    result = f"{status} as {', '.join(references)}" if references else status
    record_action(connection, request.id, "resolve", operator.actor, f"{result}: {operator.reason}")


def _create_jobs(
    connection: Connection,
    request: Request,
    provider: Provider | None,
    references: Sequence[str],
    operator: OperatorAction,
) -> None:
    """Create a request's jobs by the references that an operator named; their status remains open."""
    if provider is None:
        raise StateConflict(f"The provider {request.provider} is not configured. Configure it to resolve the request.")
    events = [
        provider.build_event(
            StatusReport(reference, None, detail=operator.reason),
            EventSource.OPERATOR,
            uuid7(),
            operator.created_at,
            request_id=request.id,
            poll_after=0.0,
            notify=request.notify_url is not None,
        )
        for reference in references
    ]
    conflicts = reconcile(connection, [replace(event, actor=operator.actor) for event in events])
    if conflicts:
        conflict = conflicts[0]
        raise StateConflict(
            f"The reference of job {conflict.job_id} belongs to request {conflict.owner_id}. Check the references."
        )
    if provider.poller:
        schedule_polls_now(connection, [event.job_id for event in events])
