"""Suggestions for misspelt names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

_MAX_SUGGESTIONS = 3
_MIN_SIMILARITY = 0.7
_MAX_PLAIN_CHOICES = 3
_SEPARATORS = re.compile(r"[\W_]+")


def format_suggestion(name: str, choices: Iterable[str], titles: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return " Did you mean NAME?" for the choices that a name may stand for; "" if there are none.

    Those are the choice of the same spelling but for case and separators, else those that begin with the words of the
    name, else the one that resembles it most.

    Args:
        name: the misspelt name.
        choices: the valid names.
        titles: by choice, another spelling that people may use, such as "Paystack transfers" of `paystack`.
    """
    names = {_normalize(choice): choice for choice in choices}
    spellings = {_normalize(titles[choice]): choice for choice in names.values() if choice in titles} | names
    found = _find_spellings(_normalize(name), spellings)
    suggested = list(dict.fromkeys(spellings[spelling] for spelling in found))[:_MAX_SUGGESTIONS]
    if not suggested:
        return ""
    *others, last = suggested
    return f" Did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def format_list_suggestion(name: str, choices: Iterable[str]) -> str:
    """Return `format_suggestion` for choices that are listed beside it; "" for so few that the list is enough."""
    names = list(choices)
    return format_suggestion(name, names) if len(names) > _MAX_PLAIN_CHOICES else ""


def _normalize(text: str) -> str:
    return _SEPARATORS.sub("-", text.lower()).strip("-")


def _find_spellings(name: str, spellings: Iterable[str]) -> Sequence[str]:
    if not name:
        return []
    known = [spelling for spelling in spellings if spelling]
    if name in known:
        return [name]
    longer = [spelling for spelling in known if spelling.startswith(f"{name}-")]
    return longer or get_close_matches(name, known, n=1, cutoff=_MIN_SIMILARITY)
