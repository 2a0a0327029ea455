"""The problem of a response whose body cannot be parsed, in words for people."""

from marshmallow import ValidationError

from receiver.domain.messages import describe_unreadable
from receiver.domain.sending import ParsedResponse, Response
from receiver.providers.json_paths import BODY


def build_unreadable_response(response: Response, error: ValidationError) -> ParsedResponse:
    """Return a parsed response without items, whose problem is what the body is, or what is wrong in it."""
    messages = error.messages_dict
    if BODY in messages:
        return ParsedResponse(problem=f"the body is {describe_unreadable(response.headers, response.body)}")
    return ParsedResponse(problem=f"the body cannot be read: {messages}")
