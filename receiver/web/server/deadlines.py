"""How long a connection may wait for its client; pure."""

from enum import Enum, auto

from receiver.domain.connections import ConnectionLimits
from receiver.web.server.errors import CutReason

_GRACE_SHARE = 3


class Phase(Enum):
    """What a connection does. In each phase but `HANDLING` it waits for its client."""

    IDLE = auto()
    HEADERS = auto()
    BODY = auto()
    HANDLING = auto()
    RESPONSE = auto()


_TIMEOUT_REASONS = {
    Phase.IDLE: CutReason.IDLE,
    Phase.HEADERS: CutReason.HEADER_TIMEOUT,
    Phase.BODY: CutReason.BODY_TIMEOUT,
    Phase.RESPONSE: CutReason.RESPONSE_TIMEOUT,
}


def find_expiry(limits: ConnectionLimits, phase: Phase, waited: float, transferred: int) -> CutReason | None:
    """Return why a connection must be cut now, or None.

    Args:
        limits: the limits of the process.
        phase: what the connection waits for.
        waited: seconds since the phase began.
        transferred: bytes that have arrived, or that the client has taken, since the phase began.
    """
    timeout = get_timeout(limits, phase)
    if waited >= timeout:
        return _TIMEOUT_REASONS[phase]
    has_rate = phase in {Phase.BODY, Phase.RESPONSE}
    if has_rate and waited >= timeout / _GRACE_SHARE and transferred < limits.min_rate * waited:
        return _TIMEOUT_REASONS[phase]
    return None


def get_timeout(limits: ConnectionLimits, phase: Phase) -> float:
    """Return how many seconds a phase may last."""
    match phase:
        case Phase.IDLE:
            return limits.idle_timeout
        case Phase.HEADERS:
            return limits.header_timeout
        case Phase.BODY:
            return limits.body_timeout
        case Phase.RESPONSE:
            return limits.response_timeout
    return float("inf")
