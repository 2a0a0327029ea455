"""Trace context, as W3C Trace Context defines it: which trace a request belongs to, and its parent in the trace.

See https://www.w3.org/TR/trace-context/. A trace is only carried on, never begun here.
"""

import re
from uuid import UUID

TRACEPARENT = "traceparent"
_VERSION = "00"
_KNOWN_FLAGS = 0b11  # sampled, and random trace id
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse_traceparent(value: str | None) -> str | None:
    """Return the value of the header in the version that is written here; None if it is invalid, and so ignored."""
    match = _TRACEPARENT.fullmatch(value.strip()) if value else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, extension = match.groups()
    if version == _VERSION and extension:
        return None
    return f"{_VERSION}-{trace_id}-{parent_id}-{int(flags, 16) & _KNOWN_FLAGS:02x}"


def derive_span_id(attempt_id: UUID) -> str:
    """Return the id of the span of an attempt."""
    return attempt_id.hex[16:]


def build_child(traceparent: str, span_id: str) -> str:
    """Return the header of what is sent within a span whose parent is `traceparent`."""
    return f"{traceparent[:36]}{span_id}{traceparent[52:]}"
