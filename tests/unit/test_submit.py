"""What makes a request of a submission."""

from typing import Any

import pytest

from receiver.outbound.submit import InvalidSubmission, Submission, prepare_request
from tests.factories import notifier, provider

PAYLOAD = {"client_reference": "c-1", "to": ["2348030000000"], "text": "hello"}


def wanted(**more: Any) -> Submission:
    return Submission("sandbox", "send", PAYLOAD, {}, **more)


def test_a_url_to_be_told_at_is_kept_as_it_was_given() -> None:
    url = "HTTPS://Shop.Example./webhook"
    assert prepare_request({"sandbox": provider()}, wanted(notify_url=url), notifier()).notify_url == url


def test_where_nobody_is_told_a_url_is_refused_and_the_setting_named() -> None:
    with pytest.raises(InvalidSubmission) as caught:
        prepare_request({"sandbox": provider()}, wanted(notify_url="https://shop.example/webhook"))
    assert "RECEIVER_NOTIFY_HOSTS" in caught.value.errors["notify_url"][0]
    assert prepare_request({"sandbox": provider()}, wanted()).notify_url is None
