"""Text in the charset that a body declares, or in UTF-8."""

import codecs
import re

# The media type is hardly ever signed. With these charsets, none makes another structure of the same ASCII bytes; in
# Shift JIS or GBK a character may end with a backslash, which would then escape nothing, and Mac Arabic and Farsi have
# ASCII characters such as the quotation mark a second time.
_CHARSET = re.compile(
    r"ascii|iso8859-[0-9]+|cp125[0-8]|koi8-[rut]|mac-(?!arabic|farsi)[a-z]+|tis-620|kz1048|utf-(8|16|32)(-[bl]e)?"
)
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
    return name if _CHARSET.fullmatch(name) else ""


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
