"""Replaying a stored callback, for example after a mapping was corrected.

A replay uses the original receive time, so that its events have the same precedence as they had then. The verification
of an accepted callback stands: its result was stored, while the secret that proved it was not. A refused callback is
verified again by the current settings, as of its receive time.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import UUID

from receiver.domain.accounts import build_callback_path
from receiver.domain.addresses import group_address
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.media_types import is_readable
from receiver.domain.errors import StateConflict
from receiver.exchange.key_documents import KeyDocuments
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.explain import is_secret_redacted, restore_callback
from receiver.inbound.receive import ParsedCallback, parse_callback, record_callbacks, split_events, yield_to_others
from receiver.inbound.refusals import KEPT_HANDSHAKE, NOT_STORED, find_reason
from receiver.providers.base import Provider
from receiver.signatures.base import InvalidSignature
from receiver.store.actions import record_action
from receiver.store.callbacks import (
    Refusal,
    StoredCallback,
    Verdict,
    find_callback,
    update_callback,
    withdraw_refusal,
)
from receiver.store.connections import Connection
from receiver.store.nonces import find_reused_nonces

_UNRECORDED_PARTS: Mapping[str, str] = {
    "address": "The address",
    "handshake": "The handshake",
    KEPT_HANDSHAKE: "The handshake",
    "method": "The body",
    "too_large": "The body",
    "unreadable": "The body",
    NOT_STORED: "The body",
}
"""Parts of a callback that are checked when it comes in, but are not stored and cannot be checked again."""


def parse_again(
    stored: StoredCallback, provider: Provider | None, documents: KeyDocuments, public_url: str
) -> ParsedCallback:
    """Parse a stored callback by the current settings.

    Raises:
        StateConflict: the callback was erased, its provider is no longer configured, or it is still refused.
        DocumentUnavailable: the provider's public keys cannot be fetched now.
    """
    if stored.erased_at is not None:
        raise StateConflict(
            "The body of the callback was erased, so that it cannot be replayed. Have the provider send it again."
        )
    if provider is None or provider.callbacks is None:
        raise StateConflict(f"The provider {stored.provider} is not configured. Configure it to replay its callbacks.")
    incoming = restore_callback(stored, public_url)
    fingerprint = stored.secret_fingerprint
    if stored.verdict is Verdict.REFUSED or not stored.verified:
        try:
            fingerprint = _verify_again(stored, incoming, provider, documents)
        except InvalidSignature as error:
            raise StateConflict(f"The callback is still refused: {error}") from None
    return parse_callback(VerifiedCallback(provider, incoming, stored.id, fingerprint), pause=yield_to_others)


def record_replay(connection: Connection, parsed: ParsedCallback, actor: str, reason: str | None) -> None:
    """Reconcile the events of a replayed callback and update its verdict; call within a transaction.

    Raises:
        StateConflict: another callback has used the nonce of this one.
        StoreConflict: another delivery of the callback is being stored at the same time.
    """
    if parsed.nonces and find_reused_nonces(connection, parsed.nonces):
        raise StateConflict("The callback is still refused: its nonce was used for another callback.")
    for event_slice in split_events(parsed):
        record_callbacks(connection, event_slice.events, (), event_slice.job_ids_to_poll)
        yield_to_others()
    _withdraw_refusal(connection, parsed.stored.id)
    update_callback(connection, parsed.stored)
    record_action(connection, parsed.stored.id, "replay", actor, reason)


def _withdraw_refusal(connection: Connection, callback_id: UUID) -> None:
    """Take a callback out of the counts of refused ones, if it was refused until now."""
    refused = find_callback(connection, callback_id)
    if refused is not None and refused.verdict is Verdict.REFUSED:
        reason, caller = find_reason(next(iter(refused.errors or {}), "")), group_address(refused.caller_address or "")
        withdraw_refusal(connection, Refusal(refused.provider, reason, caller, 1, refused.received_at))


def _verify_again(
    stored: StoredCallback, incoming: IncomingCallback, provider: Provider, documents: KeyDocuments
) -> str | None:
    """Verify a refused callback by the current settings, as of its receive time.

    Returns:
        The fingerprint of the secret that matched, if any.

    Raises:
        InvalidSignature: the callback still does not prove its sender.
    """
    auth = provider.require_callbacks().settings.auth
    for part in _UNRECORDED_PARTS.keys() & (stored.errors or {}).keys():
        message = f"{_UNRECORDED_PARTS[part]} was not stored. Have the provider send the callback again."
        raise InvalidSignature(part, message)
    kind = provider.require_callbacks().settings.body_kind
    if incoming.method != "GET" and not is_readable(kind, incoming.headers.get("content-type", "")):
        raise InvalidSignature("media_type", f"A body of this media type cannot be read as {kind}.")
    restored = auth.redactor.restore_tokens(incoming)
    path = urlsplit(restored.target).path
    token = path.removeprefix(build_callback_path(provider.name)).removeprefix("/")
    if not auth.accepts_token(token):
        raise InvalidSignature("token", "The URL it was sent to is no longer a callback URL of the provider.")
    if auth.scheme is None:
        return None
    if is_secret_redacted(incoming, auth.scheme):
        part = next(iter(stored.errors or {}), "signature")
        raise InvalidSignature(part, "The value it came with is not stored. Have the provider send it again.")
    key_documents = documents.get(provider.name, auth.find_documents(restored), provider.egress)
    index = auth.verify(restored, key_documents)
    return auth.fingerprints[index] if index is not None and index < len(auth.fingerprints) else None
