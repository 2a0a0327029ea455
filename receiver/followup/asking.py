"""The loop that asks providers about what is open: claims by lease, asks under greenlets, records answers in batches.

What is asked about, how and what an answer means is its users' own: `poll` asks about jobs, `lookup` about requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Generic, Protocol, TypeVar

import structlog
from gevent.pool import Group

from receiver.client import ProviderClient
from receiver.domain.sending import Answer, NoAnswer
from receiver.providers.base import Outgoing, Provider
from receiver.store.database import Connection, Database
from receiver.store.group_commit import GroupCommit
from receiver.store.requests import Lane

_BUSY, _IDLE = 0.02, 0.2
_RECORDING = 30.0

_random = Random()  # noqa: S311  # spreads questions, guards nothing
_log = structlog.get_logger(__name__)


class Question(Protocol):
    """What one exchange asks about."""

    @property
    def provider(self) -> str: ...


Q = TypeVar("Q", bound=Question)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Inquiry(Generic[Q, R]):
    """What is asked about, and what becomes of the answers.

    Args:
        name: what it is called in the log.
        claim: leases what is due for so many seconds: for each lane at most as many questions as its capacity.
        compose: gives the exchange that asks; what it gives instead is recorded without any.
        judge: tells what an answer means, at a time and with a jitter from 0 to 1; pure.
        record: stores a batch of what was judged, in one transaction.
    """

    name: str
    claim: Callable[[Connection, Sequence[Lane], float], Sequence[Q]]
    compose: Callable[[Provider, Q], Outgoing | R]
    judge: Callable[[Provider, Q, Answer | NoAnswer, datetime, float], R]
    record: Callable[[Connection, Sequence[R]], None]


class Asker(Generic[Q, R]):
    """Makes one kind of inquiry at providers; `step` is called over and over by the worker."""

    def __init__(
        self,
        inquiry: Inquiry[Q, R],
        database: Database,
        clients: Mapping[str, ProviderClient],
        providers: Mapping[str, Provider],
    ) -> None:
        self._inquiry = inquiry
        self._database = database
        self._clients = clients
        self._providers = providers
        self._outstanding = dict.fromkeys(providers, 0)
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, inquiry.record)
        longest = max((provider.dispatching.longest for provider in providers.values()), default=0.0)
        # Long enough to wait for a slot behind all that may stand before it, to exchange and to record.
        self._lease = 4 * longest + _RECORDING

    def step(self) -> float:
        """Claim what is due and begin to ask about it; gives the seconds until the next step."""
        if not self._providers:
            return _IDLE
        lanes = [
            Lane(name, free)
            for name, provider in self._providers.items()
            if (free := provider.dispatching.max_concurrency - self._outstanding[name]) > 0
        ]
        if not lanes:
            return _BUSY
        with self._database.connection() as connection:
            questions = self._inquiry.claim(connection, lanes, self._lease)
        for question in questions:
            self._outstanding[question.provider] += 1
            self._in_hand.spawn(self._ask, question)
        return _BUSY if questions else _IDLE

    def drain(self, timeout: float) -> None:
        """Wait until the exchanges under way are recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _ask(self, question: Q) -> None:
        provider = self._providers[question.provider]
        try:
            composed = self._inquiry.compose(provider, question)
            if isinstance(composed, Outgoing):
                outcome = self._clients[question.provider].exchange(composed)
                composed = self._inquiry.judge(provider, question, outcome, datetime.now(UTC), _random.random())
            self._recorder.commit(composed)
        except Exception as error:
            # The lease runs out and it is asked about again.
            _log.warning(f"{self._inquiry.name}.not_recorded", provider=question.provider, error=str(error))
        finally:
            self._outstanding[question.provider] -= 1
