"""Actions of operators in the database."""

from uuid import uuid4

from receiver.store.actions import find_actions, record_action
from receiver.store.connections import Connection


def test_actions_of_a_subject_are_found_oldest_first(connection: Connection) -> None:
    request = uuid4()
    record_action(connection, request, "cancel", "ops", "sent by mistake")
    record_action(connection, request, "retry", "shop", None)
    actions = find_actions(connection, request)
    assert [(action.actor, action.action, action.reason) for action in actions] == [
        ("ops", "cancel", "sent by mistake"),
        ("shop", "retry", None),
    ]
    assert actions[0].created_at <= actions[1].created_at


def test_actions_of_other_subjects_are_left_out(connection: Connection) -> None:
    record_action(connection, "acme", "pause", "ops", None)
    record_action(connection, uuid4(), "retry", "ops", None)
    assert [action.action for action in find_actions(connection, "acme")] == ["pause"]
    assert find_actions(connection, "other") == []
