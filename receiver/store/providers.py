"""What is known of providers at run time: whether they are paused and why, and which credentials they refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from receiver.domain.sending import PauseCause
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent to a provider: until someone resumes it, or its credentials change if they are the cause."""

    name: str
    paused_at: datetime
    pause_reason: str
    pause_cause: PauseCause


@dataclass(frozen=True, slots=True)
class ProviderCredentials:
    """What a provider is configured with to prove ourselves, by its fingerprint."""

    provider: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CredentialRefusal:
    """A provider refused the credentials that have this fingerprint."""

    provider: str
    fingerprint: str
    reason: str


def pause_provider(connection: Connection, name: str, reason: str) -> None:
    """Stop sending to a provider until an operator resumes it."""
    connection.execute(load_statement("pause_provider"), {"name": name, "reason": reason})


def resume_provider(connection: Connection, name: str) -> None:
    """Send to a provider again, by whatever it was paused; call within a transaction."""
    connection.execute(load_statement("resume_provider"), {"name": name})
    connection.execute(load_statement("delete_refusals"), {"name": name})


def find_pauses(connection: Connection) -> list[Pause]:
    """Give the pauses that stand."""
    cursor = connection.cursor(row_factory=row_factory(Pause, pause_cause=PauseCause))
    return cursor.execute(load_statement("find_pauses")).fetchall()


def refuse_credentials(connection: Connection, refusals: Sequence[CredentialRefusal]) -> list[CredentialRefusal]:
    """Send no more with credentials that were refused; give those that were not known to be."""
    cursor = connection.cursor(row_factory=row_factory(CredentialRefusal))
    return cursor.execute(load_statement("refuse_credentials"), {"refusals": as_jsonb(refusals)}).fetchall()


def forget_refusals(
    connection: Connection, mine: Sequence[ProviderCredentials], after: float, *, starting: bool
) -> None:
    """Let credentials be tried again that others took over from: at once if `starting`, else after so many seconds."""
    given = {"mine": as_jsonb(mine), "after": after, "starting": starting}
    connection.execute(load_statement("forget_refusals"), given)


def lift_refusals(connection: Connection, mine: Sequence[ProviderCredentials]) -> list[str]:
    """Take over from those whose credentials were refused; give the providers that are sent to again."""
    found = connection.execute(load_statement("lift_refusals"), {"mine": as_jsonb(mine)})
    return sorted({name for (name,) in found})
