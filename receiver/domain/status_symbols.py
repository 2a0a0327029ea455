"""The shape, the word and the meaning with which pages, charts and the terminal show a status.

A status is readable without colour: within a kind, each status has a shape of its own. All shapes are one column wide.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class StatusMeaning(StrEnum):
    """What a status means to its reader, from which follows its colour.

    `GOOD`: as wanted; `BAD`: not as wanted; `WAITING`: no outcome, and nothing to do; `DOUBTFUL`: a person should look.
    """

    GOOD = "good"
    BAD = "bad"
    WAITING = "waiting"
    DOUBTFUL = "doubtful"


class StatusKind(StrEnum):
    """What has the status. The same status may mean different things: a callback that is accepted is done."""

    REQUEST = "request"
    JOB = "job"
    FLAG = "flag"
    VERDICT = "verdict"
    EFFECT = "effect"
    PROVIDER = "provider"
    CIRCUIT = "circuit"
    NOTIFICATION = "notification"


class StatusSymbol(NamedTuple):
    """How a status is shown."""

    shape: str
    word: str
    meaning: StatusMeaning


_Table = Mapping[str, tuple[str, StatusMeaning]]

_GOOD, _BAD, _WAITING, _DOUBTFUL = StatusMeaning
_OTHER_SHAPE = "·"

_SHAPES: Mapping[StatusKind, _Table] = {
    StatusKind.REQUEST: {
        "queued": ("◌", _WAITING),
        "sending": ("→", _WAITING),
        "accepted": ("○", _WAITING),
        "completed": ("●", _GOOD),
        "rejected": ("⊘", _BAD),
        "failed": ("✕", _BAD),
        "unknown": ("?", _DOUBTFUL),
        "cancelled": ("–", _WAITING),
    },
    StatusKind.JOB: {
        "accepted": ("○", _WAITING),
        "in_progress": ("◐", _WAITING),
        "unresolved": ("?", _DOUBTFUL),
        "succeeded": ("●", _GOOD),
        "failed": ("✕", _BAD),
    },
    StatusKind.FLAG: {
        "disputed": ("≠", _DOUBTFUL),
        "unmatched": ("∅", _DOUBTFUL),
    },
    StatusKind.VERDICT: {
        "accepted": ("✓", _GOOD),
        "duplicate": ("=", _WAITING),
        "invalid": ("!", _BAD),
        "unmapped": ("~", _DOUBTFUL),
        "refused": ("⊘", _BAD),
    },
    StatusKind.EFFECT: {
        "applied": ("✓", _GOOD),
        "duplicate": ("=", _WAITING),
        "stale": ("–", _WAITING),
        "disputed": ("≠", _DOUBTFUL),
    },
    StatusKind.PROVIDER: {
        "active": ("✓", _GOOD),
        "paused": ("‖", _DOUBTFUL),
        "unconfigured": ("□", _DOUBTFUL),
    },
    StatusKind.CIRCUIT: {
        "closed": ("✓", _GOOD),
        "half_open": ("◑", _DOUBTFUL),
        "open": ("✕", _BAD),
    },
    StatusKind.NOTIFICATION: {
        "queued": ("◌", _WAITING),
        "sending": ("→", _WAITING),
        "delivered": ("●", _GOOD),
        "rejected": ("⊘", _BAD),
        "failed": ("✕", _BAD),
        "cancelled": ("–", _WAITING),
    },
}

STATUS_SYMBOLS: Mapping[StatusKind, Mapping[str, StatusSymbol]] = {
    kind: {
        status: StatusSymbol(shape, status.replace("_", " "), meaning) for status, (shape, meaning) in statuses.items()
    }
    for kind, statuses in _SHAPES.items()
}
"""The symbols of all statuses, by kind, in the order in which lists and legends show them."""


def get_status_symbol(kind: StatusKind, status: str) -> StatusSymbol:
    """Return how a status is shown. One that is not in the table, as of a newer service, has a neutral shape."""
    symbol = STATUS_SYMBOLS[kind].get(status)
    return symbol or StatusSymbol(_OTHER_SHAPE, status.replace("_", " "), _WAITING)
