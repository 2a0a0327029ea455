"""What is searched for and taken out when somebody's data is erased: from callbacks without a job, and from answers."""

import json
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.encodings import decode_body
from receiver.domain.documents.errors import UnreadableDocument

MIN_TERM_LENGTH = 4
"""The number of characters of the shortest text that is searched for: a shorter one would be in everything."""

_PERSONAL_FIELDS = ("payload", "metadata", "detail")


def mentions(callback: IncomingCallback, terms: Collection[str]) -> bool:
    """Return whether the target, a header or the body of a callback contains one of the terms.

    The body is decompressed. A term is recognized as it is, percent-encoded, and as JSON escapes it. Terms that are
    shorter than `MIN_TERM_LENGTH` are ignored.
    """
    with suppress(UnreadableDocument):
        callback = decode_body(callback)
    raw = "\n".join([callback.target, *callback.headers.values()]).encode(errors="surrogateescape") + callback.body
    contents = (raw, unquote_to_bytes(raw.replace(b"+", b" ")), unquote_to_bytes(raw))
    needles = [form for term in terms if len(term) >= MIN_TERM_LENGTH for form in _list_forms(term)]
    return any(needle in content for content in contents for needle in needles)


def strip_answer(response: bytes) -> bytes:
    """Return the stored answer to a call without what its requests or its job contain of a person."""
    document = orjson.loads(response)
    for item in document.get("items", [document]):
        item |= {name: None for name in _PERSONAL_FIELDS if name in item}
        if "events" in item:
            item["events"] = []
    return orjson.dumps(document)


def _list_forms(term: str) -> set[bytes]:
    escaped = json.dumps(term)[1:-1]
    return {term.encode(errors="surrogatepass"), escaped.encode(), escaped.replace("/", "\\/").encode()}
