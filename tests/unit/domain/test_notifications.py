"""The statuses of notifications and of their requests."""

from receiver.domain.notifications import NotificationStatus, get_status
from receiver.domain.sending import RequestStatus


def test_every_request_status_is_a_notification_status() -> None:
    assert {get_status(status) for status in RequestStatus} == set(NotificationStatus)


def test_request_statuses_of_a_filter_are_complete() -> None:
    found = [request_status for status in NotificationStatus for request_status in status.request_statuses]
    assert sorted(found) == sorted(RequestStatus)
    assert NotificationStatus.DELIVERED.request_statuses == [RequestStatus.ACCEPTED, RequestStatus.COMPLETED]
