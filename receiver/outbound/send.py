"""Sending requests: what the exchange loop claims, composes, interprets and records for them.

An attempt is committed before its bytes leave, so that a crash is visible as an attempt without an outcome.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import structlog

from receiver.domain.jobs import EventSource
from receiver.domain.sending import (
    UNSTORABLE_RESPONSE_DETAIL,
    Attempt,
    Decision,
    NoResponse,
    ParsedResponse,
    RequestStatus,
    Response,
)
from receiver.domain.tracing import TRACEPARENT, build_child, derive_span_id
from receiver.exchange.channels import Channel
from receiver.exchange.loop import ExchangeTask
from receiver.exchange.work import CompletedExchange, ExchangeResult, Recordable
from receiver.providers.base import Provider, require_capability
from receiver.providers.capabilities import OutgoingRequest
from receiver.reconcile import reconcile_responses
from receiver.signatures.redaction import CREDENTIAL_HEADERS, REDACTED
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.due_providers import list_providers_with_due_requests
from receiver.store.errors import StoreUnavailable
from receiver.store.group_commit import QueueFull
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal
from receiver.store.requests import (
    AttemptOutcome,
    claim_requests,
    find_claimed_attempts,
    find_due_requests,
    record_outcomes,
)
from receiver.store.unknown_requests import accept_known_requests

_CREDENTIAL_HEADERS = CREDENTIAL_HEADERS | {"set-cookie"}
_log = structlog.get_logger(__name__)


class SendTask(ExchangeTask[Attempt, AttemptOutcome]):
    """Sends requests and records their responses."""

    name = "attempt"
    idle_interval_s = 0.1
    claims_ahead = True

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        super().__init__(providers)
        self._open_claims: dict[UUID, Collection[UUID]] = {}
        """The ids of attempts by claim, of claims that are not known to be committed."""

    def configure(self, providers: Mapping[str, Provider]) -> None:
        self._providers = [name for name, provider in providers.items() if provider.sender]

    @property
    def providers(self) -> Collection[str]:
        return self._providers

    def list_due_providers(self, connection: Connection) -> Collection[str]:
        return list_providers_with_due_requests(connection)

    def find_due(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        return find_due_requests(connection, capacities)

    def describe(self, work: Attempt) -> Mapping[str, Any]:
        return {"request": str(work.request_id), "attempt": str(work.id)}

    def claim(
        self, connection: Connection, capacities: Sequence[ProviderCapacity], leases: Mapping[str, float]
    ) -> Sequence[Attempt]:
        claim_id = uuid4()
        self._open_claims[claim_id] = ()
        attempts = claim_requests(connection, capacities, leases, claim_id)
        if attempts:
            self._open_claims[claim_id] = {attempt.id for attempt in attempts}
        else:
            del self._open_claims[claim_id]
        return attempts

    def on_claimed(self, works: Sequence[Attempt]) -> None:
        claimed_ids = {work.id for work in works}
        for claim_id, attempt_ids in list(self._open_claims.items()):
            if not claimed_ids.isdisjoint(attempt_ids):
                del self._open_claims[claim_id]

    def take_lost(self, database: Database) -> Sequence[Attempt]:
        if not self._open_claims:
            return ()
        with database.connection() as connection:
            attempts = find_claimed_attempts(connection, self._open_claims)
        self._open_claims.clear()
        return attempts

    def compose(self, channel: Channel, work: Attempt) -> OutgoingRequest:
        outgoing = require_capability(channel.provider.sender).compose(work, channel.callback_url)
        if work.traceparent is None:
            return outgoing
        traceparent = build_child(work.traceparent, derive_span_id(work.id))
        return replace(outgoing, headers={TRACEPARENT: traceparent, **outgoing.headers})

    def interpret(self, exchange: CompletedExchange[Attempt]) -> ExchangeResult[AttemptOutcome]:
        provider, attempt, outcome, now = exchange.provider, exchange.work, exchange.outcome, exchange.ended_at
        sender = require_capability(provider.sender)
        parsed = ParsedResponse()
        if isinstance(outcome, Response):
            parsed = sender.interpret(outcome).explain(outcome).bind(attempt.request_id)
        decider = sender.build_decider(attempt, provider.retry_rules, now, exchange.jitter)
        decision = _redact_decision(provider, decider.decide(outcome, parsed))
        events = [
            provider.build_event(
                report,
                EventSource.RESPONSE,
                attempt.id,
                now,
                index=index,
                request_id=attempt.request_id,
                poll_after=decision.poll_after,
                location=decision.location,
                notify=attempt.notify,
                notify_events=attempt.notify_events,
            )
            for index, report in enumerate(decision.reports)
        ]
        refusal = CredentialRefusal(provider.name, provider.fingerprint, decision.pause) if decision.pause else None
        stored = _redact_response(provider, outcome) if isinstance(outcome, Response) else outcome
        return ExchangeResult(AttemptOutcome(attempt, stored, decision, provider.first_lookup_after), events, refusal)

    def record(self, connection: Connection, results: Sequence[ExchangeResult[AttemptOutcome]]) -> None:
        all_moved = record_outcomes(connection, [result.update for result in results])
        matched = reconcile_responses(connection, [event for result in results for event in result.events])
        if not all_moved:
            # A late response may contain the job of a request that was queued again in the meantime.
            accepted = {
                result.update.attempt.request_id for result in results if result.update.decision.status.was_accepted
            }
            accept_known_requests(connection, matched & accepted)

    def on_record_failure(
        self, item: Recordable[Attempt, AttemptOutcome], work: Attempt, error: Exception
    ) -> Recordable[Attempt, AttemptOutcome] | None:
        """Record an attempt however long the store is unavailable: the provider acted and will not respond again.

        A response that cannot be stored is replaced by none, which makes its request unknown: without a record the
        request would be sent again.
        """
        if isinstance(error, StoreUnavailable | QueueFull):
            _log.debug("attempt.record_delayed", **self.describe(work), error=str(error))
            return item
        _log.error("attempt.record_failed", provider=work.provider, **self.describe(work), exc_info=error)
        return _build_unstorable_result(item, str(error)) if isinstance(item, CompletedExchange) else None


def _redact_decision(provider: Provider, decision: Decision) -> Decision:
    """Return a decision whose detail, which may quote the response, has no secrets."""
    if not decision.detail or not provider.redactor.has_secrets:
        return decision
    detail = provider.redactor.redact_text(decision.detail)
    return replace(decision, detail=detail, pause=detail if decision.pause else None)


def _redact_response(provider: Provider, response: Response) -> Response:
    """Return a response without cookies, our secrets and URL tokens: many providers send our callback URL back."""
    headers, body, redactor = response.headers, response.body, provider.redactor
    if not _CREDENTIAL_HEADERS.isdisjoint(headers):
        headers = {name: REDACTED if name in _CREDENTIAL_HEADERS else value for name, value in headers.items()}
    if redactor.has_secrets:
        body = redactor.redact_bytes(body)
        values = "\n".join(headers.values())
        if redactor.redact_text(values) != values:
            headers = {name: redactor.redact_text(value) for name, value in headers.items()}
    if headers is response.headers and body is response.body:
        return response
    return replace(response, headers=headers, body=body)


def _build_unstorable_result(exchange: CompletedExchange[Attempt], error: str) -> ExchangeResult[AttemptOutcome]:
    """Return the result of an attempt whose response cannot be stored: its request is unknown."""
    detail = f"{UNSTORABLE_RESPONSE_DETAIL}: {error}"
    decision = Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)
    return ExchangeResult(
        AttemptOutcome(exchange.work, NoResponse(detail, sent=True), decision, exchange.provider.first_lookup_after)
    )
