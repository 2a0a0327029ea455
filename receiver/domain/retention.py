"""How long a provider's personal data is stored, where that is shorter than its requests are."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class RetentionKind(StrEnum):
    """What is erased: payloads of requests, responses of their attempts, raw data of callbacks."""

    PAYLOADS = "payloads"
    RESPONSES = "responses"
    BODIES = "bodies"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many seconds each kind of data is stored; None for as long as its request.

    Payloads and responses are stored for these seconds from the end of their request, the raw data of callbacks from
    its receipt.
    """

    payloads: float | None = None
    responses: float | None = None
    bodies: float | None = None

    @property
    def seconds(self) -> Mapping[RetentionKind, float]:
        """The seconds of each kind of data that has a limit."""
        limits = {kind: getattr(self, kind) for kind in RetentionKind}
        return {kind: limit for kind, limit in limits.items() if limit is not None}
