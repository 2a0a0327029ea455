"""Policies of a provider that hold whatever its dialect: limits of exchanges, polling, and how it calls back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.limits import CircuitPolicy, LimitPolicy
from receiver.signatures.base import CallbackAuth


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How many exchanges with a provider run at once and per second, and how long each may take (seconds)."""

    max_concurrency: int
    connect_timeout: float
    timeout: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = field(default_factory=CircuitPolicy)
    adaptive: bool = True

    @property
    def max_duration(self) -> float:
        """The longest time that one exchange can take, in seconds."""
        return self.connect_timeout + self.timeout

    @property
    def limit_policy(self) -> LimitPolicy:
        """The configured limits, as the rate limiter takes them."""
        return LimitPolicy(self.max_concurrency, self.max_duration, self.max_per_second, self.circuit, self.adaptive)


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """When jobs without a final status are polled; all values in seconds.

    Args:
        first_after: from acceptance until the first poll.
        max_interval: the longest time between two polls.
        give_up_after: from acceptance until polling ends and the job is `unresolved`.
    """

    first_after: float
    max_interval: float
    give_up_after: float


class Handshake(Protocol):
    """A provider's check of our callback URL, in place of a callback."""

    def respond(self, callback: IncomingCallback, verify: Callable[[], int | None]) -> Ack | None:
        """Return the response to a handshake, or None for any other delivery.

        Args:
            callback: the delivery.
            verify: returns the index of the secret that matched; raises InvalidSignature for a delivery without a
                valid signature.

        Raises:
            InvalidSignature: the delivery is a handshake, but is not authentic.
        """


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """How a provider calls back.

    Args:
        auth: how a callback is authenticated.
        methods: the HTTP methods of callbacks.
        media_types: the media types of callbacks, in lower case.
        ack: the response that the provider takes as an acknowledgement.
        uses_attempt_token: whether callback URLs carry an attempt's token, see `domain.callbacks.add_attempt_token`.
        handshake: recognises and answers the provider's checks of our URL.
    """

    auth: CallbackAuth
    methods: frozenset[str] = frozenset({"POST"})
    media_types: frozenset[str] = frozenset({"application/json"})
    ack: Ack = field(default_factory=Ack)
    uses_attempt_token: bool = False
    handshake: Handshake | None = None
