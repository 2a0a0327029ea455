"""How long a connection may wait for its client."""

import pytest

from receiver.domain.connections import ConnectionLimits
from receiver.web.server.deadlines import Phase, find_expiry
from receiver.web.server.errors import CutReason

LIMITS = ConnectionLimits(
    idle_timeout=5.0, header_timeout=10.0, body_timeout=30.0, response_timeout=60.0, min_rate=1_000
)
TIMEOUTS = {
    Phase.IDLE: (5.0, CutReason.IDLE),
    Phase.HEADERS: (10.0, CutReason.HEADER_TIMEOUT),
    Phase.BODY: (30.0, CutReason.BODY_TIMEOUT),
    Phase.RESPONSE: (60.0, CutReason.RESPONSE_TIMEOUT),
}


@pytest.mark.parametrize("phase", TIMEOUTS)
def test_phase_ends_at_its_timeout(phase: Phase) -> None:
    timeout, reason = TIMEOUTS[phase]
    plenty = 1 << 30
    assert find_expiry(LIMITS, phase, timeout - 0.1, plenty) is None
    assert find_expiry(LIMITS, phase, timeout, plenty) is reason


@pytest.mark.parametrize("phase", [Phase.BODY, Phase.RESPONSE])
def test_slow_transfer_ends_after_a_third_of_its_timeout(phase: Phase) -> None:
    timeout, reason = TIMEOUTS[phase]
    waited = timeout / 3
    assert find_expiry(LIMITS, phase, waited - 0.1, 0) is None
    assert find_expiry(LIMITS, phase, waited, int(1_000 * waited) - 1) is reason
    assert find_expiry(LIMITS, phase, waited, int(1_000 * waited)) is None
    assert find_expiry(LIMITS, phase, timeout - 0.1, int(1_000 * waited)) is reason


def test_app_has_no_deadline() -> None:
    assert find_expiry(LIMITS, Phase.HANDLING, 1e9, 0) is None
