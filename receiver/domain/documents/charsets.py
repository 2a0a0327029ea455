"""Text in the charset that a body declares, or in UTF-8."""

import codecs
import re

# Neither codecs that are no charset (punycode takes quadratic time) nor those that hide ASCII (UTF-7).
_CHARSET = re.compile(r"(ascii|big5|cp|euc|gb|hz|iso|johab|koi8|kz|mac|shift|tis|utf-(8|16|32))", re.IGNORECASE)
_PARAMETER = re.compile(r""";\s*charset\s*=\s*["']?([A-Za-z0-9_.:+-]{1,40})""", re.IGNORECASE)


def find_charset(content_type: str) -> str:
    """Return the charset that a `Content-Type` declares, by Python's name; "" for none or an unknown one."""
    match = _PARAMETER.search(content_type)
    if match is None:
        return ""
    try:
        name = codecs.lookup(match[1]).name
    except (LookupError, ValueError):
        return ""
    return name if _CHARSET.match(name) else ""


def decode_text(content: bytes, charset: str = "") -> str:
    """Return text in UTF-8 or, if it is not UTF-8, in its declared charset.

    A charset is often declared wrongly, while hardly any other text is valid UTF-8 by chance. Bytes that are no text in
    either become lone surrogates.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        pass
    try:
        return content.decode(charset) if charset else content.decode(errors="surrogateescape")
    except UnicodeError:
        return content.decode(errors="surrogateescape")
