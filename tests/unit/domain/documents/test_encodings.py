"""Compressed bodies."""

import gzip
import zlib

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.encodings import DecodedTooLarge, UnsupportedEncoding, decode_body
from receiver.domain.documents.errors import UnreadableDocument
from tests.support.factories import NOON

BODY = b'{"id":"1"}' * 10
GZIPPED = gzip.compress(BODY, mtime=0)
RAW_DEFLATE = zlib.compressobj(wbits=-15)
DEFLATED = RAW_DEFLATE.compress(BODY) + RAW_DEFLATE.flush()


def build_callback(body: bytes, encoding: str | None) -> IncomingCallback:
    headers = {"x": "1"} if encoding is None else {"x": "1", "content-encoding": encoding}
    return IncomingCallback("POST", "/callbacks/acme", headers, body, NOON)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", GZIPPED),
        ("GZip ", GZIPPED),
        ("x-gzip", GZIPPED),
        ("deflate", zlib.compress(BODY)),
        ("deflate", DEFLATED),
        ("identity", BODY),
        ("", BODY),
        ("UTF-8", BODY),
        ("8bit", BODY),
    ],
)
def test_body_is_decompressed(encoding: str, body: bytes) -> None:
    assert decode_body(build_callback(body, encoding)) == build_callback(BODY, None)


def test_empty_body_has_no_encoding() -> None:
    assert decode_body(build_callback(b"", "gzip")) == build_callback(b"", None)


def test_callback_without_encoding_is_returned_itself() -> None:
    callback = build_callback(BODY, None)
    assert decode_body(callback) is callback


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_other_encoding_is_unsupported(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding):
        decode_body(build_callback(BODY, encoding))


def test_decompressed_body_is_limited() -> None:
    assert len(decode_body(build_callback(gzip.compress(b"x" * 1_000), "gzip"), 1_000).body) == 1_000
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        with pytest.raises(DecodedTooLarge):
            decode_body(build_callback(compress(b"x" * 1_001), encoding), 1_000)


@pytest.mark.parametrize("body", [b"\x1f\x8b", BODY, GZIPPED[:-1], GZIPPED + b"x", GZIPPED * 2])
def test_damaged_body_is_unreadable(body: bytes) -> None:
    for encoding in ("gzip", "deflate"):
        with pytest.raises(UnreadableDocument):
            decode_body(build_callback(body, encoding))
