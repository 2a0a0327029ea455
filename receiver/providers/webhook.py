"""The built-in provider `notify`: webhook notifications to clients about finished requests (Standard Webhooks).

A notification is a request like any other: it is claimed by lease, its attempts are stored, it can be found, retried
and cancelled. It differs in two ways. It goes to any host that the `rules` allow, and a response says only whether the
client took the notification, nothing about a job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from receiver.domain.backoff import RetryPolicy, parse_retry_after
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import StatusReport
from receiver.domain.sending import (
    Attempt,
    Decision,
    NoResponse,
    NotSent,
    OnAmbiguous,
    ParsedResponse,
    Response,
    RetryDecider,
    RetryRules,
)
from receiver.domain.sending import RequestStatus as Status
from receiver.domain.targets import TargetRules
from receiver.providers.base import (
    CallbackSettings,
    MalformedCallback,
    OutgoingRequest,
    ParsedReports,
    PollPolicy,
    Provider,
    SendPolicy,
)
from receiver.signatures.base import CallbackAuth
from receiver.signatures.standard_webhooks import StandardWebhooks, sign

PROVIDER_NAME = "notify"
OPERATION = "notify"
EVENT_TYPE = "request.finished"
"""The `type` in the body of a notification."""
DEADLINE_S = 259_200.0
"""Seconds."""
RETRY_POLICY = RetryPolicy(attempts=50, base=5.0, max=14_400.0)
"""With full jitter, the attempts take about as long as the deadline: three days."""
# One client's failures say nothing about the others, so that there is no circuit for all of them; the webhook client
# backs off from each host by itself, see `receiver.exchange.webhook_client`.
SEND_POLICY = SendPolicy(max_concurrency=64, connect_timeout=5.0, timeout=15.0, circuit=None, adaptive=False)
_POLL_POLICY = PollPolicy(
    deadline=DEADLINE_S, first_after=DEADLINE_S, max_interval=DEADLINE_S, give_up_after=DEADLINE_S
)


@dataclass(frozen=True, slots=True)
class WebhookRetryDecider(RetryDecider):
    """Decides what happens after an attempt to deliver a notification.

    Clients recognise a repetition by its `webhook-id`, so that retrying is safe after any outcome.
    """

    def decide(self, outcome: Response | NoResponse | NotSent, parsed: ParsedResponse) -> Decision:
        if isinstance(outcome, NotSent):
            return super(WebhookRetryDecider, self).decide(outcome, parsed)
        if isinstance(outcome, NoResponse):
            return self._retry(outcome.error)
        if 200 <= outcome.status < 300:
            return Decision(Status.COMPLETED)
        if outcome.status == 410:
            return Decision(Status.REJECTED, detail="410: the client wants no more notifications at this URL.")
        wait = parse_retry_after(outcome.headers.get("retry-after"), self.now)
        return self._retry(f"{outcome.status}: the client did not accept the notification with a 2xx status.", wait)

    def on_worker_lost(self) -> Decision:
        return self._retry("the worker was lost during the attempt")


@dataclass(frozen=True, slots=True)
class WebhookSender(Provider):
    """The provider that delivers notifications.

    Args:
        rules: the hosts and networks that may be called.
        keys: the signing keys. All of them sign, so that a client can change from one key to the next.
    """

    rules: TargetRules
    keys: Sequence[bytes] = field(repr=False)

    @classmethod
    def create(cls, rules: TargetRules, keys: Sequence[bytes], retry: RetryPolicy = RETRY_POLICY) -> "WebhookSender":
        """Build the provider with the settings that all notifications share."""
        return cls(
            name=PROVIDER_NAME,
            origin="",
            base_path="",
            retry_rules=RetryRules(retry, OnAmbiguous.RETRY),
            send_policy=SEND_POLICY,
            poll_policy=_POLL_POLICY,
            callback_settings=CallbackSettings(CallbackAuth(StandardWebhooks(keys))),
            rules=rules,
            keys=keys,
        )

    def operations(self) -> Sequence[str]:
        return ()

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return {"_payload": ["Only this service submits notifications."]}

    def build_payload_schema(self, operation: str) -> Mapping[str, Any]:
        return {"type": "object"}

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        body = orjson.dumps(attempt.payload["body"])
        message_id, timestamp = str(attempt.request_id), int(attempt.started_at.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": "callback-receiver",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(key, message_id, timestamp, body) for key in self.keys),
        }
        return OutgoingRequest("POST", attempt.payload["url"], headers, body)

    def build_decider(self, attempt: Attempt, now: datetime, jitter: float) -> RetryDecider:
        return WebhookRetryDecider(attempt, self.retry_rules, now, jitter)

    def interpret(self, response: Response) -> ParsedResponse:
        return ParsedResponse()

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        raise MalformedCallback({"_body": ["Notifications have no callbacks."]})

    @property
    def can_poll(self) -> bool:
        return False

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        raise NotImplementedError("a notification has no job")

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        return None
