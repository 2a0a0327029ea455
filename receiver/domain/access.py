"""Who may do what, and who does: API keys' scopes, the providers that a key is bound to, and operators."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

BOOTSTRAP_NAME = "bootstrap"
"""The name and client of the key `RECEIVER_ADMIN_KEY`; no other key may have either."""


class Scope(StrEnum):
    """What a key is good for. `ADMIN` may do everything."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key that a call was made with.

    Requests and idempotency keys belong to its `client`. `providers` are those that the key is bound to, None for all;
    `per_minute` is its rate limit.
    """

    id: UUID
    client: str
    name: str
    scopes: Collection[Scope]
    providers: Collection[str] | None
    per_minute: int

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, provider: str) -> bool:
        """Whether the key may use a provider and look at what belongs to it."""
        return self.providers is None or provider in self.providers


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An operator's action on a request or a job: who, when (UTC), and the reason, if one was given."""

    actor: str
    created_at: datetime
    reason: str | None = None
