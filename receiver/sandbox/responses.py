"""Intake: what the sandbox answers to a message, and what it writes into the ledger for it.

No I/O and no clock; that an answer is withheld is for the caller to do. Nothing here waits, so that looking up an
idempotency key and acting on it are one step for all greenlets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from werkzeug.http import http_date

from receiver.sandbox.ledger import Ledger, LedgerJob, LedgerRequest
from receiver.sandbox.scripts import Code, ResponseDelivery, Script, ScriptedRefusal, build_script, parse_number


@dataclass(frozen=True, slots=True)
class Message:
    """What a client wants sent: to whom, and where it wants to be called back."""

    client_reference: str
    to: tuple[str, ...]
    callback_url: str


@dataclass(frozen=True, slots=True)
class SandboxResponse:
    """An HTTP answer (`body` for JSON, None for none), whether the client sees it, and the jobs it has just opened."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    conduct: ResponseDelivery = ResponseDelivery.ANSWER
    jobs: tuple[LedgerJob, ...] = ()


class Intake:
    """Follows the scripts of one seed and remembers its answers by idempotency key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._replies: dict[str, SandboxResponse] = {}

    def reply_to(self, message: Message, idempotency_key: str | None, now: float) -> SandboxResponse:
        """Give the answer to a message received at `now` (Unix seconds).

        A message already taken under the same key gets the stored answer. One without a key is acted on each time
        that its script does not refuse it.
        """
        script = build_script(self._ledger.seed, parse_number(message.client_reference))
        expected = script.response.expected_status(len(message.to), resendable=idempotency_key is not None)
        request = self._ledger.receive(message.client_reference, script.response.kind, expected)
        if idempotency_key is not None and idempotency_key in self._replies:
            return self._replies[idempotency_key]
        if refusal := script.response.refusal_of(request.received):
            return _refuse(refusal, script.response.kind, message, now)
        reply = self._take(script, request, message, idempotency_key is not None, now)
        if idempotency_key is not None:
            self._replies[idempotency_key] = replace(reply, conduct=ResponseDelivery.ANSWER, jobs=())
        return reply

    def _take(
        self, script: Script, request: LedgerRequest, message: Message, resendable: bool, now: float
    ) -> SandboxResponse:
        response = script.response
        conduct = ResponseDelivery.ANSWER if request.acted else response.conduct
        matched = resendable or conduct is ResponseDelivery.ANSWER
        self._ledger.act(request)
        codes = response.codes_for(len(message.to))
        jobs = [
            self._ledger.open_job(request, message.callback_url, fate, matched, now) if fate else None
            for fate in map(script.fate, count(), codes)
        ]
        items = [_item(job, to, code) for job, to, code in zip(jobs, message.to, codes, strict=False)]
        opened = tuple(job for job in jobs if job)
        headers = {"Location": f"/v1/messages/{opened[0].reference}", "Retry-After": "1"} if response.hints else {}
        return SandboxResponse(response.status, {"items": items} if items else None, headers, conduct, opened)


def _refuse(refusal: ScriptedRefusal, kind: str, message: Message, now: float) -> SandboxResponse:
    if refusal.status == 200:
        return SandboxResponse(200, {"items": [_item(None, to, Code.BUSY) for to in message.to]})
    headers = {"seconds": {"Retry-After": "1"}, "date": {"Retry-After": http_date(now + 2)}, None: {}}
    body = {"error": f"scripted for {message.client_reference}: {kind}"}
    return SandboxResponse(refusal.status, body, headers[refusal.retry_after])


def _item(job: LedgerJob | None, to: str, code: Code) -> dict[str, object]:
    return {"id": job and job.reference, "to": to, "status": "ACK" if job else "NACK", "code": code}
