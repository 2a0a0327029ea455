"""Schemas that load what clients usually send without marshmallow's machinery, which takes ten times as long."""

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, missing

from receiver.schemas.fields import Text


class QuickSchema(Schema):
    """A schema that loads valid documents quickly; any other document is loaded by marshmallow, which finds all errors.

    Unknown fields must be errors, and the schema must have no hooks but validators. A document that has a field of
    `CHECKED_TOGETHER`, the fields that these validators look at, is not loaded quickly.
    """

    CHECKED_TOGETHER: ClassVar[Collection[str]] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loaders = {
            name: _compile(field) for name, field in self.load_fields.items() if name not in self.CHECKED_TOGETHER
        }
        self._required = {name for name, field in self.load_fields.items() if field.required}
        self._defaults = {
            name: field.load_default for name, field in self.load_fields.items() if field.load_default is not missing
        }

    def load(self, data: Any, *, many: bool | None = None, partial: Any = None, unknown: Any = None) -> Any:
        loaded = self._load_quickly(data)
        return super().load(data, many=many, partial=partial, unknown=unknown) if loaded is None else loaded

    def validate(self, data: Any, *, many: bool | None = None, partial: Any = None) -> dict[str, list[str]]:
        loaded = self._load_quickly(data)
        return super().validate(data, many=many, partial=partial) if loaded is None else {}

    def _load_quickly(self, data: Any) -> dict[str, Any] | None:
        """Return the loaded document, or None if marshmallow must look at it."""
        if type(data) is not dict or not data.keys() >= self._required:
            return None
        try:
            loaded = {name: self._loaders[name](value) for name, value in data.items()}
        except (KeyError, ValidationError):
            return None
        for name, default in self._defaults.items():
            if name not in loaded:
                loaded[name] = default() if callable(default) else default
        return loaded


def _compile(field: fields.Field[Any]) -> Callable[[Any], Any]:
    """Return a function that does what `field.deserialize` does, quickly for the usual values of common fields."""
    if type(field) is fields.List:
        return _compile_plain(field, list, _compile(field.inner))
    if type(field) in {Text, fields.String}:
        return _compile_plain(field, str)
    if type(field) is fields.Dict and type(field.key_field) is fields.String and field.value_field is None:
        return _compile_plain(field, dict)
    if type(field) is fields.Nested and not field.many:
        return _compile_nested(field)
    return field.deserialize


def _compile_nested(field: fields.Nested) -> Callable[[Any], Any]:
    schema = field.schema
    return lambda value: field.deserialize(value) if value is None else schema.load(value)


def _compile_plain(
    field: fields.Field[Any], kind: type[Any], load_item: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """Return the function of a field that loads values of a type unchanged, or a list with its items loaded."""
    validators = field.validators

    def load(value: Any) -> Any:
        if not isinstance(value, kind):
            return field.deserialize(value)
        loaded = value if load_item is None else [load_item(item) for item in value]
        for validator in validators:
            validator(loaded)
        return loaded

    return load
