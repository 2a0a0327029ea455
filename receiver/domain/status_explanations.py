"""Why a job has its status: what the fold over its events says, in sentences for people; see `receiver.domain.jobs`.

What the provider or the configuration wrote stands between backticks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from receiver.domain.jobs import Effect, EventSource, JobEvent, JobStatus, Precedence, fold_job
from receiver.domain.plurals import format_count

REPLACED = "replaced"
"""How pages and commands show the effect of an event without one, for which a replay recorded a mapped status."""

_DEADLINE_DETAIL = "deadline passed"
_FINAL_PRECEDENCES = frozenset({Precedence.FINAL, Precedence.SUPERSEDING})
_MAX_WORDS = 3


@dataclass(frozen=True, slots=True)
class StatusExplanation:
    """Why a job has its status.

    `reason` is one sentence, `notes` are further ones, and `event` is the event that decides the status.
    """

    reason: str
    notes: Sequence[str]
    event: JobEvent


def explain_status(
    effects: Sequence[tuple[JobEvent, Effect | None]],
    preceding: JobEvent | None = None,
    *,
    disputed: bool,
    unmatched: bool,
    deadline_at: datetime,
) -> StatusExplanation:
    """Explain the status of a job.

    Args:
        effects: the events, or the newest of them, in the order of receipt, with their effects; at least one.
        preceding: of the events received before these, the one that decides the status; None if these are all events.
        disputed: whether contradicting final statuses were received, also before these events.
        unmatched: whether no request is known for the job.
        deadline_at: when the job becomes unresolved without a final status.
    """
    events = [event for event, _ in effects]
    considered = events if preceding is None else [preceding, *events]
    decisive = _find_decisive(considered)
    reason = _explain_decision(decisive, considered, disputed=disputed)
    notes = [
        *_explain_consequences(decisive, disputed=disputed, deadline_at=deadline_at),
        *_explain_lateness(decisive, considered),
        *_explain_overtaking(events if preceding is None else ()),
        *_count_effects(effects, is_partial=preceding is not None),
        *_list_unmapped(events),
    ]
    if unmatched:
        notes.append(
            "No request of this service is known for the reference: no response has contained it. A response that "
            "does makes it the job of its request."
        )
    return StatusExplanation(reason, notes, decisive)


def mark_replaced(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return events of the API with the effect `replaced` where a replay of their callback mapped their status."""
    mapped = {_get_origin(event) for event in events if event["callback_id"] and event["status"]}
    return [
        {**event, "effect": REPLACED} if event["status"] is None and _get_origin(event) in mapped else dict(event)
        for event in events
    ]


def _get_origin(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return event.get("job_id"), event["callback_id"], event["provider_status"]


def _find_decisive(events: Sequence[JobEvent]) -> JobEvent:
    decided_by = fold_job(events).decided_by
    return next(event for event in events if event.key == decided_by)


def _explain_decision(decisive: JobEvent, events: Sequence[JobEvent], *, disputed: bool) -> str:
    match decisive.precedence:
        case Precedence.NONE:
            return _explain_missing_status(events)
        case Precedence.ACCEPTED:
            return f"Accepted: {_describe_acceptance(decisive)}, and nothing further has been reported."
        case Precedence.IN_PROGRESS:
            return f"In progress: {_describe_report(decisive)}, and no final status has been received."
        case Precedence.UNRESOLVED:
            return f"Unresolved: {_describe_silence(decisive)}{_describe_last_report(events)}."
        case Precedence.OPERATOR:
            return f"{_capitalize(decisive)}: {_describe_resolution(decisive, events)}."
    clauses = [f"{_capitalize(decisive)}: {_describe_report(decisive)}"]
    if decisive.precedence is Precedence.SUPERSEDING:
        clauses[0] += _describe_superseded(decisive, events)
    if disputed:
        clauses.append(_describe_contradiction(decisive, events))
    return "; ".join(clauses) + "."


def _explain_missing_status(events: Sequence[JobEvent]) -> str:
    """Explain the status of a job of which no event has a status: operators' actions, or statuses that are unmapped."""
    if words := _list_words(events):
        return f"Accepted: no status has been received that the provider's `statuses` map, only {words}."
    event = next((event for event in events if event.request_id), None)
    if event is None:
        return "Accepted: no status has been received yet."
    return f"Accepted: {_name_source(event)} named it, and no status has been received."


def _describe_acceptance(event: JobEvent) -> str:
    if event.source is EventSource.RESPONSE and event.actor is not None:
        return f"{_name_actor(event)} tracks it since {_format_time(event.received_at)}"
    if event.source is EventSource.RESPONSE:
        return f"{_name_source(event)} accepted it{_quote(event.provider_status, ' as ')}"
    return _describe_report(event)


def _describe_silence(event: JobEvent) -> str:
    if event.source is not EventSource.DEADLINE:
        return _describe_report(event)
    if event.detail in {None, _DEADLINE_DETAIL}:
        return f"no final status had been received at the deadline, {_format_time(event.received_at)}"
    return f"no final status had been received at {_format_time(event.received_at)}: {event.detail}"


def _describe_last_report(events: Sequence[JobEvent]) -> str:
    reports = [event for event in events if event.precedence in {Precedence.ACCEPTED, Precedence.IN_PROGRESS}]
    if not reports:
        return ""
    return f"; the last status was {_name_status(reports[-1])} from {_name_source(reports[-1])}"


def _describe_resolution(decisive: JobEvent, events: Sequence[JobEvent]) -> str:
    reason = f" (“{decisive.detail}”)" if decisive.detail else ""
    text = f"{_name_actor(decisive)} resolved it at {_format_time(decisive.received_at)}{reason}"
    earlier = [event for event in events if event.precedence is Precedence.OPERATOR and event.key != decisive.key]
    if earlier:
        previous = earlier[-1]
        verb = "confirms" if previous.status is decisive.status else "corrects"
        text += f", which {verb} the `{previous.status}` of {_name_source(previous)}"
    return f"{text}; {_compare_with_provider(decisive, events)}"


def _compare_with_provider(decisive: JobEvent, events: Sequence[JobEvent]) -> str:
    """Compare an operator's status with what the provider's own events lead to."""
    own = [event for event in events if event.precedence is not Precedence.OPERATOR and event.status is not None]
    if not own:
        return "the provider has reported no status"
    state, best = fold_job(own), _find_decisive(own)
    if not state.status.is_final:
        return "the provider has reported no final status"
    if state.disputed:
        return "the provider has reported contradicting final statuses, and this settles the dispute"
    if state.status is decisive.status:
        return f"{_name_source(best)} agrees"
    return f"{_name_source(best)} says {_name_status(best)}, but an operator's status outranks the provider's"


def _describe_superseded(decisive: JobEvent, events: Sequence[JobEvent]) -> str:
    finals = [event for event in events if event.precedence is Precedence.FINAL and event.status is not decisive.status]
    if not finals:
        return ", a status that outranks the provider's other final statuses"
    return f", which supersedes {_name_status(finals[0])} from {_name_source(finals[0])}"


def _describe_contradiction(decisive: JobEvent, events: Sequence[JobEvent]) -> str:
    contradicting = [
        event
        for event in events
        if event.precedence is decisive.precedence and event.status is not decisive.status and event.status
    ]
    if not contradicting:
        return "an event before these contradicts it, so the job is disputed"
    first = contradicting[0]
    is_simultaneous = first.received_at == decisive.received_at
    same_callback = is_simultaneous and first.callback_id is not None and first.callback_id == decisive.callback_id
    if same_callback:
        text = f"further down, the same callback says {_name_status(first)}, which contradicts it"
    else:
        adverb = "at the same time" if is_simultaneous else "later"
        text = f"{adverb}, {_name_source(first)} reported {_name_status(first)}, which contradicts it"
    more = len(contradicting) - 1
    as_well = f", as {more:,} more {_agree(more, 'does', 'do')}" if more else ""
    return f"{text}{as_well}, so the job is disputed"


def _explain_consequences(decisive: JobEvent, *, disputed: bool, deadline_at: datetime) -> Iterable[str]:
    if decisive.precedence in {Precedence.NONE, Precedence.ACCEPTED, Precedence.IN_PROGRESS}:
        yield f"Without a final status, the job becomes unresolved at {_format_time(deadline_at)}."
    elif decisive.precedence is Precedence.UNRESOLVED:
        yield "A final status that is received later still counts."
    elif disputed:
        yield (
            "Of contradicting final statuses, the one received first stands. Ask the provider which is right, then "
            "resolve the job: that settles the dispute."
        )
    elif decisive.precedence is Precedence.OPERATOR:
        yield "Nothing that the provider reports changes an operator's status. The latest operator's status stands."


def _explain_lateness(decisive: JobEvent, events: Sequence[JobEvent]) -> Iterable[str]:
    passed = [event for event in events if event.precedence is Precedence.UNRESOLVED]
    if decisive.precedence in _FINAL_PRECEDENCES and passed and passed[0].received_at <= decisive.received_at:
        yield (
            f"The status is late: the job had been unresolved since {_format_time(passed[0].received_at)}. A final "
            "status still counts then."
        )


def _explain_overtaking(events: Sequence[JobEvent]) -> Iterable[str]:
    sources = [event.source for event in events]
    if EventSource.RESPONSE in sources and EventSource.CALLBACK in sources[: sources.index(EventSource.RESPONSE)]:
        yield "A callback overtook the response to the request: it was received first."


def _count_effects(effects: Sequence[tuple[JobEvent, Effect | None]], *, is_partial: bool) -> Iterable[str]:
    scope = f"Of the newest {format_count(len(effects), 'event')}, " if is_partial else ""
    repeated = sum(effect is Effect.DUPLICATE for _, effect in effects)
    stale = sum(effect is Effect.STALE for _, effect in effects)
    counts = []
    if repeated:
        counts.append(f"{format_count(repeated, 'event')} {_agree(repeated, 'repeats', 'repeat')} a known status")
    if stale:
        verb, pronoun = _agree(stale, "is", "are"), _agree(stale, "it", "them")
        counts.append(f"{format_count(stale, 'event')} {verb} stale: a status that outranks {pronoun} had arrived")
    if counts:
        text = f"{scope}{' and '.join(counts)}."
        yield text[0].upper() + text[1:]


def _list_unmapped(events: Sequence[JobEvent]) -> Iterable[str]:
    """Yield which statuses are not mapped, unless a replay of their callback has replaced the events by mapped ones."""
    mapped = {(event.callback_id, event.position) for event in events if event.callback_id and event.status}
    unmapped = [
        event
        for event in events
        if event.status is None and event.provider_status and (event.callback_id, event.position) not in mapped
    ]
    if not unmapped:
        return
    count = len({event.provider_status for event in unmapped})
    verb, pronoun = _agree(count, "is", "are"), _agree(count, "it", "them")
    is_replayable = any(event.source is EventSource.CALLBACK for event in unmapped)
    yield (
        f"{format_count(len(unmapped), 'event')} changed nothing: {_list_words(unmapped)} {verb} missing from the "
        f"provider's `statuses`. Add {pronoun} there, reload the configuration (SIGHUP), and "
        f"{'replay the callback' if is_replayable else 'poll the job again'}."
    )


def _describe_report(event: JobEvent) -> str:
    return f"{_name_source(event)} reported {_name_status(event)}"


def _name_source(event: JobEvent) -> str:
    time = _format_time(event.received_at)
    match event.source:
        case EventSource.RESPONSE:
            return f"the provider's response of {time}"
        case EventSource.CALLBACK:
            return f"the provider's callback of {time}"
        case EventSource.POLL:
            return f"the provider's answer to the poll of {time}"
        case EventSource.DEADLINE:
            return f"the deadline of {time}"
        case EventSource.OPERATOR:
            return f"{_name_actor(event)} at {time}"


def _name_actor(event: JobEvent) -> str:
    return event.actor or "an operator"


def _name_status(event: JobEvent) -> str:
    """Name the status of an event: as the provider writes it, with what it means where that is another word."""
    status = str(event.status or JobStatus.ACCEPTED)
    written = _clean(event.provider_status)
    if not written or written.lower() == status:
        return f"`{status}`"
    return f"`{written}` ({status.replace('_', ' ')})"


def _quote(text: str | None, before: str) -> str:
    return f"{before}`{_clean(text)}`" if text else ""


def _clean(text: str | None) -> str:
    """Return a text that can stand between backticks."""
    return (text or "").replace("`", "'")


def _list_words(events: Iterable[JobEvent]) -> str:
    """List the different statuses as the provider writes them, the first of them."""
    words = list(dict.fromkeys(f"`{_clean(event.provider_status)}`" for event in events if event.provider_status))
    return ", ".join(words[:_MAX_WORDS]) + (f" and {len(words) - _MAX_WORDS:,} more" if len(words) > _MAX_WORDS else "")


def _capitalize(event: JobEvent) -> str:
    """Return the final status of an event as the first word of a sentence."""
    return str(event.status).capitalize()


def _agree(count: int, singular: str, plural: str) -> str:
    return singular if count == 1 else plural


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
