"""Suggestions for names that no entry of the catalog has."""

from collections.abc import Iterable

from receiver.domain.suggestions import format_suggestion
from receiver.providers.catalog.entries import list_entries, load_entry


def format_entry_suggestion(name: str, others: Iterable[str] = ()) -> str:
    """Return " Did you mean NAME?" for the entries whose name or title a name may stand for; "" if there are none.

    Args:
        name: the name that no entry has.
        others: other names that are valid in its place.
    """
    entries = list_entries()
    return format_suggestion(name, [*others, *entries], {entry: load_entry(entry).title for entry in entries})
