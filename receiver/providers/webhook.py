"""The built-in provider `notify`: webhook notifications to clients about finished requests (Standard Webhooks).

A notification is a request like any other: it is claimed by lease, its attempts are stored, it can be found, retried
and cancelled. It differs in two ways. It goes to any host that the `rules` allow, and a response says only whether the
client took the notification, nothing about a job.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from receiver.domain.backoff import RetryPolicy, parse_retry_after
from receiver.domain.decisions import RetryDecider
from receiver.domain.egress import Egress
from receiver.domain.messages import find_message
from receiver.domain.records import record
from receiver.domain.sending import (
    Attempt,
    Decision,
    NoResponse,
    NotSent,
    OnAmbiguous,
    ParsedResponse,
    Response,
    RetryRules,
)
from receiver.domain.sending import RequestStatus as Status
from receiver.domain.targets import TargetRules
from receiver.providers.base import Provider, SendPolicy
from receiver.providers.capabilities import OutgoingRequest, Sender
from receiver.signatures.standard_webhooks import sign

PROVIDER_NAME = "notify"
DEADLINE_S = 259_200.0
"""Seconds."""
RETRY_POLICY = RetryPolicy(attempts=50, base=5.0, max=14_400.0)
"""With full jitter, the attempts take about as long as the deadline: three days."""
# One client's failures say nothing about the others, so that there is no circuit for all of them; the webhook client
# backs off from each host by itself, see `receiver.exchange.webhook_client`.
SEND_POLICY = SendPolicy(
    max_concurrency=64, connect_timeout=5.0, timeout=15.0, circuit=None, adaptive=False, idle_timeout=0.0
)


@record(frozen=True, slots=True)
class WebhookRetryDecider(RetryDecider):
    """Decides what happens after an attempt to deliver a notification.

    Clients recognise a repetition by its `webhook-id`, so that retrying is safe after any outcome.
    """

    def decide(self, outcome: Response | NoResponse | NotSent, parsed: ParsedResponse) -> Decision:
        if isinstance(outcome, NotSent):
            return super().decide(outcome, parsed)
        if isinstance(outcome, NoResponse):
            return self._retry(outcome.error)
        if 200 <= outcome.status < 300:
            return Decision(Status.COMPLETED)
        if outcome.status == 410:
            return Decision(Status.REJECTED, detail="410: the client wants no more notifications at this URL.")
        wait = parse_retry_after(outcome.headers, self.now) or 0.0
        detail = f"{outcome.status}: the client did not accept the notification with a 2xx status."
        message = find_message(outcome.headers, outcome.body)
        return self._retry(f"{detail} It responded: {message}" if message else detail, wait)

    def on_worker_lost(self) -> Decision:
        return self._retry("the worker was lost during the attempt")


@dataclass(frozen=True, slots=True)
class WebhookSender(Sender):
    """Sends notifications to the URL that their payload names.

    Args:
        keys: the signing keys. All of them sign, so that a client can change from one key to the next.
    """

    keys: Sequence[bytes] = field(repr=False)

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        body = orjson.dumps(attempt.payload["body"])
        message_id, timestamp = str(attempt.request_id), int(attempt.started_at.timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(key, message_id, timestamp, body) for key in self.keys),
        }
        return OutgoingRequest("POST", attempt.payload["url"], headers, body)

    def interpret(self, response: Response) -> ParsedResponse:
        return ParsedResponse()

    def build_decider(self, attempt: Attempt, rules: RetryRules, now: datetime, jitter: float) -> RetryDecider:
        return WebhookRetryDecider(attempt, rules, now, jitter)


def build_notify_provider(
    rules: TargetRules, keys: Sequence[bytes], retry: RetryPolicy = RETRY_POLICY, egress: Egress | None = None
) -> Provider:
    """Build the provider `notify`, which only sends, and to which clients cannot submit.

    Args:
        rules: the hosts and networks that may be called.
        keys: the signing keys, see `WebhookSender`.
        retry: how often a notification is sent.
        egress: how notifications leave this machine.
    """
    return Provider(
        name=PROVIDER_NAME,
        origin="",
        base_path="",
        retry_rules=RetryRules(retry, OnAmbiguous.RETRY),
        send_policy=SEND_POLICY,
        deadline=DEADLINE_S,
        sender=WebhookSender({}, keys),
        target_rules=rules,
        egress=egress or Egress(),
    )
