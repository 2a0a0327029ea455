"""The reader of callbacks for `receiver audit` parses them by the current settings."""

from pathlib import Path

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.store.actions import find_actions
from receiver.store.callbacks import StoredCallback
from receiver.store.connections import Connection
from tests.support.factories import NOON, PUBLIC_URL, provider, settings
from tests.support.http import build_report
from tests.support.kinds import PROVIDERS

READER = ConfiguredCallbackReader(settings("", Path(), {"sandbox": provider(), "acme": PROVIDERS["acme"]}))


def build_stored(body: bytes, name: str = "sandbox") -> StoredCallback:
    incoming = IncomingCallback("POST", f"/callbacks/{name}", {}, body, NOON, PUBLIC_URL)
    return parse_callback(VerifiedCallback(provider(name=name), incoming)).stored


def test_events_are_parsed_with_their_receive_time() -> None:
    events = READER.parse_events(build_stored(build_report("ref-1")))
    assert events is not None
    assert [(event.reference, event.status, event.received_at) for event in events] == [
        ("ref-1", JobStatus.SUCCEEDED, NOON)
    ]


def test_unconfigured_or_unreadable_callback_has_no_events() -> None:
    assert READER.parse_events(build_stored(build_report("ref-1"), "gone")) is None
    assert READER.parse_events(build_stored(b"no json")) is None


def test_only_configured_provider_with_polls_can_be_polled() -> None:
    assert [READER.has_poller(name) for name in ("sandbox", "acme", "gone")] == [True, False, False]


def test_replay_records_lost_events_as_audit(connection: Connection) -> None:
    stored = build_stored(build_report("ref-1"))
    record_callbacks(connection, (), [stored], ())
    with connection.transaction():
        READER.replay(connection, stored)
    assert connection.execute("SELECT reference, status FROM jobs").fetchall() == [("ref-1", "succeeded")]
    [action] = find_actions(connection, stored.id)
    assert (action.action, action.actor) == ("replay", "receiver audit")


def test_replay_of_unconfigured_provider_changes_nothing(connection: Connection) -> None:
    stored = build_stored(build_report("ref-1"), "gone")
    record_callbacks(connection, (), [stored], ())
    READER.replay(connection, stored)
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
