"""The entries of the catalog, and how an entry and its user's table become the table of a declared provider."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from marshmallow import ValidationError

from receiver.domain.suggestions import format_suggestion
from receiver.providers.catalog.examples import Examples, build_examples
from receiver.schemas.catalog import CatalogEntrySchema
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.fields import find_secret_error

_ENDING = ".toml"
_PARAMETER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_ABSENT = object()
_REQUIRED = "Missing data for required field"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a user of an entry sets.

    Attributes:
        name: its key in the user's table.
        title: what it is, and where the vendor shows it.
        is_secret: whether it is a secret, which belongs into an environment variable or a file.
        is_optional: whether the entry works without it.
        default: the value without one of the user; None if there is none.
        example: a value of the right form.
        is_random: whether it is a secret that users make up, instead of reading it at the vendor.
    """

    name: str
    title: str
    is_secret: bool
    is_optional: bool
    default: str | None
    example: str
    is_random: bool = False

    @property
    def is_required(self) -> bool:
        """Whether the user must set it."""
        return self.default is None and not self.is_optional


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A provider that is connected with its parameters.

    Attributes:
        name: the kind in `receiver.toml`.
        title: the provider's name for people.
        field: what the provider is for, one of `receiver.schemas.catalog.FIELDS`.
        documentation: URLs of the vendor's pages.
        notes: what users should know.
        parameters: by name.
        verified: what each part was verified by, see `receiver.schemas.catalog`.
        left_out: what could not be verified.
        table: the table of kind `declared`, with `${NAME}` for parameters.
        examples: messages as the vendor documents them.
    """

    name: str
    title: str
    field: str
    documentation: Sequence[str]
    notes: Sequence[str]
    parameters: Mapping[str, Parameter]
    verified: Mapping[str, str]
    left_out: Sequence[str]
    table: Mapping[str, Any]
    examples: Examples

    def expand(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table of kind `declared` for a user's table of this kind.

        Raises:
            ValidationError: a parameter is missing or invalid, or a key is neither a parameter nor one of a provider.
        """
        names = [*self.parameters, *_list_provider_keys()]
        errors = {
            key: [f"Unknown field.{format_suggestion(str(key), names)}"] for key in own if key not in names
        } | self._find_parameter_errors(own)
        if errors:
            raise ValidationError(errors)
        values = {
            name: own.get(name, parameter.default)
            for name, parameter in self.parameters.items()
            if own.get(name, parameter.default) is not None
        }
        overrides = {key: value for key, value in own.items() if key not in self.parameters}
        return {**_fill_table(self.table, overrides, values), "kind": "declared"}

    def find_secrets(self, own: Mapping[str, Any]) -> Sequence[str]:
        """Return the values of the secret parameters in a user's table."""
        return [own[name] for name, parameter in self.parameters.items() if parameter.is_secret and name in own]

    def assign_errors(self, messages: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the errors of an expanded table at the places where the user can mend them.

        The error of a value that consists of parameters is one of the first of these parameters, unless the user
        overrides the value.
        """
        assigned: dict[str, Any] = {}
        for path, message in _iterate_messages(messages):
            name = _find_parameter(self.table, own, path)
            place = (name,) if name else path
            text = f"{message} ({'.'.join(map(str, path))})" if name else message
            _insert_message(assigned, place, text)
        return assigned

    def _find_parameter_errors(self, own: Mapping[str, Any]) -> dict[str, Any]:
        used = _find_parameters(self.table, own)
        errors: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            value = own.get(name, _ABSENT)
            if value is _ABSENT:
                if parameter.is_required and name in used:
                    errors[name] = [f"{_REQUIRED}: {parameter.title}."]
            elif not isinstance(value, str):
                errors[name] = ["Not a valid string."]
            elif error := find_secret_error(value) or ("" if value else "Must not be empty."):
                errors[name] = [error]
        return errors


@cache
def list_entries() -> Sequence[str]:
    """Return the names of the entries, sorted."""
    names = [path.name for path in files(__package__).iterdir()]
    return sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING))


@cache
def load_entry(name: str) -> CatalogEntry:
    """Return an entry.

    Raises:
        LookupError: there is no entry of this name.
        ValidationError: its file is invalid, which the tests rule out for those of the package.
    """
    if name not in list_entries():
        raise LookupError(name)
    return parse_entry(name, (files(__package__) / f"{name}{_ENDING}").read_text(encoding="utf-8"))


def parse_entry(name: str, text: str) -> CatalogEntry:
    """Return the entry that a file describes.

    Args:
        name: the name of the entry.
        text: the file.

    Raises:
        ValidationError: the file is invalid.
    """
    try:
        loaded = CatalogEntrySchema().load(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValidationError(f"Not valid TOML: {error}.") from None
    parameters = {
        key: Parameter(
            key,
            title=value["title"],
            is_secret=value["secret"],
            is_optional=value["optional"],
            default=value["default"],
            example=value["example"],
            is_random=value["random"],
        )
        for key, value in loaded["parameters"].items()
    }
    table = loaded["provider"]
    _check_parameters(parameters, find_parameters(table))
    return CatalogEntry(
        name=name,
        title=loaded["title"],
        field=loaded["field"],
        documentation=loaded["documentation"],
        notes=loaded["notes"],
        parameters=parameters,
        verified=loaded["verified"],
        left_out=loaded["left_out"],
        table=table,
        examples=build_examples(loaded["examples"], table),
    )


@cache
def _list_provider_keys() -> Sequence[str]:
    """Return the keys of a declared provider, which are looked up for each account of a provider."""
    return tuple(DeclaredSettingsSchema().fields)


def find_parameters(value: Any) -> set[str]:
    """Return the names of the parameters that a value of an entry's table uses."""
    return _find_parameters(value, {})


def _check_parameters(parameters: Mapping[str, Parameter], used: set[str]) -> None:
    """Check that the parameters are those that the table uses.

    Raises:
        ValidationError: they are not.
    """
    unused = {name: ["The table does not use it."] for name in parameters.keys() - used}
    unknown = {name: ["Missing data for required field: the table uses it."] for name in used - parameters.keys()}
    if unused or unknown:
        raise ValidationError({"parameters": unused | unknown})


def _fill_table(table: Mapping[str, Any], own: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return a table with the values of parameters, and with the user's own values, which replace others."""
    filled: dict[str, Any] = {}
    for key, value in table.items():
        override = own.get(key, _ABSENT)
        if override is _ABSENT:
            content = _fill(value, values)
        elif _is_merged(value, override):
            content = _fill_table(value, override, values)
        else:
            content = override
        if content is not _ABSENT:
            filled[key] = content
    return filled | {key: value for key, value in own.items() if key not in table}


def _is_merged(value: Any, override: Any) -> bool:
    """Return whether the user's own value is merged into that of the entry, instead of replacing it.

    A table with a scheme of its own, `auth` or `signature`, has keys of its own, too.
    """
    return isinstance(value, Mapping) and isinstance(override, Mapping) and "scheme" not in override


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    """Return a value with those of parameters; `_ABSENT` if the user did not set one of them."""
    if isinstance(value, Mapping):
        return _fill_table(value, {}, values)
    if isinstance(value, list):
        items = [_fill(item, values) for item in value]
        filled = [item for item in items if item is not _ABSENT]
        return filled if filled or not items else _ABSENT
    if not isinstance(value, str):
        return value
    if any(name not in values for name in _PARAMETER.findall(value)):
        return _ABSENT
    return _PARAMETER.sub(lambda match: values[match[1]], value)


def _find_parameters(value: Any, own: Any) -> set[str]:
    """Return the parameters that a value of an entry uses, except where the user's own values replace it."""
    if isinstance(value, Mapping):
        overrides = own if isinstance(own, Mapping) else {}
        inner = [
            _find_parameters(content, overrides.get(key, {}))
            for key, content in value.items()
            if key not in overrides or _is_merged(content, overrides[key])
        ]
    elif isinstance(value, list):
        inner = [_find_parameters(item, {}) for item in value]
    else:
        return set(_PARAMETER.findall(value)) if isinstance(value, str) else set()
    return set().union(*inner)


def _find_parameter(table: Any, own: Any, path: Sequence[Any]) -> str | None:
    """Return the first parameter of the value at a path; None if it has none, or the user overrides it."""
    for key in path:
        try:
            table = table[key]
        except (LookupError, TypeError):
            return None
        if isinstance(own, Mapping) and key in own and not _is_merged(table, own[key]):
            return None
        own = own.get(key) if isinstance(own, Mapping) else None
    match = _PARAMETER.search(table) if isinstance(table, str) else None
    return match[1] if match else None


def _iterate_messages(messages: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _iterate_messages(inner, (*path, key))
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield path, str(message)


def _insert_message(messages: dict[str, Any], path: Sequence[Any], message: str) -> None:
    *keys, last = path
    for key in keys:
        messages = messages.setdefault(key, {})
    messages.setdefault(last, []).append(message)
