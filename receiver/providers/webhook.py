"""The built-in provider `notify`: tells clients that their requests are over, by webhooks signed as Standard Webhooks.

A notification is a request like any other: it is claimed by lease, its attempts are kept, it can be found, retried and
cancelled. It differs in whom it goes to, any host that `rules` let, and in how answers are judged: what a receiver
answers says nothing about a job, only whether it was told.
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

NAME = "notify"
DELIVER = "notify"
EVENT = "request.finished"
"""The `type` of what is told."""
DEADLINE = 259_200.0
RETRY = RetryPolicy(attempts=50, base=5.0, max=14_400.0)
"""Seconds; with full jitter the attempts last about as long as the deadline, three days."""
# What one receiver answers says nothing of the others; each host is left alone by itself, see the `notify_client`.
DISPATCHING = SendPolicy(max_concurrency=64, connect_timeout=5.0, timeout=15.0, circuit=None, adaptive=False)
_FOLLOWING = PollPolicy(deadline=DEADLINE, first_after=DEADLINE, max_interval=DEADLINE, give_up_after=DEADLINE)


@dataclass(frozen=True, slots=True)
class WebhookRetryDecider(RetryDecider):
    """An attempt to tell a client something.

    Receivers know a repetition by its `webhook-id`, so that sending again is safe whatever became of the attempt.
    """

    def decide(self, outcome: Response | NoResponse | NotSent, parsed: ParsedResponse) -> Decision:
        if isinstance(outcome, NotSent):
            return super(WebhookRetryDecider, self).decide(outcome, parsed)
        if isinstance(outcome, NoResponse):
            return self._again(outcome.error)
        if 200 <= outcome.status < 300:
            return Decision(Status.COMPLETED)
        if outcome.status == 410:
            return Decision(Status.REJECTED, detail="410: the receiver is gone and wants to be told no more.")
        wait = parse_retry_after(outcome.headers.get("retry-after"), self.now)
        return self._again(f"{outcome.status}: the receiver did not take it; only 2xx says that it did.", wait)

    def lost(self) -> Decision:
        return self._again("the worker was lost during the attempt")


@dataclass(frozen=True, slots=True)
class WebhookSender(Provider):
    """Who tells clients: all `keys` sign, so that a receiver can go over from one to the next."""

    rules: TargetRules
    keys: Sequence[bytes] = field(repr=False)

    @classmethod
    def of(cls, rules: TargetRules, keys: Sequence[bytes], retry: RetryPolicy = RETRY) -> "WebhookSender":
        """Give the notifier that follows these rules."""
        return cls(
            name=NAME,
            origin="",
            base_path="",
            retry_rules=RetryRules(retry, OnAmbiguous.RETRY),
            send_policy=DISPATCHING,
            poll_policy=_FOLLOWING,
            callback_settings=CallbackSettings(CallbackAuth(StandardWebhooks(keys))),
            rules=rules,
            keys=keys,
        )

    def operations(self) -> Sequence[str]:
        return ()

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return {"_payload": ["is made by this service only"]}

    def payload_schema(self, operation: str) -> Mapping[str, Any]:
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

    def case(self, attempt: Attempt, now: datetime, jitter: float) -> RetryDecider:
        return WebhookRetryDecider(attempt, self.retry_rules, now, jitter)

    def interpret(self, response: Response) -> ParsedResponse:
        return ParsedResponse()

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        raise MalformedCallback({"_body": ["nobody calls back about a notification"]})

    @property
    def can_poll(self) -> bool:
        return False

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        raise NotImplementedError("a notification makes no job")

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        return None
