"""The state of providers at run time: whether they are paused and why, and which credentials they refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from receiver.domain.sending import PauseCause
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a provider: nothing is sent to it.

    The pause ends when an operator resumes the provider or, if the credentials are the cause, when these change.
    `paused_at` is UTC.
    """

    name: str
    paused_at: datetime
    pause_reason: str
    pause_cause: PauseCause


@dataclass(frozen=True, slots=True)
class ProviderCredentials:
    """The credentials that are configured for a provider, by their fingerprint.

    `former_fingerprints` are those of the same credentials under older keys.
    """

    provider: str
    fingerprint: str
    former_fingerprints: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CredentialRefusal:
    """A provider's refusal of the credentials with this fingerprint."""

    provider: str
    fingerprint: str
    reason: str


def pause_providers(connection: Connection, names: Sequence[str], reason: str) -> None:
    """Stop sending to providers until an operator resumes them."""
    connection.execute(load_statement("pause_providers"), {"names": list(names), "reason": reason})


def resume_providers(connection: Connection, names: Sequence[str]) -> None:
    """Send to providers again, whatever the pauses' cause; call within a transaction."""
    connection.execute(load_statement("resume_providers"), {"names": list(names)})
    connection.execute(load_statement("delete_refusals"), {"names": list(names)})


def find_pauses(connection: Connection) -> list[Pause]:
    """Return the current pauses."""
    cursor = connection.cursor(row_factory=row_factory(Pause, pause_cause=PauseCause))
    return cursor.execute(load_statement("find_pauses")).fetchall()


def refuse_credentials(connection: Connection, refusals: Sequence[CredentialRefusal]) -> list[CredentialRefusal]:
    """Store refusals, after which the credentials are not used any more, and return those that are new."""
    cursor = connection.cursor(row_factory=row_factory(CredentialRefusal))
    return cursor.execute(load_statement("refuse_credentials"), {"refusals": as_jsonb(refusals)}).fetchall()


def copy_refusals(connection: Connection, credentials: Sequence[ProviderCredentials]) -> None:
    """Store the current refusals of credentials by a former fingerprint also by their fingerprint."""
    connection.execute(load_statement("copy_refusals"), {"credentials": as_jsonb(credentials)})


def forget_refusals(
    connection: Connection, credentials: Sequence[ProviderCredentials], retry_after: float, *, starting: bool
) -> None:
    """Delete the refusals of a worker's credentials that were lifted when another worker took over.

    Args:
        connection: any connection.
        credentials: the credentials of the calling worker.
        retry_after: how many seconds after the lift the credentials are tried again.
        starting: whether the worker is starting, in which case the credentials are tried again at once.
    """
    params = {"credentials": as_jsonb(credentials), "retry_after": retry_after, "starting": starting}
    connection.execute(load_statement("forget_refusals"), params)


def lift_refusals(connection: Connection, credentials: Sequence[ProviderCredentials]) -> list[str]:
    """Lift the refusals of other credentials than these and return the providers that are sent to again."""
    rows = connection.execute(load_statement("lift_refusals"), {"credentials": as_jsonb(credentials)})
    return sorted(name for (name,) in rows)
