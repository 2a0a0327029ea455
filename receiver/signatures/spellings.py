"""Two spellings of a URL: with some characters of its query percent-encoded, or decoded.

Some providers sign a URL whose query has these characters decoded, while the request line has them encoded. No other
character is decoded: with `&`, `=`, `+`, `#` or `%` itself decoded, two URLs with different parameters would have one
signature.
"""

import re

_DECODED = {
    f"%{ord(character):02X}": character for character in ":/?@!$'()*,;"
}  # HubSpot's documentation of X-HubSpot-Signature-v3
_ENCODED_CHARACTER = re.compile("|".join(_DECODED), re.IGNORECASE)
_AT_AND_COLON = re.compile("%40|%3A", re.IGNORECASE)


def decode_query(query: str) -> str:
    """Return a query with those characters decoded that do not separate parameters."""
    return _decode(_ENCODED_CHARACTER, query)


def list_spellings(target: str) -> tuple[str, ...]:
    """Return the spellings of a target that a provider may have signed, its own first; the path is never changed."""
    path, mark, query = target.partition("?")
    if "%" not in query:
        return (target,)
    queries = dict.fromkeys((query, decode_query(query), _decode(_AT_AND_COLON, query)))
    return tuple(f"{path}{mark}{spelling}" for spelling in queries)


def _decode(pattern: re.Pattern[str], query: str) -> str:
    return pattern.sub(lambda match: _DECODED[match[0].upper()], query)
