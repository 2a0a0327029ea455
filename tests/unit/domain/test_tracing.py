"""Trace context: which headers are valid, and what is sent on."""

from uuid import UUID

import pytest

from receiver.domain.tracing import build_child, derive_span_id, parse_traceparent

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE_ID}-{PARENT_ID}-01"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VALID, VALID),
        (f" {VALID}\t", VALID),
        (f"00-{TRACE_ID}-{PARENT_ID}-00", f"00-{TRACE_ID}-{PARENT_ID}-00"),
        (f"00-{TRACE_ID}-{PARENT_ID}-ff", f"00-{TRACE_ID}-{PARENT_ID}-03"),
        (f"cc-{TRACE_ID}-{PARENT_ID}-01-what-the-future-brings", VALID),
        (f"cc-{TRACE_ID}-{PARENT_ID}-01", VALID),
    ],
)
def test_valid_traceparent_is_read(value: str, expected: str) -> None:
    assert parse_traceparent(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        VALID.upper(),
        f"{VALID}-",
        f"{VALID},{VALID}",
        f"{VALID}\r\nX: y",
        f"cc-{TRACE_ID}-{PARENT_ID}-01.what",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[1:]}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-0x",
    ],
)
def test_invalid_traceparent_is_ignored(value: str | None) -> None:
    assert parse_traceparent(value) is None


def test_child_is_in_the_same_trace() -> None:
    span_id = derive_span_id(UUID("018f0000-0000-7000-8123-456789abcdef"))
    assert span_id == "8123456789abcdef"
    assert build_child(VALID, span_id) == f"00-{TRACE_ID}-{span_id}-01"
    assert parse_traceparent(build_child(VALID, span_id)) is not None
