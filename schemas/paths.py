"""Fields that name places in a provider's documents and words of its vocabulary; paths are JMESPath.

See https://jmespath.org/specification.html; a path that begins with `$.` starts at the whole document.
"""

import re
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError, fields, validate

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TEMPLATE = re.compile(r"/(?:[!-;=?-z|~]|\{[A-Za-z_][A-Za-z0-9_]*\})*")


def compile_path(text: str) -> Any:
    """Compile a path; one that starts at the whole document is compiled without its `$.`."""
    return jmespath.compile(text.removeprefix("$."))


class JsonPathField(fields.String):
    """A path into JSON."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            compile_path(text or "")
        except JMESPathError:
            raise ValidationError("must be a JMESPath expression such as data.items[].id") from None
        return text


class OneOrMore(fields.List[Any]):
    """A value or a list of values, as a list."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, list):
            return super()._deserialize(value, *args, **kwargs)
        try:
            return super()._deserialize([value], *args, **kwargs)
        except ValidationError as error:
            raise ValidationError(error.messages[0]) from None


class ValueLocationField(fields.String):
    """Where a value stands in a delivery: `header:NAME`, `query:NAME`, or a path into the body."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        kind, colon, name = (text or "").partition(":")
        if colon and kind in {"header", "query"}:
            if not name:
                raise ValidationError(f"must name the {kind} after the colon")
            return text
        return JsonPathField().deserialize(text)


class PathTemplate(fields.String):
    """A path below `base_url`, in which `{name}` stands for a value."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if not _TEMPLATE.fullmatch(text) or text.startswith("//"):
            raise ValidationError("must be a path such as /v1/renders/{reference}, in ASCII and beginning with one /")
        return text


class NamedValues(fields.Dict):
    """Values by names, whose faults are told by these names."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]  # marshmallow's
        except ValidationError as error:
            if isinstance(error.messages, dict):
                raise ValidationError({name: _merged(told) for name, told in error.messages.items()}) from None
            raise


def _merged(told: dict[str, Any]) -> Any:
    """Give the faults of a name and of its value as one."""
    return told["value"] if "value" in told else told.get("key", told)


def known_as(word: str | None) -> str:
    """Give a provider's word as it is compared: without regard to case and to white space around it."""
    return (word or "").strip().casefold()


class WordMap(NamedValues):
    """A provider's words → ours. Its words are compared without regard to case, so each may stand only once."""

    def __init__(self, ours: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(validate=validate.OneOf(list(ours))), **kwargs)
        self._ours = ours

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        given = super()._deserialize(value, *args, **kwargs)
        words = [known_as(word) for word in given]
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            raise ValidationError(f"each word may stand once, whatever its case: {', '.join(twice)}")
        return {known_as(word): self._ours[meaning] for word, meaning in given.items()}
