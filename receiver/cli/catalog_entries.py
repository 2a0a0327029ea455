"""What the commands about the catalog share: the argument that names an entry, and the variables of the environment."""

import os
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from receiver.configured_providers import SettingsError, load_variables
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry
from receiver.providers.catalog.suggestions import format_entry_suggestion


class EntryParameter(click.ParamType[CatalogEntry]):
    """The name of an entry of the catalog."""

    name = "entry"

    def convert(
        self, value: str | CatalogEntry, param: click.Parameter | None, ctx: click.Context | None
    ) -> CatalogEntry:
        if isinstance(value, CatalogEntry):
            return value
        try:
            return load_entry(value)
        except LookupError:
            suggestion = format_entry_suggestion(value) or " `receiver provider catalog` lists all."
            self.fail(f"The catalog has no provider {value}.{suggestion}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in list_entries() if name.startswith(incomplete)]


def load_valid_variables() -> Mapping[str, Any]:
    """Return the settings that are environment variables.

    Raises:
        SettingsError: one of them is invalid.
    """
    variables, faults = load_variables(os.environ)
    if faults:
        raise SettingsError(faults)
    return variables
