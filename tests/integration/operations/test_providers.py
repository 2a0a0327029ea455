"""Operators' actions on providers: their effect, and that they are recorded."""

from receiver.operations.providers import pause, resume
from receiver.store.actions import find_actions
from receiver.store.connections import Connection
from receiver.store.providers import CredentialRefusal, find_pauses, refuse_credentials


def test_pause_names_actor_and_reason(connection: Connection) -> None:
    pause(connection, "acme", "ops", "an outage")
    pause(connection, "other", "ops", None)
    assert {item.name: item.pause_reason for item in find_pauses(connection)} == {
        "acme": "paused by ops: an outage",
        "other": "paused by ops",
    }


def test_resume_ends_pauses_of_any_cause(connection: Connection) -> None:
    pause(connection, "acme", "ops", None)
    refuse_credentials(connection, [CredentialRefusal("acme", "key", "401: no")])
    resume(connection, "acme", "ops", "it is back")
    assert find_pauses(connection) == []


def test_every_action_is_recorded(connection: Connection) -> None:
    pause(connection, "acme", "ops", "an outage")
    pause(connection, "acme", "shop", None)
    resume(connection, "acme", "ops", "it is back")
    actions = find_actions(connection, "acme")
    assert [(action.action, action.actor, action.reason) for action in actions] == [
        ("pause", "ops", "an outage"),
        ("pause", "shop", None),
        ("resume", "ops", "it is back"),
    ]
