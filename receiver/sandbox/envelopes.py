"""Envelopes: the bodies and headers of callbacks, with valid signatures of Standard Webhooks or forged ones.

No I/O and no clock; ids are random, and times are Unix seconds.
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

STALE_AGE_S = 3600
REASONS = {State.UNDELIVERED: "subscriber absent", State.EXPIRED: "validity period passed"}


def build_result(job: LedgerJob, state: State, at: float) -> dict[str, object]:
    """Return the result of one job for callbacks and polls: reference, state, reason of a failure, and time."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": job.reference, "state": state, "reason": REASONS.get(state), "at": time}


def build_body(*results: dict[str, object]) -> bytes:
    """Return the body of a callback with these results."""
    return orjson.dumps({"results": results})


@dataclass(frozen=True, slots=True)
class Envelope:
    """One callback. Its body and webhook-id stay the same however often it is sent."""

    body: bytes
    webhook_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")

    def build_headers(self, key: bytes, now: float) -> dict[str, str]:
        """Return the headers for sending the callback at `now`, signed with `key`."""
        return {
            "content-type": "application/json",
            "webhook-id": self.webhook_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": sign(key, self.webhook_id, int(now), self.body),
        }


def build_malformed(job: LedgerJob, now: float) -> tuple[Envelope, ...]:
    """Return signed callbacks that cannot be read: one that is not JSON, and one without a reference."""
    anonymous = build_result(job, job.fate.state, now)
    del anonymous["id"]
    return Envelope(b'{"results": ['), Envelope(build_body(anonymous))


def build_forgeries(
    job: LedgerJob, state: State, key: bytes, now: float
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Yield three callbacks that falsely report `state` for a job, each as its flaw, its headers and its body."""
    false_body = build_body(build_result(job, state, now))
    true_body = build_body(build_result(job, job.fate.state, now))
    yield "wrong key", Envelope(false_body).build_headers(sha256(key).digest(), now), false_body
    yield "changed body", Envelope(true_body).build_headers(key, now), false_body
    yield "stale timestamp", Envelope(false_body).build_headers(key, now - STALE_AGE_S), false_body
