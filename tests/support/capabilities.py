"""The capabilities of a provider that tests know to exist."""

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.capabilities import Callbacks, Lookup, Poller, Sender


def sender_of(provider: Provider) -> Sender:
    """Return the sender of a provider."""
    assert provider.sender
    return provider.sender


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
    return settings.handshake.respond(callback, lambda: settings.auth.verify(callback)) if settings.handshake else None
