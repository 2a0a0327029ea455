"""The guard at the callback endpoint: who may pass, and a record of what it saw.

Refused deliveries are kept as a bounded sample, so that `explain` can tell what is wrong with them; of secrets it is
noted when they last matched, so that one can see when a rotation is complete. Both are written in the background and at
leisure: strangers must not be able to make us write, and neither may delay or fail an answer.
"""

import threading
from collections import defaultdict, deque
from datetime import datetime

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import derive_id
from receiver.inbound.key_documents import KeyDocuments
from receiver.providers.base import Provider
from receiver.signatures.base import SignatureRefused
from receiver.store.callbacks import SecretUse, StoredCallback, Verdict, save_refused, save_secret_uses
from receiver.store.database import Connection, Database

MAX_SAMPLES_PER_PROVIDER = 100
"""How many refused deliveries are kept of each provider."""
_LARGEST_BODY = 256 << 10
_EVERY = 1.0
_AT_ONCE = 10
_USES_EVERY = 60.0

_log = structlog.get_logger(__name__)


class AuthLog:
    """What the guard saw, on its way into the store; see the module."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refused = _waiting_room()
        self._uses: dict[tuple[str, str], datetime] = {}
        self._written: dict[tuple[str, str], datetime] = {}
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="guard-log", daemon=True)
        self._writer.start()

    def refused(self, provider: str, callback: IncomingCallback, error: SignatureRefused) -> None:
        """Remember a refused delivery, unless its body is very large; the newest few of every second are kept."""
        _log.info("callback.refused", provider=provider, part=error.part, why=str(error))
        if len(callback.body) > _LARGEST_BODY:
            return
        self._refused[provider].append(
            StoredCallback(
                id=uuid7(),
                identity=derive_id(provider.encode(), callback.body),
                provider=provider,
                received_at=callback.received_at,
                verdict=Verdict.REFUSED,
                method=callback.method,
                target=callback.target,
                headers=callback.headers,
                body=callback.body,
                errors={error.part: [str(error)]},
            )
        )

    def matched(self, provider: str, fingerprint: str, at: datetime) -> None:
        """Remember that a secret matched."""
        self._uses[provider, fingerprint] = at

    def close(self) -> None:
        """Write what is left and stop."""
        self._closing.set()
        self._writer.join()

    def _run(self) -> None:
        while not self._closing.wait(_EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        waiting, self._refused = self._refused, _waiting_room()
        refused = [callback for few in waiting.values() for callback in few]
        uses = {
            key: at
            for key, at in list(self._uses.items())
            if key not in self._written or (at - self._written[key]).total_seconds() >= _USES_EVERY
        }
        if not refused and not uses:
            return
        try:
            with self._database.connection() as connection:
                for callback in refused:
                    _keep(connection, callback)
                save_secret_uses(connection, [SecretUse(*key, at) for key, at in uses.items()])
        except Exception as error:  # it must not end the writer, and may be forgotten
            _log.warning("guard_log.not_written", error=str(error))
        else:
            self._written |= uses


class CallbackAuthenticator:
    """Verifies deliveries and records what it saw."""

    def __init__(self, log: AuthLog, documents: KeyDocuments) -> None:
        self._log = log
        self.documents = documents

    def verify(self, provider: Provider, callback: IncomingCallback) -> None:
        """Let a delivery pass that proves its sender.

        Raises:
            SignatureRefused: it does not.
            DocumentUnavailable: the provider's public keys cannot be had now.
        """
        auth = provider.callback_settings.auth
        needed = auth.scheme.documents if auth.scheme else ()
        try:
            matched = auth.verify(callback, self.documents.get(needed)) if needed else auth.verify(callback)
        except SignatureRefused as error:
            self._log.refused(provider.name, callback, error)
            self.documents.unknown_request(needed)
            raise
        if matched is not None and matched < len(auth.fingerprints):
            self._log.matched(provider.name, auth.fingerprints[matched], callback.received_at)

    def refuse(self, provider: Provider, callback: IncomingCallback, error: SignatureRefused) -> None:
        """Record a refusal that came from elsewhere."""
        self._log.refused(provider.name, callback, error)

    def close(self) -> None:
        """Write what is left."""
        self._log.close()


def _waiting_room() -> "defaultdict[str, deque[StoredCallback]]":
    return defaultdict(lambda: deque(maxlen=_AT_ONCE))


def _keep(connection: Connection, callback: StoredCallback) -> None:
    """Keep one by one, as a stranger's bytes may be such that Postgres cannot hold them."""
    try:
        save_refused(connection, [callback], max_per_provider=MAX_SAMPLES_PER_PROVIDER)
    except Exception as error:  # the next may be sound
        _log.info("guard_log.not_kept", provider=callback.provider, error=str(error))
