"""The provider `notify`: how notifications are composed and signed, and what clients' responses mean."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.domain.sending import Attempt, Decision, NoResponse, ParsedResponse, Response
from receiver.domain.sending import RequestStatus as Status
from receiver.providers.webhook import DEADLINE_S, RETRY_POLICY, WebhookSender
from tests.support import factories
from tests.support.capabilities import sender_of
from tests.support.factories import NOON, SECRET, notify_provider

ANOTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
RULES = notify_provider().retry_rules
BODY = {"type": "request.finished", "data": {"metadata": {"name": "ü", "amount": 0.1}}}


def attempt(**overrides: object) -> Attempt:
    fields = {
        "provider": "notify",
        "operation": "notify",
        "payload": {"url": "https://shop.example/told", "body": BODY},
    }
    return factories.attempt(**fields | overrides)


def decide(outcome: Response | NoResponse, **overrides: object) -> Decision:
    return (
        sender_of(notify_provider())
        .build_decider(attempt(**overrides), RULES, NOON, 0.5)
        .decide(outcome, ParsedResponse())
    )


def decide_response(status: int, **headers: str) -> Decision:
    return decide(Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b""))


def test_every_secret_signs_as_standard_webhooks() -> None:
    now = datetime.now(UTC).replace(microsecond=999_999)
    outgoing = sender_of(notify_provider(secrets=[SECRET, ANOTHER])).compose(attempt(started_at=now), "")
    assert (outgoing.method, outgoing.target) == ("POST", "https://shop.example/told")
    for secret in (SECRET, ANOTHER):
        assert Webhook(secret).verify(outgoing.body, dict(outgoing.headers)) == BODY
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(outgoing.body + b" ", dict(outgoing.headers))
    assert outgoing.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert len(outgoing.headers["webhook-signature"].split()) == 2


def test_repeated_notification_has_same_id_and_body() -> None:
    first = attempt()
    second = replace(first, started_at=NOON + timedelta(hours=1))
    requests = [sender_of(notify_provider()).compose(each, "") for each in (first, second)]
    assert {request.headers["webhook-id"] for request in requests} == {str(first.request_id)}
    assert requests[0].body == requests[1].body
    timestamps = [int(request.headers["webhook-timestamp"]) for request in requests]
    assert timestamps[1] - timestamps[0] == 3_600


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_completes_notification(status: int) -> None:
    assert decide_response(status).status is Status.COMPLETED


def test_410_rejects_notification() -> None:
    decision = decide_response(410)
    assert (decision.status, decision.pause) == (Status.REJECTED, None)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 403, 404, 408, 409, 422, 429, 500, 503, 504, 599])
def test_other_responses_retry_without_pause(status: int) -> None:
    decision = decide_response(status)
    assert (decision.status, decision.retry_in, decision.pause) == (Status.QUEUED, 2.5, None)
    assert (decision.counts_as_attempt, decision.ambiguous) == (True, False)
    assert str(status) in (decision.detail or "")


def test_detail_quotes_what_the_client_responded() -> None:
    decision = decide(Response(500, {"content-type": "text/html"}, b"<title>Oops</title>"))
    assert (decision.detail or "").endswith("status. It responded: not JSON (text/html): Oops")


def test_retry_after_is_minimum_on_top_of_backoff() -> None:
    assert decide_response(429, retry_after="120").retry_in == 122.5
    assert decide_response(503, retry_after="Mon, 23 Nov 2026 12:01:00 GMT").retry_in == 62.5


@pytest.mark.parametrize("sent", [True, False])
def test_missing_response_retries_and_is_not_ambiguous(sent: bool) -> None:
    decision = decide(NoResponse("timed out", sent=sent))
    assert (decision.status, decision.ambiguous, decision.detail) == (Status.QUEUED, False, "timed out")


def test_lost_worker_retries() -> None:
    decision = sender_of(notify_provider()).build_decider(attempt(), RULES, NOON, 0.5).on_worker_lost()
    assert (decision.status, decision.ambiguous) == (Status.QUEUED, False)


def test_notification_fails_after_attempts_or_deadline() -> None:
    assert decide(NoResponse("refused", sent=False), failures=RETRY_POLICY.attempts - 1).status is Status.FAILED
    assert decide(Response(500, {}, b""), deadline_at=NOON).status is Status.FAILED


def test_attempts_last_about_as_long_as_deadline() -> None:
    duration = sum(RETRY_POLICY.delay(failures, 0.5) for failures in range(1, RETRY_POLICY.attempts))
    assert 0.9 * DEADLINE_S < duration < 1.5 * DEADLINE_S
    assert mean(RETRY_POLICY.delay(failures, 0.5) for failures in range(1, 5)) < 20


def test_notify_only_sends_and_has_no_shared_limits() -> None:
    notify = notify_provider()
    assert notify.operations == {}
    assert (notify.callbacks, notify.poller, notify.lookup) == (None, None, None)
    assert not notify.send_policy.limit_policy.adaptive


def test_secrets_are_not_in_repr() -> None:
    notify = notify_provider()
    assert isinstance(notify.sender, WebhookSender)
    assert repr(notify.sender.keys[0]) not in repr(notify)
