"""`/v1/notifications`: list, show and resend webhook notifications, and pause and resume all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.access import Scope
from receiver.domain.filters import NotificationFilter
from receiver.domain.paging import Page
from receiver.operations import notifications as operations
from receiver.providers.webhook import PROVIDER_NAME
from receiver.schemas.api import notifications as schemas
from receiver.store.connections import Connection
from receiver.store.notifications import Notification, list_notifications
from receiver.store.providers import find_pauses
from receiver.store.requests import find_request_details
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields, require_provider, restrict_filter
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.blueprint import api

_NOTIFICATION = schemas.NotificationDetailSchema()
_STATE = schemas.NotificationStateSchema()
_NOT_FOUND = "No such notification."


@dataclass(frozen=True, slots=True)
class _NotificationPage(Page[Notification]):
    """A page of notifications, and whether the sending of notifications is paused; `paused_at` is UTC."""

    paused: bool = False
    paused_at: datetime | None = None
    pause_reason: str | None = None


@api.operation(
    "GET",
    "/notifications",
    Scope.READ,
    schemas.NotificationListSchema(),
    own_scope=Scope.SUBMIT,
    query=schemas.NotificationQuerySchema(),
)
def browse_notifications(query: dict[str, Any]) -> _NotificationPage:
    """List webhook notifications, newest first, each with its last attempt."""
    notification_filter, client = restrict_filter(query["filter"]), current_caller().own_client

    def read(connection: Connection) -> _NotificationPage:
        page = list_notifications(connection, notification_filter, query["page"], client=client)
        return _NotificationPage(page.items, page.next_cursor, **_build_state(connection))

    return current_context().reader.read(read)


@api.operation(
    "GET",
    "/notifications/<uuid:notification_id>",
    Scope.READ,
    _NOTIFICATION,
    own_scope=Scope.SUBMIT,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def show_notification(notification_id: UUID) -> Mapping[str, Any]:
    """Show a notification with its body, its attempts, and the actions of operators."""
    with current_context().database.connection() as connection:
        return _build_detail(connection, notification_id)


@api.action(
    "/notifications/<uuid:notification_id>/resend",
    Scope.SUBMIT,
    _NOTIFICATION,
    status=202,
    problems={
        ProblemType.NOT_FOUND: _NOT_FOUND,
        ProblemType.STATE_CONFLICT: "The notification is being sent. Wait for the end of this attempt.",
    },
)
def resend_notification(notification_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Send a notification again, or now if it is queued.

    Its body and its `webhook-id` stay the same. It gets a new set of attempts, for three days.
    """
    with current_context().database.transaction() as connection:
        notification = _find_notification(connection, notification_id)
        provider = current_context().settings.notify_provider
        operations.resend(connection, notification, provider, current_caller().name, body["reason"])
        return _build_detail(connection, notification_id)


@api.action("/notifications/pause", Scope.ADMIN, _STATE, problems={})
def pause_notifications(body: dict[str, Any]) -> Mapping[str, Any]:
    """Stop sending notifications; they stay queued. If they are already paused, the first reason stays."""
    require_provider(PROVIDER_NAME)
    with current_context().database.transaction() as connection:
        operations.pause(connection, current_caller().name, body["reason"])
        return _build_state(connection)


@api.action("/notifications/resume", Scope.ADMIN, _STATE, problems={})
def resume_notifications(body: dict[str, Any]) -> Mapping[str, Any]:
    """Resume sending notifications."""
    require_provider(PROVIDER_NAME)
    with current_context().database.transaction() as connection:
        operations.resume(connection, current_caller().name, body["reason"])
        return _build_state(connection)


def _find_notification(connection: Connection, notification_id: UUID) -> Notification:
    found = list_notifications(connection, NotificationFilter(ids=[notification_id])).items
    if not found or not current_caller().can_see(found[0].provider or "", found[0].client):
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return found[0]


def _build_detail(connection: Connection, notification_id: UUID) -> Mapping[str, Any]:
    notification = _find_notification(connection, notification_id)
    [request] = find_request_details(connection, [notification_id])
    return extend_fields(
        notification, body=(request.payload or {}).get("body"), attempts=request.attempts, actions=request.actions
    )


def _build_state(connection: Connection) -> dict[str, Any]:
    pause = next((pause for pause in find_pauses(connection) if pause.name == PROVIDER_NAME), None)
    return {
        "paused": pause is not None,
        "paused_at": pause and pause.paused_at,
        "pause_reason": pause and pause.pause_reason,
    }
