"""Actions on many requests: which statuses they apply to, and which calls are the same."""

from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.domain.filters import RequestFilter
from receiver.domain.sending import RequestStatus
from tests.support.factories import NOON

FILTER = RequestFilter(providers=["acme", "globex"], created_from=NOON, metadata={"campaign": "spring"})
CALL = BulkCall("shop", None, BulkActionKind.CANCEL, FILTER)


def test_no_action_applies_to_a_request_that_is_sent_or_accepted() -> None:
    statuses = {status for kind in BulkActionKind for status in kind.statuses}
    assert statuses == set(RequestStatus) - {RequestStatus.SENDING, RequestStatus.COMPLETED}


def test_digest_does_not_depend_on_the_order_of_providers() -> None:
    same = replace(FILTER, providers=["globex", "acme"], metadata={"campaign": "spring"})
    assert replace(CALL, request_filter=same).digest == CALL.digest


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, client="kiosk"),
        replace(CALL, own_client="shop"),
        replace(CALL, kind=BulkActionKind.RESOLVE, status=RequestStatus.FAILED),
        replace(CALL, kind=BulkActionKind.RESOLVE, status=RequestStatus.REJECTED),
        replace(CALL, request_filter=replace(FILTER, providers=["acme"])),
        replace(CALL, request_filter=replace(FILTER, providers=None)),
        replace(CALL, request_filter=replace(FILTER, created_from=NOON + timedelta(seconds=1))),
        replace(CALL, request_filter=replace(FILTER, metadata={})),
    ],
)
def test_digest_differs_for_another_call(other: BulkCall) -> None:
    assert other.digest != CALL.digest
