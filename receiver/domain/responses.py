"""What a provider's HTTP answer means, row by row.

The rows and their advice follow Cecula's page "HTTP Responses" (https://app.cecula.com/docs/responses/http-responses.html),
the remaining codes are read by their class. Here the status line alone is judged; what a body says is the provider's
description to read.
"""

from dataclasses import dataclass
from enum import Enum


class ResponseClass(Enum):
    """What the status of an answer says about our request."""

    READ_BODY = "the body's own codes are the truth"
    ACCEPTED = "taken; the final word comes later"
    DONE = "done, nothing to wait for"
    REFUSED = "refused for good"
    CREDENTIALS = "our credentials are wrong, not the request"
    DUPLICATE = "taken before, or in conflict with what is there"
    SLOW_DOWN = "not now; ask again later"
    THEIR_FAULT = "their side failed; ask again later"
    NOBODY_KNOWS = "it may or may not have been taken"


@dataclass(frozen=True, slots=True)
class StatusRule:
    """One row of the provider table: what a status means and what a person should do about it."""

    meaning: ResponseClass
    advice: str


STATUS_RULES: dict[int, StatusRule] = {
    200: StatusRule(
        ResponseClass.READ_BODY, "The request was successful; the codes inside the body tell what became of each item."
    ),
    201: StatusRule(ResponseClass.READ_BODY, "The resource was created and can be used; the body tells its reference."),
    202: StatusRule(
        ResponseClass.ACCEPTED, "Processing is in progress; wait for a completion callback or follow-up status."
    ),
    204: StatusRule(ResponseClass.DONE, "The request succeeded without content; nothing further to do."),
    400: StatusRule(ResponseClass.REFUSED, "Bad request: parameters are missing or malformed. Fix the payload."),
    401: StatusRule(
        ResponseClass.CREDENTIALS, "Authentication failed or the API key is missing. Check the provider's credentials."
    ),
    403: StatusRule(
        ResponseClass.REFUSED, "Forbidden: the API key has no permission for this. Check the key's access rights."
    ),
    404: StatusRule(
        ResponseClass.REFUSED, "Not found: the endpoint or resource does not exist. Check the URL or resource id."
    ),
    405: StatusRule(ResponseClass.REFUSED, "Method not allowed. Use the endpoint's HTTP method."),
    408: StatusRule(ResponseClass.SLOW_DOWN, "The provider timed out waiting for the request. It will be sent again."),
    409: StatusRule(
        ResponseClass.DUPLICATE, "Conflict with the current state, usually duplicate data. Review the input."
    ),
    425: StatusRule(
        ResponseClass.SLOW_DOWN, "The provider would not take the request so early. It will be sent again."
    ),
    429: StatusRule(ResponseClass.SLOW_DOWN, "The rate limit was hit. Slow down or wait for the window to reset."),
    500: StatusRule(ResponseClass.THEIR_FAULT, "The provider failed. If it keeps happening, contact the provider."),
    502: StatusRule(
        ResponseClass.THEIR_FAULT, "The provider had a bad answer from upstream. Retry after a few minutes."
    ),
    503: StatusRule(ResponseClass.THEIR_FAULT, "The provider is overloaded or in maintenance. Wait and retry."),
    504: StatusRule(
        ResponseClass.NOBODY_KNOWS, "The provider's gateway timed out; the request may have been taken. Investigate."
    ),
    523: StatusRule(
        ResponseClass.THEIR_FAULT, "The provider's API service is unreachable. Contact support if it persists."
    ),
}

_CLASS_RULES: dict[int, StatusRule] = {
    2: StatusRule(ResponseClass.READ_BODY, "The request was successful; the body tells what became of it."),
    4: StatusRule(ResponseClass.REFUSED, "The provider refused the request. Review the request."),
    5: StatusRule(ResponseClass.THEIR_FAULT, "The provider failed. If it keeps happening, contact the provider."),
}
_DEFAULT_RULE = StatusRule(
    ResponseClass.REFUSED, "The provider answered with a redirect or an unusual status. Check its base URL."
)


def find_status_rule(status: int) -> StatusRule:
    """Give the provider table's row for an HTTP status; codes that are not listed are read by their class."""
    return STATUS_RULES.get(status) or _CLASS_RULES.get(status // 100, _DEFAULT_RULE)


def explain_credentials_refusal(status: int) -> str | None:
    """Tell why a provider that answered so is sent nothing more; None unless it refused our credentials."""
    row = find_status_rule(status)
    return f"{status}: {row.advice}" if row.meaning is ResponseClass.CREDENTIALS else None
