"""Operators' actions on providers: pause and resume sending."""

from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.providers import pause_provider, resume_provider


def pause(connection: Connection, name: str, actor: str, reason: str | None) -> None:
    """Stop sending to a provider; its requests stay queued. An existing pause by an operator keeps its reason."""
    pause_provider(connection, name, f"paused by {actor}{f': {reason}' if reason else ''}")
    record_action(connection, name, "pause", actor, reason)


def resume(connection: Connection, name: str, actor: str, reason: str | None) -> None:
    """Resume sending to a provider."""
    resume_provider(connection, name)
    record_action(connection, name, "resume", actor, reason)
