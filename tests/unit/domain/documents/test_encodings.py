"""Compressed bodies."""

import gzip
import tracemalloc
import zlib

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.encodings import DecodedTooLarge, UnsupportedEncoding, decode_body, decode_content
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
    with pytest.raises(UnsupportedEncoding, match=r"^Unsupported content encoding; send gzip, deflate or none\.$"):
        decode_body(build_callback(BODY, encoding))


def test_decompressed_body_is_limited() -> None:
    assert len(decode_body(build_callback(gzip.compress(b"x" * 1_000), "gzip"), 1_000).body) == 1_000
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        with pytest.raises(DecodedTooLarge, match=r"^The decompressed body must not exceed 1000 bytes\.$"):
            decode_body(build_callback(compress(b"x" * 1_001), encoding), 1_000)


def test_no_more_than_the_limit_is_decompressed() -> None:
    callback = build_callback(gzip.compress(bytes(4_000_000)), "gzip")
    tracemalloc.start()
    try:
        with pytest.raises(DecodedTooLarge):
            decode_body(callback, 1_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"\x1f\x8b", BODY, GZIPPED[:-1], GZIPPED + b"x", GZIPPED * 2])
def test_damaged_body_is_unreadable(body: bytes) -> None:
    for encoding in ("gzip", "deflate"):
        with pytest.raises(UnreadableDocument, match=rf"^The body is not complete {encoding}\.$"):
            decode_body(build_callback(body, encoding))


@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("GZip", GZIPPED),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY), mtime=0)),
        ("gzip,deflate", zlib.compress(GZIPPED)),
        ("gzip , identity,gzip", gzip.compress(GZIPPED, mtime=0)),
    ],
)
def test_content_encodings_are_undone_from_the_last(encodings: str, body: bytes) -> None:
    assert decode_content(body, encodings, 1_000) == BODY


def test_number_of_content_encodings_is_limited() -> None:
    with pytest.raises(UnsupportedEncoding, match=r"^Too many content encodings\.$"):
        decode_content(BODY, "identity, identity, identity, identity", 1_000)


def test_content_is_limited_between_two_encodings() -> None:
    body = gzip.compress(gzip.compress(bytes(range(256)) * 10))
    with pytest.raises(DecodedTooLarge, match="100 bytes"):
        decode_content(body, "gzip, gzip", 100)
