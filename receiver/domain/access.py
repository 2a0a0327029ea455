"""Access rights: the scopes of API keys, the providers that a key is bound to, and records of operators' actions."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from receiver.domain.accounts import is_included

BOOTSTRAP_NAME = "bootstrap"
"""The name and client of the key `RECEIVER_ADMIN_KEY`; no other key may have either."""


class Scope(StrEnum):
    """A permission of an API key. `ADMIN` includes all others."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key of a call.

    Requests and idempotency keys belong to the key's `client`. `providers` are the providers that the key is bound to,
    with their accounts, and single accounts; None for all of them; `per_minute` is the key's rate limit in calls per
    minute.
    """

    id: UUID
    client: str
    name: str
    scopes: Collection[Scope]
    providers: Collection[str] | None
    per_minute: int

    def has_scope(self, scope: Scope) -> bool:
        """Return whether the key has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def own_client(self) -> str | None:
        """The client whose requests and jobs alone the key may see and change; None if it may read those of all."""
        return None if self.has_scope(Scope.READ) else self.client

    def can_access(self, provider: str) -> bool:
        """Return whether the key may use the provider and read what belongs to it."""
        return self.providers is None or is_included(provider, self.providers)

    def can_see(self, provider: str, client: str | None) -> bool:
        """Return whether the key may see a request of this client to the provider, and the request's jobs."""
        return self.can_access(provider) and (self.own_client is None or self.own_client == client)


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An operator's action on a request or a job: the actor, the time (UTC) and the optional reason."""

    actor: str
    created_at: datetime
    reason: str | None = None
