"""Polling providers about open jobs: one by one, or many in one exchange where the provider supports batches.

A provider's description composes the request and parses the response; here jobs are put into batches, and a poll's
events and the jobs' next polls are derived.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.domain.backoff import compute_poll_interval, parse_retry_after
from receiver.domain.jobs import EventSource, JobEvent, StatusReport, build_unresolved_event, derive_id
from receiver.domain.paths import has_dot_segment
from receiver.domain.records import record
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import RETRY_UNSENT_AFTER_S, NoResponse, NotSent, Response
from receiver.exchange.channels import Channel
from receiver.exchange.credentials import find_refusal
from receiver.exchange.loop import ExchangeTask
from receiver.exchange.work import CompletedExchange, ExchangeResult
from receiver.providers.base import Provider, require_capability
from receiver.providers.capabilities import OutgoingRequest, PollPolicy
from receiver.providers.unreadable import explain_missing_reports
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.due_providers import list_providers_with_due_polls
from receiver.store.jobs import NextPoll, SilentJob, claim_polls, find_due_polls, schedule_polls
from receiver.store.limits import ProviderCapacity

_MAX_LOGGED = 20
_LOGGED_CLASSES = frozenset({ResponseClass.READ_BODY, ResponseClass.REJECTED, ResponseClass.DUPLICATE})
"""The classes of responses that are logged if they contain no report; others pass, or are counted elsewhere."""


@record(frozen=True, slots=True)
class PollBatch:
    """Jobs of one provider that are polled in one exchange."""

    provider: str
    jobs: Sequence[SilentJob]


class PollTask(ExchangeTask[PollBatch, Sequence[NextPoll]]):
    """Polls open jobs; an update is when each job of a poll is polled next."""

    name = "poll"
    claims_ahead = True

    def configure(self, providers: Mapping[str, Provider]) -> None:
        pollers = {name: provider.poller for name, provider in providers.items() if provider.poller}
        self._batch_sizes = {name: poller.batch_size for name, poller in pollers.items()}

    @property
    def providers(self) -> Collection[str]:
        return self._batch_sizes

    def list_due_providers(self, connection: Connection) -> Collection[str]:
        return list_providers_with_due_polls(connection)

    def find_due(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        return find_due_polls(connection, capacities)

    def describe(self, work: PollBatch) -> Mapping[str, Any]:
        return {"jobs": [str(job.id) for job in work.jobs[:_MAX_LOGGED]]}

    def claim(
        self, connection: Connection, capacities: Sequence[ProviderCapacity], leases: Mapping[str, float]
    ) -> Sequence[PollBatch]:
        """Lease due jobs and group them into exchanges.

        A job with a status URL of its own is polled alone, the others of a provider are polled together. A job that
        cannot be polled stands alone, too.
        """
        batch_sizes = self._batch_sizes  # other ones may be configured during the claim
        single_polls: list[PollBatch] = []
        jobs_by_provider: dict[str, list[SilentJob]] = {}
        for job in claim_polls(connection, capacities, batch_sizes, leases):
            if job.location or batch_sizes[job.provider] == 1 or has_dot_segment(job.reference):
                single_polls.append(PollBatch(job.provider, [job]))
            else:
                jobs_by_provider.setdefault(job.provider, []).append(job)
        batch_polls = (
            poll for name, jobs in jobs_by_provider.items() for poll in _split_jobs(name, jobs, batch_sizes[name])
        )
        return [*single_polls, *batch_polls]

    def compose(self, channel: Channel, work: PollBatch) -> OutgoingRequest | NotSent:
        references, first = [job.reference for job in work.jobs], work.jobs[0]
        if first.location is None and any(map(has_dot_segment, references)):
            return NotSent("the reference would lead to another path", permanent=True)
        return require_capability(channel.provider.poller).compose_at(references, first.location, first.polled_at)

    def interpret(self, exchange: CompletedExchange[PollBatch]) -> ExchangeResult[Sequence[NextPoll]]:
        """Interpret the outcome of a poll; pure.

        A job without a final status `give_up_after` seconds after its acceptance is not polled again and becomes
        unresolved. A job that can never be polled becomes unresolved at its deadline.
        """
        provider, poll, outcome, now = exchange.provider, exchange.work, exchange.outcome, exchange.ended_at
        if isinstance(outcome, NotSent):
            next_in = None if outcome.permanent else RETRY_UNSENT_AFTER_S
            return ExchangeResult(
                [NextPoll(job.id, next_in) for job in poll.jobs], refusal=find_refusal(provider, outcome)
            )
        poller = require_capability(provider.poller)
        response = outcome if isinstance(outcome, Response) else None
        references = [job.reference for job in poll.jobs]
        reports = poller.interpret(references, response) if response else {}
        other_reports = poller.interpret_other_jobs(references, response) if response else ()
        retry_after = parse_retry_after(response.headers, now) if response else None
        job_ids = {job.reference: job.id for job in poll.jobs}
        problem = None if reports.keys() >= {*references} else _find_problem(provider, poll, outcome)
        events = [
            # The reference of a job that was polled may name another job by now.
            provider.build_event(
                report, EventSource.POLL, _derive_origin(report), now, job_id=job_ids.get(report.reference)
            )
            for report in (*reports.values(), *other_reports)
        ]
        next_polls: list[NextPoll] = []
        for job in poll.jobs:
            give_up_at = job.accepted_at + timedelta(seconds=poller.policy.give_up_after)
            is_done = _is_final(reports.get(job.reference))
            if not is_done and now >= give_up_at:
                is_done = True
                last = None if job.reference in reports else problem
                events.append(_build_give_up_event(poller.policy, job, give_up_at, last))
            interval = compute_poll_interval(
                poller.policy.first_after, poller.policy.max_interval, job.polls, exchange.jitter
            )
            # One last poll takes place when the job is to be given up, whatever the interval or `Retry-After`.
            next_in = min(max(interval, retry_after or 0.0), (give_up_at - now).total_seconds())
            next_polls.append(NextPoll(job.id, None if is_done else next_in))
        logged_problem = problem if problem and response and _is_logged(response.status) else None
        return ExchangeResult(next_polls, events, find_refusal(provider, outcome), logged_problem)

    def record(self, connection: Connection, results: Sequence[ExchangeResult[Sequence[NextPoll]]]) -> None:
        events = [event for result in results for event in result.events]
        next_polls = [next_poll for result in results for next_poll in result.update]
        # Locks all of the jobs in one order before their events are stored: two workers may report on the same jobs.
        schedule_polls(connection, next_polls, {event.job_id for event in events})
        reconcile(connection, events)


def _split_jobs(provider: str, jobs: Sequence[SilentJob], batch_size: int) -> Iterator[PollBatch]:
    for start in range(0, len(jobs), batch_size):
        yield PollBatch(provider, jobs[start : start + batch_size])


def _is_final(report: StatusReport | None) -> bool:
    return bool(report and report.status and report.status.is_final)


def _find_problem(provider: Provider, poll: PollBatch, outcome: Response | NoResponse) -> str | None:
    """Return why a poll brought no reports on jobs, without our secrets."""
    if isinstance(outcome, NoResponse):
        return f"no response: {outcome.error}"
    problem = explain_missing_reports(outcome, [job.reference for job in poll.jobs])
    return provider.redactor.redact_text(problem) if problem else None


def _is_logged(status: int) -> bool:
    """Return whether a response without a report is logged; after a 404 the provider may know the job later."""
    return status != 404 and find_status_rule(status).response_class in _LOGGED_CLASSES


def _build_give_up_event(
    poll_policy: PollPolicy, job: SilentJob, give_up_at: datetime, last_problem: str | None
) -> JobEvent:
    detail = f"gave up polling after {poll_policy.give_up_after:g} s"
    if last_problem:
        detail += f"; last: {last_problem}"
    return build_unresolved_event(job.id, job.provider, job.reference, give_up_at, detail)


def _derive_origin(report: StatusReport) -> UUID:
    """Derive an id from the content of a report, so that a provider that repeats a status causes only one event."""
    return derive_id(repr((report.provider_status, report.code, report.detail, report.occurred_at)).encode())
