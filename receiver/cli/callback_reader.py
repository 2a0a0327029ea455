"""Parses stored callbacks with the current settings, for `receiver audit`."""

from collections.abc import Sequence

from receiver.domain.jobs import JobEvent
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.explain import restore_callback
from receiver.inbound.receive import ParsedCallback, parse_callback
from receiver.inbound.replay import record_replay
from receiver.settings import Settings
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.connections import Connection

_ACTOR, _REASON = "receiver audit", "none of the events of this callback was stored"


class ConfiguredCallbackReader:
    """Reads callbacks for `receiver.followup.audit`, with the providers of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._providers = settings.providers
        self._public_url = settings.public_url

    def parse_events(self, callback: StoredCallback) -> Sequence[JobEvent] | None:
        """Return the events of a callback; None if its provider is not configured or cannot parse it now."""
        parsed = self._parse(callback)
        if parsed is None or (parsed.stored.verdict is Verdict.INVALID and not parsed.events):
            return None
        return parsed.events

    def replay(self, connection: Connection, callback: StoredCallback) -> None:
        """Record the events of a callback, within the transaction of `connection`."""
        parsed = self._parse(callback)
        if parsed is not None:
            record_replay(connection, parsed, _ACTOR, _REASON)

    def has_poller(self, provider: str) -> bool:
        """Return whether jobs of this provider can be polled."""
        configured = self._providers.get(provider)
        return configured is not None and configured.poller is not None

    def _parse(self, callback: StoredCallback) -> ParsedCallback | None:
        provider = self._providers.get(callback.provider)
        if provider is None or provider.callbacks is None:
            return None
        incoming = restore_callback(callback, self._public_url)
        return parse_callback(VerifiedCallback(provider, incoming, callback.id, callback.secret_fingerprint))
