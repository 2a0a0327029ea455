"""Fields of `[providers.NAME.signature]`: URL tokens, names of headers, and the table `params`."""

import re
from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, post_load

from receiver.schemas.fields import Choice, StrictSchema
from receiver.signatures.base import MAX_SIGNATURES
from receiver.signatures.parameters import PARAMETER_SOURCES, SortedParameters

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")
_TOKEN_ERROR = "Must be at least 16 characters of A-Z, a-z, 0-9, _ and -."  # noqa: S105  # a message


def check_tokens(tokens: Sequence[Any]) -> dict[Any, Any]:
    """Return the errors of invalid URL tokens, by index."""
    return {
        index: [_TOKEN_ERROR]
        for index, token in enumerate(tokens)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token)
    }


class UrlTokens(fields.Field[tuple[str, ...]]):
    """One URL token or a list of them; new callback URLs use the first."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            if check_tokens([value]):
                raise ValidationError(_TOKEN_ERROR)
            return (value,)
        if not 1 <= len(value) <= 10:
            raise ValidationError("Must be a list of 1 to 10 tokens.")
        if errors := check_tokens(value):
            raise ValidationError(errors)
        return tuple(value)


class HeaderNames(fields.Field[tuple[str, ...]]):
    """The name of a header or a list of names; loads to a tuple."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValidationError("Must be the name of a header or a list of names.")
        if not 1 <= len(names) <= MAX_SIGNATURES:
            raise ValidationError(f"Must be a list of 1 to {MAX_SIGNATURES} names.")
        return tuple(names)


class ParameterTableSchema(StrictSchema):
    """How `{sorted_params}` joins parameters."""

    source = fields.String(validate=Choice(PARAMETER_SOURCES))
    assignment = fields.String()
    separator = fields.String()
    excluded = fields.List(fields.String(), data_key="exclude")
    skip_empty = fields.Boolean()
    replacement = fields.String()

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> SortedParameters:
        return SortedParameters(exclude=tuple(data.pop("excluded", ())), **data)
