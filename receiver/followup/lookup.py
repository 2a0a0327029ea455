"""Lookups: asking a provider by our own reference whether it accepted a request whose status is `unknown`.

What a lookup result means for the request is decided by `receiver.domain.unknown_requests`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog

from receiver.domain.backoff import parse_retry_after
from receiver.domain.jobs import EventSource
from receiver.domain.sending import RETRY_UNSENT_AFTER_S, NoResponse, NotSent, ParsedResponse, RequestStatus
from receiver.domain.unknown_requests import LookupResult, UnknownRequest, decide_lookup, reject_lookup
from receiver.exchange.channels import Channel
from receiver.exchange.credentials import find_refusal
from receiver.exchange.loop import ExchangeTask
from receiver.exchange.work import CompletedExchange, ExchangeResult
from receiver.providers.base import Provider, find_lookup_delays, require_capability
from receiver.providers.capabilities import LookupImpossible, OutgoingRequest
from receiver.reconcile import reconcile_responses
from receiver.store.connections import Connection
from receiver.store.due_providers import list_providers_with_due_lookups
from receiver.store.limits import ProviderCapacity
from receiver.store.unknown_requests import (
    LookupUpdate,
    accept_known_requests,
    claim_lookups,
    find_due_lookups,
    record_lookup_results,
    resume_lookups,
)

_log = structlog.get_logger(__name__)


class LookupTask(ExchangeTask[UnknownRequest, LookupUpdate]):
    """Looks up unknown requests."""

    name = "lookup"

    def configure(self, providers: Mapping[str, Provider]) -> None:
        self._delays_to_resume = find_lookup_delays(providers)
        self._providers = list(self._delays_to_resume)

    @property
    def providers(self) -> Collection[str]:
        return self._providers

    def list_due_providers(self, connection: Connection) -> Collection[str]:
        return list_providers_with_due_lookups(connection)

    def find_due(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        """Return the providers with due lookups.

        The first call also schedules lookups for requests that became unknown before their provider supported lookups.
        """
        if self._delays_to_resume:
            count = resume_lookups(connection, self._delays_to_resume)
            _log.info("lookups.resumed", count=count)
            self._delays_to_resume = {}
        return find_due_lookups(connection, capacities)

    def describe(self, work: UnknownRequest) -> Mapping[str, Any]:
        return {"request": str(work.id)}

    def claim(
        self, connection: Connection, capacities: Sequence[ProviderCapacity], leases: Mapping[str, float]
    ) -> Sequence[UnknownRequest]:
        return claim_lookups(connection, capacities, leases)

    def compose(self, channel: Channel, work: UnknownRequest) -> OutgoingRequest | NotSent:
        try:
            return require_capability(channel.provider.lookup).compose(work)
        except LookupImpossible as error:
            return NotSent(str(error), permanent=True)

    def interpret(self, exchange: CompletedExchange[UnknownRequest]) -> ExchangeResult[LookupUpdate]:
        provider, unknown_request, now = exchange.provider, exchange.work, exchange.ended_at
        lookup_result = self._decide(exchange)
        events = [
            provider.build_event(
                report,
                EventSource.POLL,
                unknown_request.id,
                now,
                index=index,
                request_id=unknown_request.id,
                notify=unknown_request.notify,
                notify_events=unknown_request.notify_events,
            )
            for index, report in enumerate(lookup_result.reports)
        ]
        update = LookupUpdate(
            id=unknown_request.id,
            lookup_count=unknown_request.lookup_count,
            unknown_since=unknown_request.unknown_since,
            status=lookup_result.status,
            detail=provider.redactor.redact_text(lookup_result.detail) if lookup_result.detail else None,
            next_in=lookup_result.next_in,
            absent=lookup_result.absent,
        )
        return ExchangeResult(update, events, find_refusal(provider, exchange.outcome))

    def record(self, connection: Connection, results: Sequence[ExchangeResult[LookupUpdate]]) -> None:
        updates = [result.update for result in results]
        updated_ids = record_lookup_results(connection, updates)
        matched_ids = reconcile_responses(connection, [event for result in results for event in result.events])
        # An operator may have queued the request again during the lookup, so that its update does not apply any more.
        # A job that the lookup found still proves that the provider accepted the request.
        accepted_ids = {update.id for update in updates if update.status.was_accepted}
        accept_known_requests(connection, matched_ids & accepted_ids - updated_ids)
        for update in updates:
            if update.id in updated_ids and update.status is not RequestStatus.UNKNOWN:
                _log.info("request.settled", request=str(update.id), status=update.status)

    def _decide(self, exchange: CompletedExchange[UnknownRequest]) -> LookupResult:
        """Decide about an unknown request by the outcome of its lookup."""
        outcome, lookup = exchange.outcome, require_capability(exchange.provider.lookup)
        if isinstance(outcome, NotSent):
            if outcome.permanent:
                return reject_lookup(outcome.error)
            return LookupResult(RequestStatus.UNKNOWN, next_in=RETRY_UNSENT_AFTER_S)
        if isinstance(outcome, NoResponse):
            retry_after, parsed = None, ParsedResponse(problem=f"no response: {outcome.error}")
        else:
            retry_after = parse_retry_after(outcome.headers, exchange.ended_at)
            parsed = lookup.interpret(outcome).explain(outcome).bind(exchange.work.id)
        retry_rules = exchange.provider.retry_rules
        return decide_lookup(
            exchange.work, lookup.policy, retry_rules, parsed, jitter=exchange.jitter, wait=retry_after
        )
