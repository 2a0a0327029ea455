"""Reads a kept callback again, as after a mapping was corrected.

It keeps the time at which it was received, so that it weighs as it did then, and the check of its signature: what was
taken is not checked again, and what was refused must pass now as of that time.
"""

from urllib.parse import urlsplit

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.inbound.explain import restore_callback
from receiver.inbound.key_documents import KeyDocuments
from receiver.inbound.receive import ParsedCallback, parse_callback, record_callbacks
from receiver.providers.base import Provider
from receiver.signatures.base import SignatureRefused
from receiver.store.actions import record_action
from receiver.store.callbacks import StoredCallback, Verdict, update_callback
from receiver.store.database import Connection

_UNKNOWN_NOW = frozenset({"address", "handshake"})


def parse_again(
    stored: StoredCallback, provider: Provider | None, documents: KeyDocuments, public_url: str
) -> ParsedCallback:
    """Read a kept callback by the settings of now.

    Raises:
        StateConflict: its provider is not configured any more, or its signature is still refused.
        DocumentUnavailable: the provider's public keys cannot be had now.
    """
    if provider is None:
        raise StateConflict(f"{stored.provider} is not configured; configure it to replay its callbacks")
    callback = restore_callback(stored, public_url)
    if stored.verdict is Verdict.REFUSED:
        try:
            _check_again(stored, callback, provider, documents)
        except SignatureRefused as error:
            raise StateConflict(f"the callback is still refused: {error}") from None
    return parse_callback(provider, callback, stored.id)


def _check_again(
    stored: StoredCallback, callback: IncomingCallback, provider: Provider, documents: KeyDocuments
) -> None:
    """Let a delivery pass that proves its sender by the settings of now, as of the time at which it came."""
    auth = provider.callback_settings.auth
    for part in _UNKNOWN_NOW & (stored.errors or {}).keys():
        raise SignatureRefused(part, f"the {part} it came with was not kept; have the provider send it again")
    path = urlsplit(callback.target).path
    token = path.removeprefix(f"/callbacks/{provider.name}").removeprefix("/")
    if not auth.admits(token):
        raise SignatureRefused("token", "the URL it was sent to is not the provider's any more")
    auth.verify(callback, documents.get(auth.scheme.documents if auth.scheme else ()))


def record_replay(connection: Connection, received: ParsedCallback, actor: str, reason: str | None) -> None:
    """Record what a kept callback says when it is read again; call within a transaction.

    Raises:
        StoreConflict: another delivery of it is being stored at this moment.
    """
    record_callbacks(connection, received.events, (), received.asked)
    update_callback(connection, received.callback)
    record_action(connection, received.callback.id, "replay", actor, reason)
