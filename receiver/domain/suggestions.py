"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches


def format_suggestion(name: str, choices: Iterable[str]) -> str:
    """Return " Did you mean NAME?" for the choice that resembles a name most, in any case; "" if none does."""
    spellings = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(name.lower(), spellings, n=1, cutoff=0.7)
    return f" Did you mean {spellings[matches[0]]}?" if matches else ""
