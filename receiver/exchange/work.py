"""The values that pass through an exchange: claimed work, its permit, the completed exchange and its result."""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from receiver.domain.jobs import JobEvent
from receiver.domain.records import record
from receiver.domain.sending import Outcome
from receiver.providers.base import Provider
from receiver.store.providers import CredentialRefusal


class Work(Protocol):
    """Work that needs an exchange with a provider."""

    @property
    def provider(self) -> str: ...


WorkT = TypeVar("WorkT", bound=Work)
UpdateT = TypeVar("UpdateT")


@record(frozen=True, slots=True)
class Permit(Generic[WorkT]):
    """Claimed work, and when its exchange may begin, by `time.monotonic`; None if admission alone decides.

    A `probe` is the one exchange that tests whether the provider has recovered; if it is not sent, that must be
    reported.
    """

    work: WorkT
    begin_at: float | None = None
    probe: bool = False


@record(frozen=True, slots=True)
class CompletedExchange(Generic[WorkT]):
    """Work whose exchange ended at `ended_at` (UTC), or could not begin. It is interpreted when it is recorded.

    `jitter`, drawn evenly from 0 to 1, spreads what follows over time. `probe`: the provider's circuit waits for this
    exchange.
    """

    provider: Provider
    work: WorkT
    outcome: Outcome
    ended_at: datetime
    jitter: float
    probe: bool = False


@record(frozen=True, slots=True)
class ExchangeResult(Generic[UpdateT]):
    """What an exchange changes, committed together.

    Args:
        update: the new state of the work.
        events: the events of jobs.
        refusal: the provider's refusal of our credentials.
        problem: why the response is not what was asked for, for the log.
    """

    update: UpdateT
    events: Sequence[JobEvent] = ()
    refusal: CredentialRefusal | None = None
    problem: str | None = None


Recordable = CompletedExchange[WorkT] | ExchangeResult[UpdateT]
"""What is recorded of an exchange: itself, to be interpreted then, or a result instead of it."""
