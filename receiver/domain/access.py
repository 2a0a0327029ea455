"""Who may do what, and who does: API keys' scopes, the providers that a key is bound to, and operators."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What a key is good for. `ADMIN` may do everything."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key a call came with. `providers` are those it is bound to, None for all; `per_minute` is its allowance."""

    id: UUID
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
    """Who does something about a request or a job, when (UTC), and why if it was told."""

    name: str
    at: datetime
    reason: str | None = None
