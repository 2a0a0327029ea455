"""What follows when a provider refuses our credentials: nothing more is sent with them, until they are changed.

A refusal is kept for the credentials, by their fingerprint, and not for the provider: during a deployment workers with
the old and the new ones run side by side. Those whose credentials were refused send no more. One with others lifts the
pause, and everything is sent by those, however late a refusal of the old ones comes.
"""

from collections.abc import Mapping, Sequence

import structlog

from receiver.domain.responses import explain_credentials_refusal
from receiver.domain.sending import NoResponse, NotSent, Response
from receiver.providers.base import Provider
from receiver.store.actions import record_action
from receiver.store.database import Connection, Database
from receiver.store.providers import (
    CredentialRefusal,
    ProviderCredentials,
    find_pauses,
    forget_refusals,
    lift_refusals,
    refuse_credentials,
)

_EVERY = 1.0
_TRIED_AGAIN_AFTER = 600.0
_CHANGED = "its credentials changed"
_REMEDY = "correct its credentials and restart the workers, or: receiver provider resume {}"
_US = "receiver"

_log = structlog.get_logger(__name__)


def find_refusal(provider: Provider, outcome: Response | NoResponse | NotSent) -> CredentialRefusal | None:
    """Give the refusal of our credentials that an exchange ended with; None for every other end."""
    reason = explain_credentials_refusal(outcome.status) if isinstance(outcome, Response) else None
    return CredentialRefusal(provider.name, provider.fingerprint, reason) if reason else None


def record_refusals(connection: Connection, refusals: Sequence[CredentialRefusal]) -> None:
    """Pause those whose credentials were refused, and say so once; call within a transaction."""
    for refused in refuse_credentials(connection, refusals) if refusals else ():
        remedy = _REMEDY.format(refused.provider)
        _log.error("provider.paused", provider=refused.provider, reason=refused.reason, remedy=remedy)


class CredentialMonitor:
    """Resumes providers whose credentials have changed; `step` is called over and over by the worker."""

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self._mine = [ProviderCredentials(name, provider.fingerprint) for name, provider in providers.items()]
        self._starting = True

    def step(self) -> float:
        """Lift the pauses of credentials other than this worker's; gives the seconds until the next look."""
        with self._database.transaction() as connection:
            forget_refusals(connection, self._mine, _TRIED_AGAIN_AFTER, starting=self._starting)
            resumed = lift_refusals(connection, self._mine)
            for name in resumed:
                record_action(connection, name, "resume", _US, _CHANGED)
            if self._starting:
                self._tell_pauses(connection)
        self._starting = False
        for name in resumed:
            _log.info("provider.resumed", provider=name, reason=_CHANGED)
        return _EVERY

    def _tell_pauses(self, connection: Connection) -> None:
        """Remind of the pauses that a start does not lift."""
        mine = {one.provider for one in self._mine}
        for pause in find_pauses(connection):
            if pause.name in mine:
                reason, since = pause.pause_reason, pause.paused_at.isoformat()
                _log.warning("provider.still_paused", provider=pause.name, reason=reason, since=since)
