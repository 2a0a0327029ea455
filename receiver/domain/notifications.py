"""Webhook notifications: what clients are notified of, and the statuses of notifications."""

from collections.abc import Sequence
from enum import StrEnum

from receiver.domain.sending import RequestStatus


class NotificationType(StrEnum):
    """The `type` in the body of a notification, which is also the operation of its request."""

    REQUEST_FINISHED = "request.finished"


class NotificationStatus(StrEnum):
    """The status of a notification. `REJECTED`: the client responded with 410; `FAILED`: it was never acknowledged."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def request_statuses(self) -> Sequence[RequestStatus]:
        """The statuses of the requests that are notifications with this status."""
        return [request_status for request_status in RequestStatus if get_status(request_status) is self]


def get_status(request_status: RequestStatus) -> NotificationStatus:
    """Return the status of the notification that is a request with a status."""
    match request_status:
        case RequestStatus.COMPLETED | RequestStatus.ACCEPTED:
            return NotificationStatus.DELIVERED
        case RequestStatus.UNKNOWN:
            return NotificationStatus.FAILED
        case _:
            return NotificationStatus(request_status.value)
