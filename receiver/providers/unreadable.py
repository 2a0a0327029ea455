"""The problem of a response that cannot be parsed, or does not contain what was asked for, in words for people."""

from collections.abc import Sequence

from marshmallow import ValidationError

from receiver.domain.messages import describe_unreadable, find_message
from receiver.domain.sending import READ_STATUSES, ParsedResponse, Response
from receiver.providers.json_paths import BODY, parse_json


def build_unreadable_response(response: Response, error: ValidationError) -> ParsedResponse:
    """Return a parsed response without items, whose problem is what the body is, or what is wrong in it."""
    messages = error.messages_dict
    if BODY in messages:
        return ParsedResponse(problem=f"the body is {describe_unreadable(response.headers, response.body)}")
    return ParsedResponse(problem=f"the body cannot be read: {messages}")


def explain_missing_reports(response: Response, references: Sequence[str]) -> str | None:
    """Return why the response to a poll has no reports on these jobs.

    None if it can be read and several jobs were polled: it need not name those that are not finished.
    """
    if response.problem:
        return response.problem
    if response.status not in READ_STATUSES:
        message = find_message(response.headers, response.body)
        return ": ".join(filter(None, [f"the provider responded with {response.status}", message]))
    try:
        parse_json(response.body)
    except ValidationError as error:
        return build_unreadable_response(response, error).problem
    return f"there is no report on the job {references[0]}" if len(references) == 1 else None
