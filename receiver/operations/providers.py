"""Operators' actions on providers: pause and resume sending."""

from collections.abc import Sequence

from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.providers import pause_providers, resume_providers


def pause(
    connection: Connection, name: str, actor: str, reason: str | None, names: Sequence[str] | None = None
) -> None:
    """Stop sending to a provider; its requests stay queued. An existing pause by an operator keeps its reason.

    Args:
        connection: any connection.
        name: the provider that the operator named.
        actor: who pauses it.
        reason: why, if the operator gave a reason.
        names: what to pause: the provider and its accounts. By default the provider.
    """
    pause_providers(connection, names or [name], f"paused by {actor}{f': {reason}' if reason else ''}")
    record_action(connection, name, "pause", actor, reason)


def resume(
    connection: Connection, name: str, actor: str, reason: str | None, names: Sequence[str] | None = None
) -> None:
    """Resume sending to a provider; see `pause` for the arguments."""
    resume_providers(connection, names or [name])
    record_action(connection, name, "resume", actor, reason)
