"""Notifications: how they are composed and signed, and what receivers' answers mean."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.domain.sending import Attempt, Decision, NoResponse, ParsedResponse, Response
from receiver.domain.sending import RequestStatus as Status
from receiver.providers.webhook import DEADLINE, RETRY
from tests import factories
from tests.factories import NOON, SECRET, notifier

ANOTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
BODY = {"type": "request.finished", "data": {"metadata": {"name": "ü", "amount": 0.1}}}


def attempt(**overrides: object) -> Attempt:
    given = {"provider": "notify", "operation": "notify", "payload": {"url": "https://shop.example/told", "body": BODY}}
    return factories.attempt(**given | overrides)


def judged(outcome: Response | NoResponse, **overrides: object) -> Decision:
    return notifier().case(attempt(**overrides), NOON, 0.5).decide(outcome, ParsedResponse())


def answered(status: int, **headers: str) -> Decision:
    return judged(Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b""))


def test_every_secret_signs_and_the_library_of_standard_webhooks_takes_either() -> None:
    now = datetime.now(UTC).replace(microsecond=999_999)
    made = notifier(secrets=[SECRET, ANOTHER]).compose(attempt(started_at=now), "")
    assert (made.method, made.target) == ("POST", "https://shop.example/told")
    for secret in (SECRET, ANOTHER):
        assert Webhook(secret).verify(made.body, dict(made.headers)) == BODY
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(made.body + b" ", dict(made.headers))
    assert made.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert len(made.headers["webhook-signature"].split()) == 2


def test_what_is_told_again_has_the_same_id_and_body_and_the_time_of_its_own_attempt() -> None:
    first = attempt()
    again = replace(first, started_at=NOON + timedelta(hours=1))
    one, other = (notifier().compose(each, "") for each in (first, again))
    assert one.headers["webhook-id"] == other.headers["webhook-id"] == str(first.request_id)
    assert one.body == other.body
    assert int(other.headers["webhook-timestamp"]) - int(one.headers["webhook-timestamp"]) == 3_600


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_says_that_it_was_taken(status: int) -> None:
    assert answered(status).status is Status.COMPLETED


def test_410_ends_it_for_good() -> None:
    decision = answered(410)
    assert (decision.status, decision.pause) == (Status.REJECTED, None)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 403, 404, 408, 409, 422, 429, 500, 503, 504, 599])
def test_every_other_answer_has_it_told_again_and_pauses_nobody(status: int) -> None:
    decision = answered(status)
    assert (decision.status, decision.retry_in, decision.pause) == (Status.QUEUED, 2.5, None)
    assert (decision.counts_as_attempt, decision.ambiguous) == (True, False)
    assert str(status) in (decision.detail or "")


def test_a_receiver_may_ask_for_time() -> None:
    assert answered(429, retry_after="120").retry_in == 120.0
    assert answered(503, retry_after="Mon, 23 Nov 2026 12:01:00 GMT").retry_in == 60.0


@pytest.mark.parametrize("sent", [True, False])
def test_silence_has_it_told_again_and_leaves_no_doubt(sent: bool) -> None:
    decision = judged(NoResponse("timed out", sent=sent))
    assert (decision.status, decision.ambiguous, decision.detail) == (Status.QUEUED, False, "timed out")


def test_a_lost_worker_has_it_told_again() -> None:
    decision = notifier().case(attempt(), NOON, 0.5).lost()
    assert (decision.status, decision.ambiguous) == (Status.QUEUED, False)


def test_it_fails_when_attempts_or_time_are_used_up() -> None:
    assert judged(NoResponse("refused", sent=False), failures=RETRY.attempts - 1).status is Status.FAILED
    assert judged(Response(500, {}, b""), deadline_at=NOON).status is Status.FAILED


def test_the_attempts_last_about_as_long_as_the_deadline() -> None:
    last = sum(RETRY.delay(failures, 0.5) for failures in range(1, RETRY.attempts))
    assert 0.9 * DEADLINE < last < 1.5 * DEADLINE
    assert mean(RETRY.delay(failures, 0.5) for failures in range(1, 5)) < 20


def test_nobody_can_submit_to_it_and_one_receiver_says_nothing_of_another() -> None:
    assert notifier().operations() == ()
    assert notifier().check_payload("notify", {}, NOON)
    assert not notifier().send_policy.limits.adaptive
    assert not notifier().can_poll


def test_secrets_are_not_shown() -> None:
    assert repr(notifier().keys[0]) not in repr(notifier())
    assert (
        "keys" not in repr(replace(notifier(), callback_settings=notifier().callback_settings)).partition("rules=")[2]
    )
