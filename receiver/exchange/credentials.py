"""Refused credentials: nothing more is sent with credentials that a provider refused, until they change.

An account that has run empty is such a refusal, too: an operator resumes the provider when the account is settled.

A refusal is stored for the credentials, by their fingerprint, and not for the provider: during a deployment, workers
with the old and the new credentials run side by side. Workers with refused credentials send nothing. A worker with
other credentials lifts the pause and sends everything, however late a refusal of the old credentials arrives.
"""

from collections.abc import Mapping, Sequence

import structlog

from receiver.domain.messages import add_message
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import NotSent, Outcome, Response
from receiver.providers.base import Provider
from receiver.store.actions import record_action
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.providers import (
    CredentialRefusal,
    ProviderCredentials,
    copy_refusals,
    find_pauses,
    forget_refusals,
    lift_refusals,
    refuse_credentials,
)

_CHECK_INTERVAL_S = 1.0
_RETRY_REFUSED_AFTER_S = 600.0
_ACTOR = "receiver"
_RESUME_REASON = "credentials changed"
_REMEDY = (
    "correct the credentials and reload the configuration (SIGHUP), or restart the workers if their environment "
    "changed; or settle the account and run: receiver provider resume {}"
)

_log = structlog.get_logger(__name__)


def find_refusal(provider: Provider, outcome: Outcome) -> CredentialRefusal | None:
    """Return the refusal of our credentials or our account in the outcome of a poll or a lookup; None for no refusal.

    A 404 is about a job or a request, whatever it means for a new request.
    """
    if isinstance(outcome, NotSent) and outcome.refusal:
        return CredentialRefusal(provider.name, provider.fingerprint, outcome.refusal)
    if not isinstance(outcome, Response) or outcome.status == 404:
        return None
    rule = find_status_rule(outcome.status, provider.retry_rules.status_codes)
    if rule.response_class is not ResponseClass.PAUSE:
        return None
    reason = add_message(f"{outcome.status}: {rule.advice}", outcome.headers, outcome.body)
    return CredentialRefusal(provider.name, provider.fingerprint, provider.redactor.redact_text(reason))


def record_refusals(connection: Connection, refusals: Sequence[CredentialRefusal]) -> None:
    """Pause the providers that refused our credentials, and log each pause once; call within a transaction."""
    for refusal in refuse_credentials(connection, refusals):
        remedy = _REMEDY.format(refusal.provider)
        _log.error("provider.paused", provider=refusal.provider, reason=refusal.reason, remedy=remedy)


class CredentialMonitor:
    """Resumes providers whose credentials have changed; the worker calls `step` repeatedly."""

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self.configure(providers)

    def configure(self, providers: Mapping[str, Provider]) -> None:
        """Use the credentials of these providers from now on, and try all of them at once."""
        self._credentials = [
            ProviderCredentials(name, provider.fingerprint, provider.former_fingerprints)
            for name, provider in providers.items()
        ]
        self._starting = True

    def step(self) -> float:
        """Lift the pauses of credentials other than this worker's; return the seconds until the next step."""
        credentials, starting, self._starting = self._credentials, self._starting, False
        try:
            with self._database.transaction() as connection:
                # The key of the fingerprints may have been replaced, which changes no credentials.
                if any(each.former_fingerprints for each in credentials):
                    copy_refusals(connection, credentials)
                forget_refusals(connection, credentials, _RETRY_REFUSED_AFTER_S, starting=starting)
                resumed = lift_refusals(connection, credentials)
                for name in resumed:
                    record_action(connection, name, "resume", _ACTOR, _RESUME_REASON)
                if starting:
                    self._log_pauses(connection)
        except BaseException:
            self._starting = starting or self._starting
            raise
        for name in resumed:
            _log.info("provider.resumed", provider=name, reason=_RESUME_REASON)
        return _CHECK_INTERVAL_S

    def _log_pauses(self, connection: Connection) -> None:
        """Log the pauses that the start of a worker does not lift."""
        names = {credentials.provider for credentials in self._credentials}
        for pause in find_pauses(connection):
            if pause.name in names:
                reason, since = pause.pause_reason, pause.paused_at.isoformat()
                _log.warning("provider.pause_continued", provider=pause.name, reason=reason, since=since)
