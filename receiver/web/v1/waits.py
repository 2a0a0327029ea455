"""`Prefer: wait=SECONDS` (RFC 7240): how long a client lets the service wait before it responds."""

import re

from flask import request

from receiver.web.waiting import MAX_WAIT_S

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=[,;]|$)", re.IGNORECASE | re.ASCII)
PREFER = (
    "`wait=SECONDS` (RFC 7240) delays the response until {event}, by "
    f"{MAX_WAIT_S:.0f} seconds at most; `Preference-Applied` has the number of seconds."
)
"""The description of the header, to format with the `event` that is waited for."""


def parse_wait() -> float | None:
    """Return the seconds that the current call prefers to wait, at most `MAX_WAIT_S`; None without a preference."""
    preference = _WAIT.search(request.headers.get("Prefer", ""))
    return min(float(preference[1]), MAX_WAIT_S) if preference else None
