"""Which outcomes of polls and lookups refuse our credentials or our account."""

import pytest

from receiver.domain.backoff import RetryPolicy
from receiver.domain.responses import ResponseClass
from receiver.domain.sending import NoResponse, NotSent, OnAmbiguous, Outcome, Response, RetryRules
from receiver.exchange.credentials import find_refusal
from tests.support.factories import provider


def find_reason(outcome: Outcome, **classes: ResponseClass) -> str | None:
    """Return the reason of a refusal; `classes` are the provider's `status_codes`, such as `s403`."""
    status_codes = {int(status[1:]): response_class for status, response_class in classes.items()}
    actor = provider(retry_rules=RetryRules(RetryPolicy(), OnAmbiguous.HOLD, status_codes))
    refusal = find_refusal(actor, outcome)
    assert refusal is None or (refusal.provider, refusal.fingerprint) == (actor.name, actor.fingerprint)
    return refusal.reason if refusal else None


def test_401_and_402_refuse_credentials_or_account() -> None:
    refusals = {status for status in range(100, 600) if find_reason(Response(status, {}, b""))}
    assert refusals == {401, 402}


def test_configured_status_refuses_except_404() -> None:
    pause = ResponseClass.PAUSE
    reason = find_reason(Response(403, {}, b""), s403=pause)
    assert reason is not None
    assert reason.startswith("403: Forbidden")
    assert find_reason(Response(404, {}, b""), s404=pause) is None
    assert find_reason(Response(401, {}, b""), s401=ResponseClass.REJECTED) is None


@pytest.mark.parametrize("outcome", [NoResponse("reset", sent=True), NotSent("no slot")])
def test_exchange_without_response_refuses_nothing(outcome: Outcome) -> None:
    assert find_reason(outcome) is None
