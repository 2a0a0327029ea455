"""Samples of catalog entries: their examples, with the statuses of the user's table."""

from dataclasses import replace

import pytest

from receiver.providers.capabilities import NoSample
from receiver.providers.catalog.entries import load_entry
from receiver.providers.catalog.samples import CatalogSamples
from receiver.providers.registry import build_provider
from tests.support.factories import NOON

TABLE = {"kind": "twilio", "account_sid": "AC1", "auth_token": "a-twilio-token"}
"""A user's table of an entry."""


def test_sample_is_the_example_of_the_entry() -> None:
    samples = build_provider("phone", TABLE).samples
    assert samples
    example = load_entry("twilio").examples.build_callback("/c", "delivered", NOON, "ref-1")
    assert samples.build("/c", "ref-1", "delivered", NOON, "id") == example


def test_statuses_are_those_of_the_users_table() -> None:
    samples = build_provider("phone", {**TABLE, "callback": {"statuses": {"vanished": "failed"}}}).samples
    assert samples
    assert {"delivered", "vanished"} <= {*samples.statuses}


def test_status_without_example_has_no_sample() -> None:
    examples = replace(load_entry("twilio").examples, callbacks=[])
    with pytest.raises(NoSample, match="no example of a callback with the status sent"):
        CatalogSamples(["sent"], examples).build("/c", "ref-1", "sent", NOON, "id")
