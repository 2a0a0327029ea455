"""The ledger: what the sandbox was sent, what it did, and so what anybody asking the receiver must be told in the end.

Pure state: it does no I/O and is told the time (Unix seconds).
"""

from collections import Counter
from dataclasses import dataclass, field

from receiver.sandbox.scripts import CallbackKind, Fate, State

LOST_AFTER = 0.5


@dataclass(slots=True)
class LedgerRequest:
    """One client reference: how often it was received, how often acted on, and the status it must end with."""

    client_reference: str
    response: str
    expected: str
    received: int = 0
    acted: int = 0


@dataclass(slots=True)
class LedgerJob:
    """One recipient of a taken request.

    Attributes:
        matched: whether the client can learn that the job belongs to its request.
        happened_at: when the final state came about, perhaps in the future; None while nobody knows.
        disputed: whether two different final words were both acknowledged.
    """

    reference: str
    client_reference: str
    callback_url: str
    fate: Fate
    matched: bool
    accepted_at: float
    happened_at: float | None = None
    disputed: bool = False

    def state_at(self, now: float) -> tuple[State, float]:
        """Give what a poll is told at `now`, and since when that is so."""
        if self.happened_at is None or now < self.happened_at:
            return State.SENT, self.accepted_at
        return self.fate.state, self.happened_at

    def as_json(self) -> dict[str, object]:
        """Give the job as the ledger shows it."""
        silent = self.fate.callback is CallbackKind.SILENT
        return {
            "reference": self.reference,
            "client_reference": self.client_reference,
            "callback": self.fate.callback or "none",
            "expected": "unresolved" if silent else map_state(self.fate.state),
            "disputed": self.disputed,
            "matched": self.matched,
        }


@dataclass(frozen=True, slots=True)
class ForgedCallback:
    """One forged callback: the status it claims, what is wrong with it, and the HTTP status it got, if any."""

    reference: str
    claims: str
    why: str
    answered: int | None


def map_state(state: State) -> str:
    """Give the status of a job that ended in this final state."""
    return "succeeded" if state is State.DELIVERED else "failed"


@dataclass(slots=True)
class Ledger:
    """Everything that is true of one run. `run` distinguishes its references from those of any other run."""

    seed: int
    run: str
    requests: dict[str, LedgerRequest] = field(default_factory=dict)
    jobs: dict[str, LedgerJob] = field(default_factory=dict)
    forged: list[ForgedCallback] = field(default_factory=list)
    responses: Counter[str] = field(default_factory=Counter)
    undelivered: int = 0
    double_sends: int = 0

    def receive(self, client_reference: str, response: str, expected: str) -> LedgerRequest:
        """Count one more arrival of a request; the first one settles what is expected of it."""
        request = self.requests.setdefault(client_reference, LedgerRequest(client_reference, response, expected))
        request.received += 1
        return request

    def act(self, request: LedgerRequest) -> None:
        """Count that a request was taken; more than once is a double send."""
        self.double_sends += request.acted > 0
        request.acted += 1

    def open_job(self, request: LedgerRequest, callback_url: str, fate: Fate, matched: bool, now: float) -> LedgerJob:
        """Add the job of one recipient under a fresh reference."""
        reference = f"{self.run}-{len(self.jobs) + 1:06d}"
        job = LedgerJob(reference, request.client_reference, callback_url, fate, matched, accepted_at=now)
        if fate.callback is None:
            job.happened_at = now
        elif fate.callback is CallbackKind.LOST:
            job.happened_at = now + LOST_AFTER
        self.jobs[reference] = job
        return job

    def count_answer(self, status: int | None) -> None:
        """Count a callback that was sent, by the HTTP status it got; None is no answer."""
        self.responses[str(status or "none")] += 1

    def totals(self, pending: int) -> dict[str, object]:
        """Give the counts; `pending` is how many callbacks are still to be sent or retried."""
        return {
            "seed": self.seed,
            "pending": pending,
            "requests": len(self.requests),
            "jobs": len(self.jobs),
            "forged": len(self.forged),
            "callbacks": {
                "sent": self.responses.total(),
                "by_answer": dict(self.responses),
                "undelivered": self.undelivered,
            },
            "double_sends": self.double_sends,
        }

    def as_json(self, pending: int) -> dict[str, object]:
        """Give the whole ledger for orjson: the totals, with every request, job and forged callback in full."""
        return self.totals(pending) | {
            "requests": list(self.requests.values()),
            "jobs": [job.as_json() for job in self.jobs.values()],
            "forged": self.forged,
        }
