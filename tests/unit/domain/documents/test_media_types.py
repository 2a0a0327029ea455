"""Media types that a kind of body can be read from."""

import pytest

from receiver.domain.documents.media_types import BODY_KINDS, is_readable

MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "content_types"),
    [
        (
            "json",
            ["", "application/json", "text/plain; charset=UTF-8", "application/cloudevents+json", "text/json", "json"],
        ),
        ("json", ["application/x-www-form-urlencoded", "Application/JSON; charset=x", "application/octet-stream", ";"]),
        ("form", ["", "application/x-www-form-urlencoded;charset=x", "text/plain", "application/json", MULTIPART]),
        ("xml", ["", "application/xml", "TEXT/XML; charset=x", "application/soap+xml", "text/plain"]),
        ("multipart", [MULTIPART, 'Multipart/Form-Data; boundary="b"']),
        ("query", ["", "image/png", "multipart/form-data", "anything"]),
    ],
)
def test_kind_is_read_whatever_the_media_type(kind: str, content_types: list[str]) -> None:
    assert [content_type for content_type in content_types if not is_readable(kind, content_type)] == []


@pytest.mark.parametrize(
    ("kind", "content_types"),
    [
        ("json", [MULTIPART, "text/xml", "application/soap+xml", "image/png", "application/pdf", "text/csv"]),
        ("form", ["multipart/form-data", "application/xml", "audio/wav", "text/html; charset=x"]),
        ("xml", [MULTIPART, "video/mp4", "application/zip"]),
        (
            "multipart",
            ["", "multipart/form-data", "application/json", "application/x-www-form-urlencoded", "image/png"],
        ),
    ],
)
def test_media_type_of_something_else_is_refused(kind: str, content_types: list[str]) -> None:
    assert [content_type for content_type in content_types if is_readable(kind, content_type)] == []


def test_every_kind_has_a_rule() -> None:
    assert {kind: is_readable(kind, "image/png") for kind in BODY_KINDS if kind != "query"} == dict.fromkeys(
        ("json", "form", "multipart", "xml"), False
    )
