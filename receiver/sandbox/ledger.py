"""The ledger: what the sandbox received and did, and the statuses that the receiver must have at the end.

No I/O and no clock; callers pass the time in Unix seconds.
"""

from collections import Counter
from dataclasses import dataclass, field

from receiver.sandbox.scripts import CallbackKind, Fate, State

LOST_DELAY_S = 0.5


@dataclass(slots=True)
class LedgerRequest:
    """The request with one client reference.

    Attributes:
        response: the kind of its scripted response.
        expected: the status that it must have at the end.
        attempts: how often it was received.
        executions: how often it was carried out; more than once is a double send.
    """

    client_reference: str
    response: str
    expected: str
    attempts: int = 0
    executions: int = 0


@dataclass(slots=True)
class LedgerJob:
    """The job of one recipient of an accepted request.

    Attributes:
        matched: whether the client can learn that the job belongs to its request.
        final_at: when the final state is or will be reached; None while that is undecided.
        disputed: whether callbacks with two different final states were both acknowledged.
    """

    reference: str
    client_reference: str
    callback_url: str
    fate: Fate
    matched: bool
    accepted_at: float
    final_at: float | None = None
    disputed: bool = False

    def get_state(self, now: float) -> tuple[State, float]:
        """Return the state that a poll at `now` gets, and the time since when the job has it."""
        if self.final_at is None or now < self.final_at:
            return State.SENT, self.accepted_at
        return self.fate.state, self.final_at

    def as_document(self) -> dict[str, object]:
        """Return the job as JSON for the ledger."""
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
    """One forged callback.

    Attributes:
        reference: the job's reference.
        status: the status that the callback falsely reports.
        flaw: why it does not verify.
        response_status: the HTTP status of the response; None without a response.
    """

    reference: str
    status: str
    flaw: str
    response_status: int | None


def map_state(state: State) -> str:
    """Return the status of a job with this final state."""
    return "succeeded" if state is State.DELIVERED else "failed"


@dataclass(slots=True)
class Ledger:
    """The truth about one run. `run` is a prefix that makes its references unique among all runs."""

    seed: int
    run: str
    requests: dict[str, LedgerRequest] = field(default_factory=dict)
    jobs: dict[str, LedgerJob] = field(default_factory=dict)
    forged: list[ForgedCallback] = field(default_factory=list)
    responses: Counter[str] = field(default_factory=Counter)
    undelivered: int = 0
    double_sends: int = 0

    def record_attempt(self, client_reference: str, response: str, expected: str) -> LedgerRequest:
        """Count an arrival of a request; the first one determines its expected status."""
        request = self.requests.setdefault(client_reference, LedgerRequest(client_reference, response, expected))
        request.attempts += 1
        return request

    def record_execution(self, request: LedgerRequest) -> None:
        """Count that a request was carried out; more than once is a double send."""
        self.double_sends += request.executions > 0
        request.executions += 1

    def open_job(self, request: LedgerRequest, callback_url: str, fate: Fate, matched: bool, now: float) -> LedgerJob:
        """Add the job of one recipient with a new reference."""
        reference = f"{self.run}-{len(self.jobs) + 1:06d}"
        job = LedgerJob(reference, request.client_reference, callback_url, fate, matched, accepted_at=now)
        if fate.callback is None:
            job.final_at = now
        elif fate.callback is CallbackKind.LOST:
            job.final_at = now + LOST_DELAY_S
        self.jobs[reference] = job
        return job

    def count_response(self, status: int | None) -> None:
        """Count a sent callback by the HTTP status of its response; None is no response."""
        self.responses[str(status or "none")] += 1

    def build_totals(self, pending: int) -> dict[str, object]:
        """Return the counts; `pending` is the number of callbacks to be sent or retried."""
        return {
            "seed": self.seed,
            "pending": pending,
            "requests": len(self.requests),
            "jobs": len(self.jobs),
            "forged": len(self.forged),
            "callbacks": {
                "sent": self.responses.total(),
                "by_status": dict(self.responses),
                "undelivered": self.undelivered,
            },
            "double_sends": self.double_sends,
        }

    def as_document(self, pending: int) -> dict[str, object]:
        """Return the whole ledger for orjson: the totals, with all requests, jobs and forged callbacks."""
        return self.build_totals(pending) | {
            "requests": list(self.requests.values()),
            "jobs": [job.as_document() for job in self.jobs.values()],
            "forged": self.forged,
        }
