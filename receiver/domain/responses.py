"""The meaning of a provider's HTTP status, as a table.

The rows and their advice follow Cecula's page "HTTP Responses" (https://app.cecula.com/docs/responses/http-responses.html);
statuses that it does not list are classified by their first digit. A provider's configuration may override the class of
a status. Only the status line is classified here; the body is interpreted by the provider's description.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class ResponseClass(Enum):
    """What the status of a response means for the request."""

    READ_BODY = "the codes in the body decide"
    ACCEPTED = "accepted; the final status follows later"
    DONE = "done; nothing to wait for"
    REJECTED = "rejected; the same request would be rejected again"
    PAUSE = "the credentials or the account are at fault, not the request"
    DUPLICATE = "accepted before, or in conflict with the current state"
    RETRY = "try again later"
    SLOW_DOWN = "too many requests; try again later"
    PROVIDER_ERROR = "the provider failed; try again later"
    AMBIGUOUS = "the request may or may not have been accepted"


@dataclass(frozen=True, slots=True)
class StatusRule:
    """One row of the table: the class of a status, and the advice for a person."""

    response_class: ResponseClass
    advice: str


CONFIGURABLE_CLASSES: Mapping[str, ResponseClass] = {
    "pause": ResponseClass.PAUSE,
    "retry": ResponseClass.RETRY,
    "reject": ResponseClass.REJECTED,
    "accept": ResponseClass.ACCEPTED,
}
"""The classes that `status_codes` of a provider may give to a status, by their names there."""

STATUS_RULES: dict[int, StatusRule] = {
    200: StatusRule(
        ResponseClass.READ_BODY, "The request was successful; the codes inside the body tell the result of each item."
    ),
    201: StatusRule(
        ResponseClass.READ_BODY, "The resource was created and can be used; the body contains its reference."
    ),
    202: StatusRule(
        ResponseClass.ACCEPTED, "Processing is in progress; wait for a completion callback or follow-up status."
    ),
    204: StatusRule(ResponseClass.DONE, "The request succeeded without content; nothing further to do."),
    400: StatusRule(ResponseClass.REJECTED, "Bad request: parameters are missing or malformed. Fix the payload."),
    401: StatusRule(
        ResponseClass.PAUSE, "Authentication failed or the API key is missing. Check the provider's credentials."
    ),
    402: StatusRule(
        ResponseClass.PAUSE,
        "Payment required: the account is empty or its plan too small. Settle the account, then resume the provider.",
    ),
    403: StatusRule(
        ResponseClass.REJECTED, "Forbidden: the API key has no permission for this. Check the key's access rights."
    ),
    404: StatusRule(
        ResponseClass.REJECTED, "Not found: the endpoint or resource does not exist. Check the URL or resource id."
    ),
    405: StatusRule(ResponseClass.REJECTED, "Method not allowed. Use the endpoint's HTTP method."),
    408: StatusRule(ResponseClass.SLOW_DOWN, "The provider timed out waiting for the request. It will be sent again."),
    409: StatusRule(
        ResponseClass.DUPLICATE, "Conflict with the current state, usually duplicate data. Review the input."
    ),
    425: StatusRule(ResponseClass.SLOW_DOWN, "Too early for the provider. The request will be sent again."),
    429: StatusRule(ResponseClass.SLOW_DOWN, "The rate limit was hit. Slow down or wait for the window to reset."),
    500: StatusRule(
        ResponseClass.PROVIDER_ERROR, "Internal error at the provider. If it keeps happening, contact the provider."
    ),
    502: StatusRule(
        ResponseClass.PROVIDER_ERROR,
        "Bad gateway: the provider got an invalid response from upstream. Retry after a few minutes.",
    ),
    503: StatusRule(ResponseClass.PROVIDER_ERROR, "The provider is overloaded or in maintenance. Wait and retry."),
    504: StatusRule(
        ResponseClass.AMBIGUOUS,
        "Gateway timeout at the provider; the request may have been accepted. Investigate.",
    ),
    523: StatusRule(
        ResponseClass.PROVIDER_ERROR, "The provider's API service is unreachable. Contact support if it persists."
    ),
}

_RULES_BY_FIRST_DIGIT: dict[int, StatusRule] = {
    2: StatusRule(ResponseClass.READ_BODY, "The request was successful; the body tells the result."),
    4: StatusRule(ResponseClass.REJECTED, "The provider rejected the request. Review the request."),
    5: StatusRule(ResponseClass.PROVIDER_ERROR, "The provider failed. If it keeps happening, contact the provider."),
}
_DEFAULT_RULE = StatusRule(
    ResponseClass.REJECTED, "The provider responded with a redirect or an unusual status. Check its base URL."
)


_NO_STATUS_CODES: Mapping[int, ResponseClass] = {}
_RETRIED = frozenset({ResponseClass.SLOW_DOWN, ResponseClass.PROVIDER_ERROR})
_CONFIGURED_NAMES = {response_class: name for name, response_class in CONFIGURABLE_CLASSES.items()}


def find_status_rule(status: int, status_codes: Mapping[int, ResponseClass] = _NO_STATUS_CODES) -> StatusRule:
    """Return the rule for an HTTP status; statuses that are not listed are classified by their first digit.

    Args:
        status: the status of a response.
        status_codes: the classes of statuses that the provider's configuration overrides.
    """
    rule = STATUS_RULES.get(status) or _RULES_BY_FIRST_DIGIT.get(status // 100, _DEFAULT_RULE)
    response_class = status_codes.get(status)
    # What the table retries anyway keeps its class, by which the limits of the provider are adapted.
    if response_class is None or (response_class is ResponseClass.RETRY and rule.response_class in _RETRIED):
        return rule
    return StatusRule(response_class, f"{rule.advice} (status_codes: {_CONFIGURED_NAMES[response_class]})")
