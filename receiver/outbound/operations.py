"""What an operator may do about requests and providers, each kept with who and why.

Retry, cancel and resolve a request; pause and resume a provider.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import EventSource, StatusReport
from receiver.domain.sending import RequestStatus
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.database import Connection
from receiver.store.jobs import schedule_polls_now
from receiver.store.providers import pause_provider, resume_provider
from receiver.store.requests import Request, cancel_request, retry_request
from receiver.store.unknown_requests import resolve_request


@dataclass(frozen=True, slots=True)
class RequestResolution:
    """An operator's word on what became of a request; of an accepted one `references` name the jobs."""

    status: RequestStatus
    references: Sequence[str]


def retry(connection: Connection, request: Request, provider: Provider | None, actor: str, reason: str | None) -> None:
    """Send a request again that ended without being taken; call within a transaction.

    Raises:
        StateConflict: it is under way or was taken, or its provider is not configured any more.
    """
    if provider is None:
        raise StateConflict(f"{request.provider} is not configured; configure it to send the request again")
    if not retry_request(connection, request.id, provider.poll_policy.deadline):
        raise StateConflict(
            f"the request is {request.status}; only one that is rejected, failed, unknown or cancelled is sent again"
        )
    record_action(connection, request.id, "retry", actor, reason)


def cancel(connection: Connection, request: Request, provider: Provider | None, actor: str, reason: str | None) -> None:
    """Take a request out of the queue; call within a transaction.

    Raises:
        StateConflict: it is not queued, so that it may have left already.
    """
    if not cancel_request(connection, request.id, provider.first_lookup_after if provider else None):
        raise StateConflict(f"the request is {request.status}; only a queued one can be cancelled")
    record_action(connection, request.id, "cancel", actor, reason)


def resolve(
    connection: Connection,
    request: Request,
    provider: Provider | None,
    resolution: RequestResolution,
    operator: OperatorAction,
) -> None:
    """Say what became of a request of which nobody knew; call within a transaction.

    Raises:
        StateConflict: it is not unknown, its provider is not configured any more, or a reference is another request's.
    """
    status, references = resolution.status, resolution.references
    if not resolve_request(connection, request.id, status, f"resolved by {operator.actor}: {operator.reason}"):
        raise StateConflict(f"the request is {request.status}; only an unknown one is resolved")
    if references:
        _tie(connection, request, provider, references, operator)
    told = f"{status} as {', '.join(references)}" if references else status
    record_action(connection, request.id, "resolve", operator.actor, f"{told}: {operator.reason}")


def _tie(
    connection: Connection,
    request: Request,
    provider: Provider | None,
    references: Sequence[str],
    operator: OperatorAction,
) -> None:
    """Give a request its jobs by an operator's word, which says nothing of their status."""
    if provider is None:
        raise StateConflict(f"{request.provider} is not configured; configure it to follow the request's jobs")
    events = [
        provider.event(
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
        first = conflicts[0]
        raise StateConflict(f"the reference of job {first.job_id} is of request {first.owner_id} already")
    if provider.can_poll:
        schedule_polls_now(connection, [event.job_id for event in events])


def pause(connection: Connection, name: str, actor: str, reason: str | None) -> None:
    """Stop sending to a provider; its requests stay queued. A pause that stands keeps its reason."""
    pause_provider(connection, name, f"paused by {actor}{f': {reason}' if reason else ''}")
    record_action(connection, name, "pause", actor, reason)


def resume(connection: Connection, name: str, actor: str, reason: str | None) -> None:
    """Send to a provider again."""
    resume_provider(connection, name)
    record_action(connection, name, "resume", actor, reason)
