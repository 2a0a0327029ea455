"""Intake: decides the response to a message and records it in the ledger.

No I/O and no clock; the caller withholds a response that is to be withheld. Nothing here yields to other greenlets, so
that looking up an idempotency key and acting on it is atomic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from werkzeug.http import http_date

from receiver.sandbox.ledger import Ledger, LedgerJob, LedgerRequest
from receiver.sandbox.scripts import Code, ResponseDelivery, Script, ScriptedRefusal, build_script, parse_number


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send: its recipients, and the URL for callbacks."""

    client_reference: str
    to: tuple[str, ...]
    callback_url: str


@dataclass(frozen=True, slots=True)
class SandboxResponse:
    """An HTTP response.

    Attributes:
        body: the JSON document; None for an empty body.
        delivery: whether the client receives the response.
        jobs: the jobs that were opened by this response.
    """

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: ResponseDelivery = ResponseDelivery.NORMAL
    jobs: tuple[LedgerJob, ...] = ()


class Intake:
    """Follows the scripts of one seed and stores the responses by idempotency key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._responses: dict[str, SandboxResponse] = {}

    def respond(self, message: Message, idempotency_key: str | None, now: float) -> SandboxResponse:
        """Return the response to a message received at `now` (Unix seconds).

        A message that was already accepted with the same key gets the stored response. A message without a key is
        carried out every time, unless its script refuses it.
        """
        script = build_script(self._ledger.seed, parse_number(message.client_reference))
        expected = script.response.derive_status(len(message.to), resendable=idempotency_key is not None)
        request = self._ledger.record_attempt(message.client_reference, script.response.kind, expected)
        if idempotency_key is not None and idempotency_key in self._responses:
            return self._responses[idempotency_key]
        if refusal := script.response.find_refusal(request.attempts):
            return _build_refusal(refusal, script.response.kind, message, now)
        response = self._accept(script, request, message, idempotency_key is not None, now)
        if idempotency_key is not None:
            self._responses[idempotency_key] = replace(response, delivery=ResponseDelivery.NORMAL, jobs=())
        return response

    def _accept(
        self, script: Script, request: LedgerRequest, message: Message, resendable: bool, now: float
    ) -> SandboxResponse:
        response = script.response
        delivery = ResponseDelivery.NORMAL if request.executions else response.delivery
        matched = resendable or delivery is ResponseDelivery.NORMAL
        self._ledger.record_execution(request)
        codes = response.list_codes(len(message.to))
        jobs = [
            self._ledger.open_job(request, message.callback_url, fate, matched, now) if fate else None
            for fate in map(script.decide_fate, count(), codes)
        ]
        items = [_build_item(job, to, code) for job, to, code in zip(jobs, message.to, codes, strict=False)]
        opened_jobs = tuple(job for job in jobs if job)
        headers = {"Location": f"/v1/messages/{opened_jobs[0].reference}", "Retry-After": "1"} if response.hints else {}
        return SandboxResponse(response.status, {"items": items} if items else None, headers, delivery, opened_jobs)


def _build_refusal(refusal: ScriptedRefusal, kind: str, message: Message, now: float) -> SandboxResponse:
    if refusal.status == 200:
        return SandboxResponse(200, {"items": [_build_item(None, to, Code.BUSY) for to in message.to]})
    headers = {"seconds": {"Retry-After": "1"}, "date": {"Retry-After": http_date(now + 2)}, None: {}}
    body = {"error": f"scripted for {message.client_reference}: {kind}"}
    return SandboxResponse(refusal.status, body, headers[refusal.retry_after])


def _build_item(job: LedgerJob | None, to: str, code: Code) -> dict[str, object]:
    return {"id": job and job.reference, "to": to, "status": "ACK" if job else "NACK", "code": code}
