"""Token buckets: limits of what may happen per second, with a burst."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """A limit of `per_second` units per second, after a burst of up to `capacity` units. Times are monotonic."""

    capacity: float
    per_second: float
    tokens: float = field(init=False)
    updated_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def refill(self, now: float) -> float:
        """Return how many units may happen now."""
        self.tokens = min(self.capacity, self.tokens + max(now - self.updated_at, 0.0) * self.per_second)
        self.updated_at = now
        return self.tokens

    def take(self, amount: float, now: float) -> bool:
        """Return whether `amount` units may happen now; if so, count them."""
        if self.refill(now) < amount:
            return False
        self.tokens -= amount
        return True
