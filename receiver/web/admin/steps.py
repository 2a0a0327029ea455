"""What happened to a job, step by step.

A step is something that one party sent to another: the client, this service, the provider, or an operator. The steps
come from the documents of the API: the job's events, the sending of its request, and the notifications to the client.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from receiver.domain.status_explanations import mark_replaced
from receiver.domain.status_symbols import StatusKind, StatusSymbol, get_status_symbol

MAX_STEPS = 40
"""The number of steps that are shown: the newest ones. The page is to stay below 60 kB."""
_MIN_REPEATS = 3
GAP_S = 60.0
"""The number of seconds without a step from which on they are named."""
_RESPONSE_TOLERANCE = timedelta(seconds=1)
_RESPONSE = "Response"
_MAX_WORDS_LENGTH, _MAX_DETAIL_LENGTH = 60, 200
_OPEN_STATUSES = frozenset({"accepted", "in_progress"})

Document = Mapping[str, Any]


class Party(StrEnum):
    """Who sends or receives something; the order is that of the lanes."""

    CLIENT = "client"
    SERVICE = "us"
    PROVIDER = "provider"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a job.

    Attributes:
        at: when; UTC.
        sender: who sent it.
        recipient: who received it; the same for what happens within the service.
        title: what it is, such as `Callback`.
        words: the provider's status and code as it writes them, or what else belongs to the title.
        status: the status that it reports, and the kind of the status.
        effect: its effect on the job's status.
        detail: further details.
        actor: the name of an operator's API key.
        occurred_at: when it happened according to the provider, RFC 3339.
        callback_id: the callback that contained it.
        attempt: the number of the attempt of the request that it belongs to.
        notification_id: the notification that it is.
        is_two_way: whether the recipient responded at once, as to a poll.
        is_decisive: whether it decides the job's status.
        is_expected: whether it has not happened yet.
        is_failed: whether it did not reach the recipient.
        repeats: how many more steps like it followed it directly, the last one at `repeated_until`.
        is_cut_off: whether steps after it are left out.
    """

    at: datetime
    sender: Party
    recipient: Party
    title: str
    words: str = ""
    status: tuple[StatusKind, str] | None = None
    effect: str | None = None
    detail: str = ""
    actor: str | None = None
    occurred_at: str | None = None
    callback_id: str | None = None
    attempt: int | None = None
    notification_id: str | None = None
    is_two_way: bool = False
    is_decisive: bool = False
    is_expected: bool = False
    is_failed: bool = False
    repeats: int = 0
    repeated_until: datetime | None = None
    is_cut_off: bool = False

    @property
    def symbol(self) -> StatusSymbol | None:
        """How the status is shown."""
        return get_status_symbol(*self.status) if self.status else None

    @property
    def direction(self) -> str:
        """Who takes part besides the service, for people."""
        if self.actor is not None:
            return f"by {self.actor}"
        if self.sender is self.recipient:
            return ""
        is_sent = self.sender is Party.SERVICE
        return f"to the {self.recipient}" if is_sent else f"from the {self.sender}"

    def is_like(self, other: "Step") -> bool:
        """Return whether another step says the same, so that one of them is enough to read."""
        names = ("sender", "title", "words", "status", "effect", "actor", "is_expected", "is_failed")
        is_decisive = self.is_decisive or other.is_decisive
        return not is_decisive and all(getattr(self, name) == getattr(other, name) for name in names)


def list_steps(
    job: Document, request: Document | None = None, notifications: Sequence[Document] = (), now: datetime | None = None
) -> list[Step]:
    """Return the steps of a job in the order of time.

    Args:
        job: the job with its newest events.
        request: its request with the attempts and actions; None if it is not known or not visible.
        notifications: the notifications to the client about the request.
        now: the current time (UTC), for what is expected; None to leave that out.
    """
    steps = list_event_steps(job["events"], job["explanation"])
    if request is not None:
        responses = [step for step in steps if step.title == _RESPONSE]
        sending = _list_sending(request, responses)
        is_complete = job["events_cursor"] is None
        steps = [step for step in steps if step.title != _RESPONSE] + [
            step for step in sending if is_complete or step.at >= steps[0].at
        ]
    steps += [_build_notification_step(item) for item in notifications if job["id"] in item["job_ids"]]
    steps.sort(key=lambda step: step.at)
    if now is not None and job["status"] in _OPEN_STATUSES:
        deadline = _parse_time(job["deadline_at"])
        steps.append(_build_expected_step(deadline, is_overdue=deadline <= now))
    return steps


def list_event_steps(events: Iterable[Document], explanation: Document | None) -> list[Step]:
    """Return the steps of events alone; `explanation` is that of the job's status."""
    decisive = explanation and explanation["event"]
    return [_build_event_step(event, is_decisive=event == decisive) for event in mark_replaced(list(events))]


def choose_steps(steps: Sequence[Step], explanation: Document | None) -> list[Step]:
    """Return the newest steps, runs of equal ones as one step each, and before them the step that decides."""
    chosen = _fold_repeats(steps)[-MAX_STEPS:]
    if explanation is None or any(step.is_decisive for step in chosen):
        return chosen
    decisive = _build_event_step(explanation["event"], is_decisive=True)
    return [replace(decisive, is_cut_off=True), *chosen[-MAX_STEPS + 1 :]]


def _fold_repeats(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with long runs of equal ones as one step each."""
    folded: list[Step] = []
    for run in _group_runs(steps):
        if len(run) > _MIN_REPEATS:
            folded.append(replace(run[0], repeats=len(run) - 1, repeated_until=run[-1].at))
        else:
            folded += run
    return folded


def _group_runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    run: list[Step] = []
    for step in steps:
        if run and not run[0].is_like(step):
            yield run
            run = []
        run.append(step)
    if run:
        yield run


def _build_event_step(event: Document, *, is_decisive: bool) -> Step:
    source, status = event["source"], event["status"]
    sender, recipient, title = {
        "response": (Party.PROVIDER, Party.SERVICE, _RESPONSE),
        "callback": (Party.PROVIDER, Party.SERVICE, "Callback"),
        "poll": (Party.SERVICE, Party.PROVIDER, "Poll"),
        "operator": (Party.OPERATOR, Party.SERVICE, "Resolved" if status else "Action"),
        "deadline": (Party.SERVICE, Party.SERVICE, "Deadline"),
    }[source]
    if source == "response" and event["actor"]:
        sender, title = Party.CLIENT, "Tracked"
    words = " ".join(dict.fromkeys(filter(None, (event["provider_status"], event["code"]))))
    return Step(
        at=_parse_time(event["received_at"]),
        sender=sender,
        recipient=recipient,
        title=title,
        words=shorten(words, _MAX_WORDS_LENGTH),
        status=(StatusKind.JOB, status) if status else None,
        effect=event["effect"],
        detail=shorten(event["detail"] or "", _MAX_DETAIL_LENGTH),
        actor=event["actor"],
        occurred_at=event["occurred_at"],
        callback_id=event["callback_id"],
        is_two_way=source == "poll",
        is_decisive=is_decisive,
    )


def _list_sending(request: Document, responses: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps of a request's sending, and the events of its responses, each with its attempt."""
    responses = list(responses)
    yield Step(_parse_time(request["created_at"]), Party.CLIENT, Party.SERVICE, "Submitted", request["operation"])
    for attempt in request["attempts"]:
        number, started_at = attempt["number"], _parse_time(attempt["started_at"])
        yield Step(started_at, Party.SERVICE, Party.PROVIDER, f"Attempt {number}", attempt=number)
        if attempt["finished_at"] is None:
            continue
        finished_at, status = _parse_time(attempt["finished_at"]), attempt["response_status"]
        if status is None:
            error = shorten(attempt["error"] or "", _MAX_DETAIL_LENGTH)
            yield Step(
                finished_at, Party.PROVIDER, Party.SERVICE, "No response", detail=error, attempt=number, is_failed=True
            )
            continue
        step = _find_response(responses, started_at, finished_at)
        if step is None:
            yield Step(finished_at, Party.PROVIDER, Party.SERVICE, f"{_RESPONSE} {status}", attempt=number)
        else:
            responses.remove(step)
            yield replace(step, title=f"{_RESPONSE} {status}", attempt=number)
    yield from responses
    for action in request["actions"]:
        yield Step(
            _parse_time(action["at"]),
            Party.OPERATOR,
            Party.SERVICE,
            action["action"].replace("-", " ").capitalize(),
            detail=shorten(action["reason"] or "", _MAX_DETAIL_LENGTH),
            actor=action["actor"],
        )


def _find_response(responses: Sequence[Step], started_at: datetime, finished_at: datetime) -> Step | None:
    """Return the event of the response to an attempt: it is received while the attempt lasts."""
    return next((step for step in responses if started_at <= step.at <= finished_at + _RESPONSE_TOLERANCE), None)


def _build_notification_step(notification: Document) -> Step:
    attempted_at, status = notification["last_attempt_at"], notification["status"]
    return Step(
        at=_parse_time(attempted_at or notification["created_at"]),
        sender=Party.SERVICE,
        recipient=Party.CLIENT,
        title="Notification",
        words=notification["type"],
        status=(StatusKind.NOTIFICATION, status),
        detail=shorten(notification["error"] or notification["detail"] or "", _MAX_DETAIL_LENGTH),
        notification_id=notification["id"],
        is_failed=status in {"failed", "rejected"},
    )


def _build_expected_step(deadline: datetime, *, is_overdue: bool) -> Step:
    detail = "The deadline has passed; the worker marks the job." if is_overdue else "if no final status comes before"
    return Step(
        deadline,
        Party.SERVICE,
        Party.SERVICE,
        "Deadline",
        status=(StatusKind.JOB, "unresolved"),
        detail=detail,
        is_expected=True,
    )


def shorten(text: str, length: int) -> str:
    """Return a text, cut to a number of characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
