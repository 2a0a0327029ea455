"""Callback authentication, and a bounded sample of refused callbacks for `explain`.

`CallbackAuthenticator` verifies a callback by its provider's scheme and returns it as a `VerifiedCallback`, which
`receiver.inbound.receive` parses and stores. `AuthLog` records two things: the refused callbacks, see
`receiver.inbound.refusals`, and when each secret last matched, so that operators can see when a rotation is complete.

The log is written by a background thread. Unauthenticated callers must not be able to cause a write per request, and a
write must neither delay nor fail a response. The signature schemes themselves are in `receiver.signatures`.
"""

import threading
from dataclasses import field
from datetime import datetime
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.records import record
from receiver.exchange.key_documents import KeyDocuments
from receiver.inbound.refusals import RefusalLog, RefusedDelivery
from receiver.providers.base import Provider
from receiver.signatures.base import InvalidSignature
from receiver.signatures.redaction import find_token_fingerprint
from receiver.store.callbacks import SecretUse, save_secret_uses
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable

_WRITE_INTERVAL_S = 1.0
_SECRET_USE_INTERVAL_S = 60.0

_log = structlog.get_logger(__name__)


@record(frozen=True, slots=True)
class VerifiedCallback:
    """A callback that was sent by `provider`, without the secret that proves it.

    `id` is that of its row: a new id, unless the callback is stored already. It is set before the callback is first
    committed, so that the commit can be repeated. `secret_fingerprint` identifies the secret that matched, if any.
    """

    provider: Provider
    incoming: IncomingCallback
    id: UUID = field(default_factory=uuid7)
    secret_fingerprint: str | None = None


class AuthLog:
    """Refused callbacks and secret uses, buffered and written to the database by a background thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refusals = RefusalLog()
        self._secret_uses: dict[tuple[str, str], datetime] = {}
        self._written_uses: dict[tuple[str, str], datetime] = {}
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="auth-log", daemon=True)
        self._writer.start()

    def record_refusal(self, delivery: RefusedDelivery) -> None:
        """Count a refused callback and, within limits, log it and store it as a sample; see `RefusalLog`."""
        self._refusals.record(delivery)

    def record_match(self, provider: str, fingerprint: str, matched_at: datetime) -> None:
        """Record that a secret, named by its fingerprint, matched at `matched_at` (UTC)."""
        self._secret_uses[provider, fingerprint] = matched_at

    def close(self) -> None:
        """Write the buffered entries and stop the writer."""
        self._closing.set()
        self._writer.join()

    def _run(self) -> None:
        while not self._closing.wait(_WRITE_INTERVAL_S):
            self._write()
        self._write()

    def _write(self) -> None:
        due_uses = {
            key: used_at
            for key, used_at in list(self._secret_uses.items())
            if key not in self._written_uses
            or (used_at - self._written_uses[key]).total_seconds() >= _SECRET_USE_INTERVAL_S
        }
        if self._refusals.is_empty and not due_uses:
            return
        try:
            with self._database.connection() as connection:
                if not self._refusals.is_empty:
                    self._refusals.write(connection)
                save_secret_uses(connection, [SecretUse(*key, used_at) for key, used_at in due_uses.items()])
        except StoreUnavailable:
            return  # logged by the health of the store; the entries are written later
        except Exception as error:  # An error must not end the writer; the entries are dispensable.
            _log.warning("auth_log.write_failed", error=str(error))
        else:
            self._written_uses |= due_uses


class CallbackAuthenticator:
    """Verifies callbacks, and records refusals and secret uses in an `AuthLog`."""

    def __init__(self, log: AuthLog, documents: KeyDocuments) -> None:
        self._log = log
        self.documents = documents

    def authenticate(self, provider: Provider, incoming: IncomingCallback) -> VerifiedCallback:
        """Verify that a callback was sent by its provider, and remove the secrets from it.

        Raises:
            InvalidSignature: the callback does not prove its sender.
            DocumentUnavailable: the provider's public keys cannot be fetched now.
        """
        auth = provider.require_callbacks().settings.auth
        try:
            secret_index = self.verify(provider, incoming)
        except InvalidSignature as error:
            self.record_refusal(provider, incoming, error)
            raise
        redacted, fingerprint = auth.redact(incoming), None
        if secret_index is None:
            fingerprint = find_token_fingerprint(redacted.target)
        elif secret_index < len(auth.fingerprints):
            fingerprint = auth.fingerprints[secret_index]
            self._log.record_match(provider.name, fingerprint, incoming.received_at)
        return VerifiedCallback(provider, redacted, secret_fingerprint=fingerprint)

    def verify(self, provider: Provider, incoming: IncomingCallback) -> int | None:
        """Verify a callback by its provider's scheme; return the index of the secret that matched, if any.

        Raises:
            InvalidSignature: the callback does not prove its sender.
            DocumentUnavailable: the provider's public keys cannot be fetched now.
        """
        auth = provider.require_callbacks().settings.auth
        urls = auth.find_documents(incoming)
        if not urls:
            return auth.verify(incoming)
        try:
            index = auth.verify(incoming, self.documents.get(provider.name, urls, provider.egress))
        except InvalidSignature:
            # The provider may have rotated its keys since the documents were fetched.
            if not self.documents.mark_stale(provider.name, urls):
                raise
            index = auth.verify(incoming, self.documents.get(provider.name, urls, provider.egress))
        self.documents.mark_proven(provider.name, urls)
        return index

    def record_refusal(self, provider: Provider, incoming: IncomingCallback, error: InvalidSignature) -> None:
        """Record a callback that was refused by its address, its signature or as a handshake."""
        self._log.record_refusal(RefusedDelivery(provider, incoming, error.part, str(error)))

    def record_unread(self, provider: Provider, incoming: IncomingCallback, part: str, message: str) -> None:
        """Record a callback that was refused before it could be verified, or a handshake that admins need to see.

        `part` is one of `OTHER_REASONS`.
        """
        self._log.record_refusal(RefusedDelivery(provider, incoming, part, message))

    def close(self) -> None:
        """Write the buffered entries of the log and stop its writer."""
        self._log.close()
