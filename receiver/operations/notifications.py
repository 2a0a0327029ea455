"""Operators' actions on webhook notifications: send again, pause and resume."""

from receiver.domain.errors import StateConflict
from receiver.operations import providers
from receiver.providers.base import Provider
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.notifications import Notification, resend_notification


def resend(
    connection: Connection, notification: Notification, provider: Provider | None, actor: str, reason: str | None
) -> None:
    """Send a notification again, with the same `webhook-id`, or now if it is queued; call within a transaction.

    Raises:
        StateConflict: it is being sent, its body is no longer stored, or notifications are disabled.
    """
    if provider is None:
        raise StateConflict(
            "Webhook notifications are disabled. List the allowed hosts in RECEIVER_NOTIFY_HOSTS to resend it."
        )
    if notification.url is None:
        raise StateConflict("The body of the notification is no longer stored, so it cannot be sent again.")
    if not resend_notification(connection, notification.id, provider.deadline):
        raise StateConflict("The notification is being sent. Wait for the end of this attempt.")
    record_action(connection, notification.id, "resend", actor, reason)


def pause(connection: Connection, actor: str, reason: str | None) -> None:
    """Stop sending notifications; they stay queued."""
    providers.pause(connection, PROVIDER_NAME, actor, reason)


def resume(connection: Connection, actor: str, reason: str | None) -> None:
    """Resume sending notifications."""
    providers.resume(connection, PROVIDER_NAME, actor, reason)
