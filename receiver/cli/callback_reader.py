"""Reads kept callbacks by the settings of now, for `receiver audit`."""

from collections.abc import Sequence

from receiver.domain.jobs import JobEvent
from receiver.inbound.explain import restore_callback
from receiver.inbound.receive import ParsedCallback, parse_callback
from receiver.inbound.replay import record_replay
from receiver.settings import Settings
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.database import Connection

_BY, _WHY = "receiver audit", "no event named it: what it says was lost"


class ConfiguredCallbackReader:
    """The providers of the settings, as `receiver.followup.audit` asks for them."""

    def __init__(self, settings: Settings) -> None:
        self._providers = settings.providers
        self._public_url = settings.public_url

    def parse_events(self, callback: StoredCallback) -> Sequence[JobEvent] | None:
        """Give the events that a callback makes; None if its provider is not configured, or cannot read it now."""
        received = self._read(callback)
        if received is None or (received.callback.verdict is Verdict.INVALID and not received.events):
            return None
        return received.events

    def replay(self, connection: Connection, callback: StoredCallback) -> None:
        """Record what a callback says; within the transaction of `connection`."""
        received = self._read(callback)
        if received is not None:
            record_replay(connection, received, _BY, _WHY)

    def can_poll(self, provider: str) -> bool:
        """Whether a provider can be asked about its jobs."""
        known = self._providers.get(provider)
        return known is not None and known.can_poll

    def _read(self, callback: StoredCallback) -> ParsedCallback | None:
        provider = self._providers.get(callback.provider)
        return (
            None
            if provider is None
            else parse_callback(provider, restore_callback(callback, self._public_url), callback.id)
        )
