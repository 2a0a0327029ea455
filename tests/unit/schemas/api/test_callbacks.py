"""The query of a list of callbacks, and a callback in a response."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from receiver.domain.callbacks import VERDICTS
from receiver.domain.filters import CallbackFilter
from receiver.domain.paging import PageRequest
from receiver.schemas.api.callbacks import CallbackEventSchema, CallbackQuerySchema, CallbackSummarySchema
from receiver.store.callbacks import CallbackSummary, Verdict
from tests.support.factories import NOON, event


def test_query_loads_to_filter_and_page() -> None:
    query = {"provider": "acme", "verdict": "refused", "received_from": "2026-11-23T14:00:00+01:00", "limit": "7"}
    loaded = CallbackQuerySchema().load(query)
    received_from = datetime(2026, 11, 23, 13, tzinfo=UTC)
    assert loaded["filter"] == CallbackFilter(providers=["acme"], verdict="refused", received_from=received_from)
    assert loaded["page"] == PageRequest(None, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "lost"),
        ("provider", "ACME"),
        ("received_to", "1d"),
        ("limit", "0"),
        ("cursor", "x"),
        ("colour", "1"),
    ],
)
def test_invalid_query_is_rejected_by_parameter(name: str, value: str) -> None:
    assert CallbackQuerySchema().validate({name: value}).keys() == {name}


def test_every_verdict_can_be_filtered_by() -> None:
    assert set(VERDICTS) == set(Verdict)


def test_event_is_dumped_with_its_place_in_the_body() -> None:
    reported = replace(event("ref-1", at=5), position=3, callback_id=UUID(int=7), detail="all well")
    assert CallbackEventSchema().dump(reported) == {
        "position": 3,
        "job_id": str(reported.job_id),
        "reference": "ref-1",
        "status": "succeeded",
        "provider_status": None,
        "code": None,
        "detail": "all well",
        "occurred_at": None,
        "received_at": "2026-11-23T12:00:05+00:00",
        "callback_id": str(UUID(int=7)),
    }


def test_summary_is_dumped_with_its_errors() -> None:
    summary = CallbackSummary(UUID(int=7), "acme", NOON, Verdict.INVALID, "POST", {"id": ["missing"]})
    assert CallbackSummarySchema().dump(summary) == {
        "id": str(UUID(int=7)),
        "provider": "acme",
        "account": None,
        "received_at": "2026-11-23T12:00:00+00:00",
        "verdict": "invalid",
        "method": "POST",
        "errors": {"id": ["missing"]},
    }
