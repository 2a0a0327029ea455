"""Which media types a kind of body can be read from.

The kind decides how a body is read, and many providers send a media type that is not that of their body. Only a media
type of something else altogether is refused.
"""

from collections.abc import Mapping

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.forms import find_boundary

BODY_KINDS = ("json", "form", "multipart", "xml", "query")
"""How a callback is read: from its body by its kind, or from its query."""
USUAL_MEDIA_TYPES: Mapping[str, frozenset[str]] = {
    "json": frozenset({"application/json"}),
    "form": frozenset({FORM_MEDIA_TYPE}),
    "multipart": frozenset({"multipart/form-data"}),
    "xml": frozenset({"application/xml", "text/xml"}),
    "query": frozenset(),
}
"""The media types of each kind of body, as they are documented."""

_BINARY = ("image/", "audio/", "video/", "font/", "model/", "application/pdf", "application/zip")
_OTHER_TEXTS = frozenset({"text/csv", "text/html"})


def is_readable(kind: str, content_type: str) -> bool:
    """Return whether a body with this `Content-Type`, "" for none, can be read as a kind of `BODY_KINDS`."""
    if kind == "query":
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        return kind in {"form", "multipart"} and find_boundary(content_type) != ""
    if media_type in USUAL_MEDIA_TYPES["xml"] or media_type.endswith("+xml"):
        return kind == "xml"
    return kind != "multipart" and not media_type.startswith(_BINARY) and media_type not in _OTHER_TEXTS
