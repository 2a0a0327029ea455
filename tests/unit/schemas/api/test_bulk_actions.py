"""Actions on many requests: the schema and its JSON Schema accept the same bodies, and what a filter loads to."""

from collections.abc import Mapping
from typing import Any

import pytest

from receiver.domain.filters import RequestFilter
from receiver.domain.sending import RequestStatus
from receiver.schemas.api.bulk_actions import BulkActionSchema
from tests.support.json_schemas import assert_schemas_agree

TOKEN = "018f0000-0000-7000-8000-000000000000"
PREVIEW = {"action": "cancel", "filter": {}, "dry_run": True}
RESOLUTION = {**PREVIEW, "action": "resolve", "status": "rejected", "reason": "seen"}
EXECUTION = {"action": "cancel", "filter": {}, "token": TOKEN}
BODIES: list[tuple[Any, bool]] = [
    (PREVIEW, True),
    (PREVIEW | {"token": None, "reason": None, "status": None}, True),
    (PREVIEW | {"token": TOKEN}, False),
    (PREVIEW | {"dry_run": False}, False),
    (PREVIEW | {"dry_run": 1}, False),
    (PREVIEW | {"dry_run": "true"}, False),
    (PREVIEW | {"action": "delete"}, False),
    (PREVIEW | {"status": "rejected"}, False),
    (PREVIEW | {"filter": None}, False),
    (PREVIEW | {"filter": {"metadata": {"campaign": "spring"}, "status": "queued"}}, True),
    (PREVIEW | {"filter": {"metadata": {"order": 7}}}, False),
    (PREVIEW | {"filter": {"metadata.order": "7", "metadata[line]": "8", "metadata": {"gift": "true"}}}, True),
    (PREVIEW | {"filter": {"metadata.order": 7}}, False),
    (PREVIEW | {"filter": {"metadata.": "7"}}, False),
    (PREVIEW | {"filter": {"metadata[order": "7"}}, False),
    (PREVIEW | {"filter": {f"metadata[{'x' * 101}]": "7"}}, False),
    (PREVIEW | {"filter": {"metadata.order": "x" * 501}}, False),
    (PREVIEW | {"filter": {"metadata": "order"}}, False),
    (PREVIEW | {"filter": ["metadata.order"]}, False),
    (PREVIEW | {"filter": {"account": "north"}}, False),
    (PREVIEW | {"filter": {"account": "north", "provider": None}}, False),
    (PREVIEW | {"filter": {"account": "north", "provider": "acme"}}, True),
    (PREVIEW | {"filter": {"cursor": "a"}}, False),
    (PREVIEW | {"filter": {"reference_conflict": True}}, True),
    (PREVIEW | {"filter": {"reference_conflict": "true"}}, False),
    (EXECUTION, True),
    (EXECUTION | {"dry_run": False}, True),
    (EXECUTION | {"token": None}, False),
    ({"action": "cancel", "filter": {}}, False),
    (RESOLUTION, True),
    (RESOLUTION | {"status": "accepted"}, False),
    (RESOLUTION | {"status": None}, False),
    (RESOLUTION | {"reason": None}, False),
]


@pytest.mark.parametrize(("body", "valid"), BODIES)
def test_action_schema_accepts_exactly_valid_bodies(body: Any, valid: bool) -> None:
    assert_schemas_agree(BulkActionSchema(), body, valid=valid)


@pytest.mark.parametrize(
    "metadata",
    [
        {"metadata": {"campaign": "spring"}},
        {"metadata.campaign": "spring"},
        {"metadata[campaign]": "spring"},
        {"metadata[campaign]": "spring", "metadata.campaign": "spring"},
    ],
)
def test_filter_loads_like_that_of_the_list(metadata: Mapping[str, Any]) -> None:
    body = PREVIEW | {"filter": {"status": "queued", "provider": "acme", **metadata}}
    assert BulkActionSchema().load(body)["filter"] == RequestFilter(
        status=RequestStatus.QUEUED, providers=["acme"], metadata={"campaign": "spring"}
    )
