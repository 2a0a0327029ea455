"""Building requests from submissions."""

from dataclasses import replace
from typing import Any

import pytest

from receiver.outbound.submit import InvalidSubmission, Submission, prepare_request
from tests.support.factories import notify_provider, provider

PAYLOAD = {"client_reference": "c-1", "to": ["2348030000000"], "text": "hello"}


def build_submission(**overrides: Any) -> Submission:
    return Submission("sandbox", "send", PAYLOAD, {}, **overrides)


def test_notify_url_is_stored_unchanged() -> None:
    url = "HTTPS://Shop.Example./webhook"
    assert (
        prepare_request(
            {"sandbox": provider()}, build_submission(notify_url=url), notify_provider().target_rules
        ).notify_url
        == url
    )


def test_notify_url_is_refused_if_notifications_are_disabled() -> None:
    with pytest.raises(InvalidSubmission) as error:
        prepare_request({"sandbox": provider()}, build_submission(notify_url="https://shop.example/webhook"))
    assert "RECEIVER_NOTIFY_HOSTS" in error.value.errors["notify_url"][0]
    assert prepare_request({"sandbox": provider()}, build_submission()).notify_url is None


def test_operation_is_refused_if_provider_cannot_send() -> None:
    with pytest.raises(InvalidSubmission) as error:
        prepare_request({"sandbox": replace(provider(), sender=None)}, build_submission())
    assert error.value.errors == {"operation": ["Must be one of: none."]}
