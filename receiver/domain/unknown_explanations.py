"""Why a request is `unknown`, and what to do about it, in sentences for people.

The causes differ in what is known: whether a response arrived, and whether it says that the provider accepted the
request. What the provider or the configuration wrote stands between backticks, as commands do.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from receiver.domain.decisions import ACCEPTED_WITHOUT, DUPLICATE_OF_UNKNOWN, NO_RESPONSE, UNREADABLE_CODES, WORKER_LOST
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import (
    CANCELLED_AMBIGUOUS_DETAIL,
    LOOKUP_SCHEDULED_DETAIL,
    RESTORED_DETAIL,
    UNSTORABLE_RESPONSE_DETAIL,
)

_ACCEPTING_CLASSES = frozenset({ResponseClass.READ_BODY, ResponseClass.ACCEPTED})
_CREATED = 201
_ACCEPTING_STATUS_CODE = "(status_codes: accept)"
_SUMMARY = re.compile(r"\d+ × ")
_MISSING_REFERENCE = re.compile(r"no reference(?: that matches \S+)?(?: at `[^`]*`(?:, `[^`]*`)*|, as [a-z. ]*[a-z])?")
_PROBLEM = re.compile(r" But (.+?)\.(?: The provider responded: |;|$)", re.DOTALL)


class UnknownCause(Enum):
    """What happened to the last attempt of an unknown request, or to the request since."""

    NO_RESPONSE = auto()
    NO_REFERENCE = auto()
    UNKNOWN_CODE = auto()
    UNREADABLE = auto()
    UNSTORABLE = auto()
    GATEWAY_TIMEOUT = auto()
    DUPLICATE = auto()
    WORKER_LOST = auto()
    EARLIER_ATTEMPT = auto()
    CANCELLED = auto()
    RESTORED = auto()


_REASONS: Mapping[UnknownCause, str] = {
    UnknownCause.NO_RESPONSE: "It was sent, but no response arrived: the provider may have acted on it.",
    UnknownCause.UNKNOWN_CODE: (
        "The provider responded with {}, but its response does not say whether it accepted the request: it has no "
        "code, or one that the provider's `response.codes` do not contain."
    ),
    UnknownCause.UNSTORABLE: "The provider responded, but its response could not be stored: it may have acted on it.",
    UnknownCause.GATEWAY_TIMEOUT: "The provider responded with {}, a timeout on its side: it may have acted on it.",
    UnknownCause.DUPLICATE: (
        "The provider accepted an earlier attempt, to which no response arrived, and refused the last one as its "
        "duplicate. It did not name the reference."
    ),
    UnknownCause.WORKER_LOST: (
        "The worker was lost during the attempt: the provider may have received the request and acted on it."
    ),
    UnknownCause.EARLIER_ATTEMPT: "It is not sent any more, but the provider may have acted on an earlier attempt.",
    UnknownCause.CANCELLED: "It was cancelled, but the provider may have acted on an earlier attempt.",
    UnknownCause.RESTORED: "The database was restored from a backup: it may have been sent after that was taken.",
}
"""The reasons that need no more than the status of the response."""


@dataclass(frozen=True, slots=True)
class UnknownExplanation:
    """Why a request is unknown: the `reason` is a sentence, the `remedy` the next steps.

    `was_accepted`: the provider said that it accepted the request, so that sending it again acts twice.
    """

    reason: str
    remedy: str
    was_accepted: bool = False


def explain_unknown_request(request: Mapping[str, Any]) -> UnknownExplanation:
    """Explain an unknown request as the API returns it; in a list, a request has no attempts."""
    attempts: Sequence[Mapping[str, Any]] = request.get("attempts", ())
    response_status = attempts[-1]["response_status"] if attempts else None
    return explain_unknown(request["id"], request["detail"], response_status)


def explain_unknown(request_id: str, detail: str | None, response_status: int | None) -> UnknownExplanation:
    """Explain an unknown request.

    Args:
        request_id: its id, for the commands.
        detail: its detail.
        response_status: the status of the response to its last attempt; None without a response.
    """
    detail = detail or ""
    cause = find_unknown_cause(detail, response_status)
    was_accepted = cause is UnknownCause.DUPLICATE or (
        cause is UnknownCause.NO_REFERENCE and _says_accepted(detail, response_status or _CREATED)
    )
    reason = _describe_cause(cause, detail, response_status, was_accepted=was_accepted)
    steps = [
        "A lookup at the provider is scheduled, and may settle it." if _is_looked_up(detail) else "",
        *_list_steps(cause, request_id, was_accepted=was_accepted),
    ]
    return UnknownExplanation(reason, " ".join(filter(None, steps)), was_accepted)


def find_unknown_cause(detail: str, response_status: int | None) -> UnknownCause:
    """Return why a request is unknown, by its detail and the status of the response to its last attempt."""
    if detail.startswith(RESTORED_DETAIL):
        return UnknownCause.RESTORED
    if detail.startswith(CANCELLED_AMBIGUOUS_DETAIL):
        return UnknownCause.CANCELLED
    if response_status is None:
        return _find_cause_without_response(detail)
    if detail.startswith(DUPLICATE_OF_UNKNOWN):
        return UnknownCause.DUPLICATE
    if _SUMMARY.match(detail):
        return _find_cause_in_items(detail)
    response_class = find_status_rule(response_status).response_class
    if _PROBLEM.search(detail) and (response_class in _ACCEPTING_CLASSES or _ACCEPTING_STATUS_CODE in detail):
        return UnknownCause.UNREADABLE
    is_timeout = response_class is ResponseClass.AMBIGUOUS
    return UnknownCause.GATEWAY_TIMEOUT if is_timeout else UnknownCause.EARLIER_ATTEMPT


def _find_cause_without_response(detail: str) -> UnknownCause:
    if UNSTORABLE_RESPONSE_DETAIL in detail:
        return UnknownCause.UNSTORABLE
    if WORKER_LOST in detail:
        return UnknownCause.WORKER_LOST
    return UnknownCause.NO_RESPONSE if NO_RESPONSE in detail else UnknownCause.EARLIER_ATTEMPT


def _find_cause_in_items(detail: str) -> UnknownCause:
    if f" × {ACCEPTED_WITHOUT}" in detail or " × no reference" in detail:
        return UnknownCause.NO_REFERENCE
    if any(f" × {text}" in detail for text in UNREADABLE_CODES):
        return UnknownCause.UNKNOWN_CODE
    return UnknownCause.UNREADABLE


def _says_accepted(detail: str, response_status: int) -> bool:
    """Return whether a response without a reference says that the provider accepted the request.

    It does by a code, or by its status, unless its body is to be read: that of a 200 may be an error.
    """
    is_body_read = find_status_rule(response_status).response_class is ResponseClass.READ_BODY
    return f" × {ACCEPTED_WITHOUT}" in detail or response_status == _CREATED or not is_body_read


def _is_looked_up(detail: str) -> bool:
    return detail.endswith(LOOKUP_SCHEDULED_DETAIL)


def _describe_cause(cause: UnknownCause, detail: str, response_status: int | None, *, was_accepted: bool) -> str:
    if cause is UnknownCause.NO_REFERENCE:
        missing = _MISSING_REFERENCE.search(detail)
        verb = "accepted it" if was_accepted else f"responded with {response_status}"
        return f"The provider {verb}, but its response has {missing[0] if missing else 'no reference'}."
    if cause is UnknownCause.UNREADABLE:
        problem = _PROBLEM.search(detail)
        text = problem[1] if problem else "its response cannot be read"
        return f"The provider responded with {response_status}, so that it probably acted on it, but {text}."
    return _REASONS[cause].format(response_status)


def _list_steps(cause: UnknownCause, request_id: str, *, was_accepted: bool) -> list[str]:
    """Return the steps that settle a request, a sentence each."""
    resolve = f"`receiver request resolve {request_id} --status accepted --reference REFERENCE --reason TEXT`"
    reject = f"`receiver request resolve {request_id} --status rejected --reason TEXT`"
    unmatched = "Callbacks that came for it may be listed by `receiver job list --unmatched`."
    retry = "Sending it again could act twice, so look it up at the provider first. If it did not arrive there: "
    retry += f"`receiver request retry {request_id}`. If it did: {resolve}, or another status."
    match cause:
        case UnknownCause.NO_REFERENCE:
            correction = f"Correct `response.reference` in receiver.toml for later requests, then {resolve}."
            if was_accepted:
                return ["Do not retry it: the provider would act twice.", correction, unmatched]
            return [
                f"Read the response. If it is an error: {reject}. Otherwise do not retry it.",
                correction,
                unmatched,
            ]
        case UnknownCause.UNKNOWN_CODE:
            correction = "Read the response, and add its code to `response.codes` in receiver.toml for later requests."
            return [correction, f"If the provider accepted it, do not retry it: {resolve}. If it refused it: {reject}."]
        case UnknownCause.UNREADABLE:
            correction = "If the response is as the provider documents it, correct `response` in receiver.toml."
            return [correction, retry, unmatched]
        case UnknownCause.DUPLICATE:
            return [f"Do not retry it. Look its reference up at the provider, then {resolve}.", unmatched]
    return [retry]
