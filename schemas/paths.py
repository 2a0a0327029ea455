"""Fields for locations in a provider's documents, and for maps of statuses; paths are JMESPath.

See https://jmespath.org/specification.html; a path that begins with `$.` is relative to the whole document.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import jmespath
from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError, fields, validate

from receiver.domain.responses import CONFIGURABLE_CLASSES, ResponseClass
from receiver.schemas.fields import Choice

_Meaning = TypeVar("_Meaning")

HEADER_NAME = validate.Regexp(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", error="Must be a header name (RFC 9110): letters, digits, - and _."
)
HEADER_VALUE = validate.Regexp(r"[ -~]*\Z", error="Must be visible ASCII characters.")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PATH_TEMPLATE = re.compile(r"/(?:[!-;=?-z|~]|\{[A-Za-z_][A-Za-z0-9_]*\})*")


def compile_path(text: str) -> Any:
    """Compile a path without its `$.`; the caller searches the whole document for such a path."""
    return jmespath.compile(text.removeprefix("$."))


class JsonPathField(fields.String):
    """A path into JSON."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            compile_path(text or "")
        except JMESPathError:
            raise ValidationError("Must be a JMESPath expression such as data.items[].id.") from None
        return text


class OneOrMore(fields.List[Any]):
    """A value or a list of values; loads to a list."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, list):
            return super()._deserialize(value, *args, **kwargs)
        try:
            return super()._deserialize([value], *args, **kwargs)
        except ValidationError as error:
            raise ValidationError(error.messages[0]) from None


def check_received_header(name: str) -> None:
    """Check that a header of this name can reach us.

    Raises:
        ValidationError: it cannot.
    """
    if "_" in name:
        raise ValidationError(
            "Must not contain an underscore: web servers drop such headers, so that it is never received."
        )


class ValueLocationField(fields.String):
    """Where a value is in a callback: `header:NAME`, `query:NAME`, or a path into the body."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        kind, colon, name = (text or "").partition(":")
        if colon and kind in {"header", "query"}:
            if not name:
                raise ValidationError(f"Must have a name after {kind}:.")
            if kind == "header":
                check_received_header(name)
            return text
        return JsonPathField().deserialize(text)


class ResponseLocationField(fields.String):
    """Where a value is in a response: `header:NAME`, or a path into the body."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        kind, colon, name = (text or "").partition(":")
        if colon and kind == "header":
            HEADER_NAME(name)
            return text
        return JsonPathField().deserialize(text)


class PathTemplate(fields.String):
    """A URL path relative to `base_url`, in which `{name}` is a placeholder for a value."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if not _PATH_TEMPLATE.fullmatch(text) or text.startswith("//"):
            raise ValidationError(
                "Must be a path such as /v1/renders/{reference}, in ASCII and with exactly one / at the beginning."
            )
        return text


class NamedValues(fields.Dict):
    """A map of names to values; the errors of a name and of its value are reported at that name."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]  # marshmallow's
        except ValidationError as error:
            if isinstance(error.messages, dict):
                messages = {name: _merge_messages(by_part) for name, by_part in error.messages.items()}
                raise ValidationError(messages) from None
            raise


def _merge_messages(by_part: dict[str, Any]) -> Any:
    """Return the messages of a value, or those of its name if the value is valid."""
    return by_part["value"] if "value" in by_part else by_part.get("key", by_part)


def normalize_status(status: str | None) -> str:
    """Return a provider's status as it is compared: without regard to case and surrounding white space."""
    return (status or "").strip().casefold()


ANY_STATUS = "*"
"""The key of a status map that stands for every status that is not listed."""


def find_meaning(statuses: Mapping[str, _Meaning], status: str | None) -> _Meaning | None:
    """Return what a provider's status or code means; None for no status and for one that the map does not contain."""
    meaning = statuses.get(normalize_status(status))
    return statuses.get(ANY_STATUS) if meaning is None and status else meaning


class StatusMap(NamedValues):
    """A map of a provider's statuses or codes to ours; each may be there once, whatever its case.

    The key `*` stands for every status that is not listed.
    """

    def __init__(self, own_values: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(validate=Choice(list(own_values))), **kwargs)
        self._own_values = own_values

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        names = super()._deserialize(value, *args, **kwargs)
        counts = Counter(normalize_status(status) for status in names)
        duplicates = sorted(status for status, count in counts.items() if count > 1)
        if duplicates:
            raise ValidationError(f"Must not contain a status twice, whatever its case: {', '.join(duplicates)}.")
        return {normalize_status(status): self._own_values[name] for status, name in names.items()}


class StatusCodes(NamedValues):
    """What HTTP statuses mean, where it is not what the sending table says: status → class."""

    def __init__(self, **kwargs: Any) -> None:
        status = fields.String(validate=validate.Regexp(r"[1-5][0-9]{2}\Z", error="Must be a status from 100 to 599."))
        meaning = fields.String(validate=Choice(list(CONFIGURABLE_CLASSES)))
        super().__init__(keys=status, values=meaning, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[int, ResponseClass]:
        meanings = super()._deserialize(value, *args, **kwargs)
        return {int(status): CONFIGURABLE_CLASSES[meaning] for status, meaning in meanings.items()}
