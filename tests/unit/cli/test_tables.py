"""The columns of tables: values that are computed from several fields of an item."""

from collections.abc import Sequence
from typing import Any

import pytest

from receiver.cli.cells import Column
from receiver.cli.tables import EVENTS, KEYS, PROVIDERS, format_errors, format_flags
from receiver.store.stats import ATTENTION_KINDS

PROVIDER: dict[str, Any] = {
    "circuit": "closed",
    "held_until": None,
    "per_second": 10.0,
    "max_per_second": 10.0,
    "missing_callback_rate": None,
    "attention": dict.fromkeys(ATTENTION_KINDS, 0),
    "configured": True,
    "paused": False,
}


def format_cell(columns: Sequence[Column], name: str, item: dict[str, Any]) -> str:
    [column] = [column for column in columns if column.name == name]
    return column.format(item)


@pytest.mark.parametrize(
    ("disputed", "unmatched", "flags"),
    [(False, False, ""), (True, False, "disputed"), (True, True, "disputed, unmatched")],
)
def test_flags_of_job_are_listed(disputed: bool, unmatched: bool, flags: str) -> None:
    assert format_flags({"disputed": disputed, "unmatched": unmatched}) == flags


def test_errors_of_callback_have_their_places() -> None:
    assert format_errors({"errors": {"results": {"1": {"id": ["missing"]}}, "at": ["late"]}}) == (
        "results.1.id: missing; at: late"
    )
    assert format_errors({"errors": None}) == ""


def test_attention_lists_most_urgent_kind_first() -> None:
    counts = PROVIDER["attention"] | {"invalid": 3, "unknown": 1, "reference_conflict": 2}
    cell = format_cell(PROVIDERS, "attention", PROVIDER | {"attention": counts})
    assert cell == "1 unknown, 2 reference conflict, 3 invalid"
    assert format_cell(PROVIDERS, "attention", PROVIDER) == ""


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("active", {}),
        ("paused", {"paused": True}),
        ("unconfigured", {"configured": False}),
        ("unconfigured", {"configured": False, "paused": True}),
    ],
)
def test_state_of_provider_tells_whether_it_is_sent_to(state: str, change: dict[str, Any]) -> None:
    assert format_cell(PROVIDERS, "state", PROVIDER | change) == state


def test_limits_explain_why_less_is_sent() -> None:
    limited = {"circuit": "half_open", "held_until": "2026-11-23T12:00:05.6+00:00", "per_second": 2.5}
    assert format_cell(PROVIDERS, "limits", PROVIDER | limited) == (
        "circuit half-open, held until 2026-11-23T12:00:05Z, 2.5 per second"
    )
    assert format_cell(PROVIDERS, "limits", PROVIDER) == ""


def test_missing_callbacks_are_a_percentage() -> None:
    assert format_cell(PROVIDERS, "missing callbacks", PROVIDER | {"missing_callback_rate": 0.125}) == "12.5%"
    assert format_cell(PROVIDERS, "missing callbacks", PROVIDER) == ""


def test_key_without_providers_is_for_all() -> None:
    assert format_cell(KEYS, "providers", {"providers": None}) == "all"
    assert format_cell(KEYS, "providers", {"providers": ["acme", "other"]}) == "acme, other"


def test_provider_status_is_shown_with_its_code() -> None:
    assert format_cell(EVENTS, "provider status", {"provider_status": "ACK", "code": "1801"}) == "ACK / 1801"
    assert format_cell(EVENTS, "provider status", {"provider_status": None, "code": "1801"}) == "1801"


@pytest.mark.parametrize(
    ("code", "cell"), [("1800", "RECEIVED / 1800"), ("RECEIVED", "RECEIVED"), (None, "RECEIVED"), ("", "RECEIVED")]
)
def test_code_that_repeats_the_status_is_shown_once(code: str | None, cell: str) -> None:
    assert format_cell(EVENTS, "provider status", {"provider_status": "RECEIVED", "code": code}) == cell
