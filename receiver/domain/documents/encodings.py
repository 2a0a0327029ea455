"""`Content-Encoding`: compressed bodies, decompressed within a limit."""

import zlib
from dataclasses import replace

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument

CONTENT_ENCODING = "content-encoding"
MAX_DECODED_BYTES = 64 << 20
"""The limit of a body that was within `RECEIVER_MAX_BODY` when it was received."""
# Some senders name a charset or a transfer encoding here.
_NO_ENCODINGS = frozenset({"", "identity", "none", "utf-8", "utf8", "us-ascii", "iso-8859-1", "8bit", "binary"})
_GZIP_BITS, _ZLIB_BITS, _DEFLATE_BITS = 31, 15, -15
_WINDOW_BITS = {
    "gzip": (_GZIP_BITS,),
    "x-gzip": (_GZIP_BITS,),
    # RFC 9110 means zlib; some senders leave out its header.
    "deflate": (_ZLIB_BITS, _DEFLATE_BITS),
}


_MAX_ENCODINGS = 3


class UnsupportedEncoding(UnreadableDocument):
    """A body has a content encoding that is not supported, or too many."""


class DecodedTooLarge(UnreadableDocument):
    """A body exceeds the limit once it is decompressed."""


def decode_body(callback: IncomingCallback, max_bytes: int = MAX_DECODED_BYTES) -> IncomingCallback:
    """Return a callback with its body decompressed and without `Content-Encoding`; the same object if it has none.

    Raises:
        UnsupportedEncoding: the encoding is neither gzip nor deflate.
        DecodedTooLarge: the decompressed body exceeds `max_bytes`. No more than that is decompressed.
        UnreadableDocument: the body is not in its encoding, or not complete.
    """
    if CONTENT_ENCODING not in callback.headers:
        return callback
    encoding = callback.headers[CONTENT_ENCODING].strip().lower()
    is_plain = encoding in _NO_ENCODINGS or not callback.body
    body = callback.body if is_plain else _decompress(callback.body, encoding, max_bytes)
    headers = {name: value for name, value in callback.headers.items() if name != CONTENT_ENCODING}
    return replace(callback, headers=headers, body=body)


def decode_content(body: bytes, encodings: str, max_bytes: int) -> bytes:
    """Return a body without its content encodings.

    Args:
        body: the encoded body.
        encodings: the value of `Content-Encoding`: the names of encodings in the order in which they were applied.
        max_bytes: the limit of the decompressed body, also between two encodings.

    Raises:
        UnsupportedEncoding: an encoding is neither gzip nor deflate, or there are more than three.
        DecodedTooLarge: the decompressed body exceeds `max_bytes`. No more than that is decompressed.
        UnreadableDocument: the body is not in its encoding, or not complete.
    """
    names = [name.strip().lower() for name in encodings.split(",")]
    if len(names) > _MAX_ENCODINGS:
        raise UnsupportedEncoding("Too many content encodings.")
    for name in reversed(names):
        if name not in _NO_ENCODINGS:
            body = _decompress(body, name, max_bytes)
    return body


def _decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding not in _WINDOW_BITS:
        raise UnsupportedEncoding("Unsupported content encoding; send gzip, deflate or none.")
    for bits in _WINDOW_BITS[encoding]:
        decompressor = zlib.decompressobj(bits)
        try:
            content = decompressor.decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        if len(content) > max_bytes:
            raise DecodedTooLarge(f"The decompressed body must not exceed {max_bytes} bytes.")
        if decompressor.eof and not decompressor.unused_data:
            return content
    raise UnreadableDocument(f"The body is not complete {encoding}.")
