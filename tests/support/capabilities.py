"""The capabilities of a provider that tests know to exist."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.documents.encodings import decode_body
from receiver.domain.jobs import StatusReport
from receiver.inbound.receive import collect_items
from receiver.providers.base import Provider
from receiver.providers.capabilities import Callbacks, Lookup, Poller, Sender


def sender_of(provider: Provider) -> Sender:
    """Return the sender of a provider."""
    assert provider.sender
    return provider.sender


class ParsedReports(NamedTuple):
    """The reports of a callback with their positions, and the errors of its invalid items."""

    reports: Sequence[tuple[int, StatusReport]]
    errors: Mapping[str, Any]


def parse_reports_of(provider: Provider, callback: IncomingCallback) -> ParsedReports:
    """Decompress a callback and parse all its items; raises MalformedCallback if none is valid."""
    return ParsedReports(*collect_items(callbacks_of(provider).parse(decode_body(callback))))


def callbacks_of(provider: Provider) -> Callbacks:
    """Return the callbacks of a provider."""
    return provider.require_callbacks()


def poller_of(provider: Provider) -> Poller:
    """Return the poller of a provider."""
    assert provider.poller
    return provider.poller


def lookup_of(provider: Provider) -> Lookup:
    """Return the lookup of a provider."""
    assert provider.lookup
    return provider.lookup


def answer_handshake(provider: Provider, callback: IncomingCallback) -> Ack | None:
    """Return the response to a handshake, or None for a callback; see `Handshake.respond`."""
    settings = callbacks_of(provider).settings
    response = (
        settings.handshake.respond(callback, lambda: settings.auth.verify(callback)) if settings.handshake else None
    )
    return response.ack if response else None
