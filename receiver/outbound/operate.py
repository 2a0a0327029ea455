"""What an operator may do about requests and providers: retry, cancel, pause, resume; each kept with who and why."""

from receiver.domain.errors import StateConflict
from receiver.providers.base import Provider
from receiver.store.actions import keep_action
from receiver.store.database import Connection
from receiver.store.providers import pause_provider, resume_provider
from receiver.store.requests import Request, cancel_request, retry_request


def retry(connection: Connection, request: Request, provider: Provider | None, by: str, reason: str | None) -> None:
    """Send a request again that ended without being taken; call within a transaction.

    Raises:
        StateConflict: it is under way or was taken, or its provider is not configured any more.
    """
    if provider is None:
        raise StateConflict(f"{request.provider} is not configured; configure it to send the request again")
    if not retry_request(connection, request.id, provider.following.deadline):
        raise StateConflict(
            f"the request is {request.status}; only one that is rejected, failed, unknown or cancelled is sent again"
        )
    keep_action(connection, request.id, "retry", by, reason)


def cancel(connection: Connection, request: Request, by: str, reason: str | None) -> None:
    """Take a request out of the queue; call within a transaction.

    Raises:
        StateConflict: it is not queued, so that it may have left already.
    """
    if not cancel_request(connection, request.id):
        raise StateConflict(f"the request is {request.status}; only a queued one can be cancelled")
    keep_action(connection, request.id, "cancel", by, reason)


def pause(connection: Connection, name: str, by: str, reason: str | None) -> None:
    """Stop sending to a provider; its requests stay queued. A pause that stands keeps its reason."""
    pause_provider(connection, name, f"paused by {by}{f': {reason}' if reason else ''}")
    keep_action(connection, name, "pause", by, reason)


def resume(connection: Connection, name: str, by: str, reason: str | None) -> None:
    """Send to a provider again."""
    resume_provider(connection, name)
    keep_action(connection, name, "resume", by, reason)
