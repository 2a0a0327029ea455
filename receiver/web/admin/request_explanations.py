"""What a page says of a request: why it has its status, and what each action on it would do. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.bulk_actions import BulkActionKind
from receiver.domain.sending import RequestStatus
from receiver.domain.status_symbols import StatusKind, get_status_symbol
from receiver.domain.unknown_explanations import explain_unknown_request

MAY_ACT_TWICE = "The provider may act twice: it may have acted on an earlier attempt."
WILL_ACT_TWICE = "The provider would act twice: it accepted an earlier attempt. Resolve the request instead."
RESOLUTIONS: Mapping[RequestStatus, str] = {
    RequestStatus.ACCEPTED: "the provider accepted it; its jobs are tracked from now on",
    RequestStatus.COMPLETED: "the provider did it, and there is nothing to wait for",
    RequestStatus.REJECTED: "the provider refused it",
    RequestStatus.FAILED: "the provider never acted on it",
}
"""The statuses that an operator may set, each with what it says."""


@dataclass(frozen=True, slots=True)
class RequestAction:
    """An action on a request.

    Attributes:
        kind: the action; its value is the last segment of the page's path.
        label: the text of its button.
        consequence: what it does.
        is_risky: whether the provider may act twice, which the operator must confirm.
        needs_reason: whether a reason is required.
    """

    kind: BulkActionKind
    label: str
    consequence: str
    is_risky: bool = False
    needs_reason: bool = False


def explain_request(request: Mapping[str, Any]) -> str:
    """Return one sentence that says why a request has its status.

    Args:
        request: the request as the API returns it.
    """
    attempts: Sequence[Mapping[str, Any]] = request["attempts"]
    match RequestStatus(request["status"]):
        case RequestStatus.QUEUED if attempts:
            return f"It waits for attempt {len(attempts) + 1}; attempt {len(attempts)} ended with {_end(attempts[-1])}."
        case RequestStatus.QUEUED:
            return "It waits to be sent for the first time."
        case RequestStatus.SENDING:
            return f"Attempt {len(attempts)} is being sent, or its worker died and another one takes it over."
        case RequestStatus.ACCEPTED:
            return f"The provider accepted it{_count_jobs(request['jobs'])}."
        case RequestStatus.COMPLETED:
            return "It is done: the provider's response was final, so that no callback is awaited."
        case RequestStatus.REJECTED:
            return f"The provider refused it for good{_reason(request)}."
        case RequestStatus.FAILED:
            return f"It was given up{_reason(request)}."
        case RequestStatus.UNKNOWN:
            return explain_unknown_request(request).reason
        case RequestStatus.CANCELLED:
            return f"It was cancelled before the provider could act on it{_reason(request)}."


def list_actions(request: Mapping[str, Any]) -> Sequence[RequestAction]:
    """Return the actions that the status of a request allows."""
    status = RequestStatus(request["status"])
    actions = []
    for kind in BulkActionKind:
        is_settled = status is RequestStatus.ACCEPTED and not request["reference_conflict"]
        is_erased = kind.needs_payload and request["payload"] is None
        if status in kind.statuses and not is_settled and not is_erased:
            actions.append(_build_action(kind, request))
    return actions


def _build_action(kind: BulkActionKind, request: Mapping[str, Any]) -> RequestAction:
    match kind:
        case BulkActionKind.RETRY:
            is_risky = request["status"] == RequestStatus.UNKNOWN
            return RequestAction(
                kind,
                "Retry",
                "The request is queued again, with a new set of attempts. "
                + (
                    _warn(request) if is_risky else "Without a change here or at the provider, it may end the same way."
                ),
                is_risky,
            )
        case BulkActionKind.CANCEL:
            return RequestAction(
                kind,
                "Cancel",
                "The request is not sent any more. If the provider may have acted on an earlier attempt, the request "
                "becomes unknown instead of cancelled.",
            )
        case BulkActionKind.RESOLVE:
            return RequestAction(
                kind,
                "Resolve",
                "You state what became of the request at the provider. Nothing is sent.",
                needs_reason=True,
            )
        case BulkActionKind.SEND_NOW:
            return RequestAction(
                kind,
                "Send now",
                "The request is due now instead of later; the limits, a pause and the circuit of its provider still "
                "apply.",
            )


def _warn(request: Mapping[str, Any]) -> str:
    """Return what happens if an unknown request is sent again."""
    return WILL_ACT_TWICE if explain_unknown_request(request).was_accepted else MAY_ACT_TWICE


def _end(attempt: Mapping[str, Any]) -> str:
    status = attempt["response_status"]
    return f"HTTP {status}" if status else str(attempt["error"] or "no response")


def _reason(request: Mapping[str, Any]) -> str:
    return f": {request['detail'].rstrip('.')}" if request["detail"] else ""


def _count_jobs(jobs: Sequence[Mapping[str, Any]]) -> str:
    if not jobs:
        return ", but named no job of its own"
    counts = Counter(job["status"] for job in jobs)
    states = [
        f"{f'{count:,} ' if len(jobs) > 1 else ''}{_describe_job(status, count)}" for status, count in counts.items()
    ]
    return f"; {f'of its {len(jobs):,} jobs,' if len(jobs) > 1 else 'its job'} {', '.join(states)}"


def _describe_job(status: str, count: int) -> str:
    word = get_status_symbol(StatusKind.JOB, status).word
    if status in {"succeeded", "failed"}:
        return word
    return f"{'is' if count == 1 else 'are'} {word}"
