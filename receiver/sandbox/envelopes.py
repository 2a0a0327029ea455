"""Envelopes: the callbacks as bytes and headers, true ones signed as Standard Webhooks say, and the ones that are not.

Pure but for the fresh identifiers; times are Unix seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4

import orjson

from receiver.sandbox.ledger import LedgerJob
from receiver.sandbox.scripts import State
from receiver.signatures.standard_webhooks import sign

STALE_SECONDS = 3600
REASONS = {State.UNDELIVERED: "subscriber absent", State.EXPIRED: "validity period passed"}


def build_result(job: LedgerJob, state: State, at: float) -> dict[str, object]:
    """Give what callbacks and polls say of one job: its reference, state, the reason of a failure, and since when."""
    since = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": job.reference, "state": state, "reason": REASONS.get(state), "at": since}


def build_body(*statements: dict[str, object]) -> bytes:
    """Give the body of a callback that makes these statements."""
    return orjson.dumps({"results": statements})


@dataclass(frozen=True, slots=True)
class Envelope:
    """One callback: however often it is sent, its body and webhook-id stay."""

    body: bytes
    webhook_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")

    def headers(self, key: bytes, now: float) -> dict[str, str]:
        """Give the headers for sending it at `now`, signed with `key`."""
        return {
            "content-type": "application/json",
            "webhook-id": self.webhook_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": sign(key, self.webhook_id, int(now), self.body),
        }


def build_malformed(job: LedgerJob, now: float) -> tuple[Envelope, ...]:
    """Give callbacks that are properly sent but say nothing: one that is not JSON, one that names no job."""
    anonymous = build_result(job, job.fate.state, now)
    del anonymous["id"]
    return Envelope(b'{"results": ['), Envelope(build_body(anonymous))


def build_forgeries(
    job: LedgerJob, claim: State, key: bytes, now: float
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Give three callbacks that claim `claim` of a job, each as what is wrong with it, its headers and its body."""
    lie = build_body(build_result(job, claim, now))
    truth = build_body(build_result(job, job.fate.state, now))
    yield "wrong key", Envelope(lie).headers(sha256(key).digest(), now), lie
    yield "changed body", Envelope(truth).headers(key, now), lie
    yield "stale timestamp", Envelope(lie).headers(key, now - STALE_SECONDS), lie
