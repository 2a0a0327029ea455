"""Where a signed value is put into a callback, and what stays as it was."""

from dataclasses import replace

import pytest

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.signers import CannotSign, parse_place, set_fields, set_parameter
from tests.support.recipes import build_callback

MULTIPART = "multipart/form-data; boundary=b"
PART = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


def build_body(body: bytes, content_type: str = "") -> IncomingCallback:
    return build_callback({"content-type": content_type} if content_type else {}, body)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/c", "/c?sig=a%2Fb%2Bc%3D"),
        ("/c?a=1&b=2", "/c?a=1&b=2&sig=a%2Fb%2Bc%3D"),
        ("/c?sig=old&a=1&sig=old=&s%69g=old", "/c?a=1&sig=a%2Fb%2Bc%3D"),
        ("/c?a=1&&sigs=2", "/c?a=1&sigs=2&sig=a%2Fb%2Bc%3D"),
        ("/c?a=?&sig=x?y=z", "/c?a=?&sig=a%2Fb%2Bc%3D"),
        ("/c?a=sig", "/c?a=sig&sig=a%2Fb%2Bc%3D"),
    ],
)
def test_signed_parameter_replaces_those_of_its_name(target: str, expected: str) -> None:
    assert set_parameter(build_callback(target=target), "sig", b"a/b+c=").target == expected


@pytest.mark.parametrize(
    ("callback", "body_kind", "expected"),
    [
        (build_body(b'{"a": 1}'), "", b'{"a":1,"sig":"v"}'),
        (build_body(b"a=1&sig=old", FORM_MEDIA_TYPE), "", b"a=1&sig=v"),
        (build_body(b"a=1"), "form", b"a=1&sig=v"),
        (
            build_body(f"{PART.format('a', '1')}--b--\r\n".encode(), MULTIPART),
            "form",
            f"{PART.format('a', '1')}{PART.format('sig', 'v')}--b--\r\n".encode(),
        ),
        (build_body(b"<r><a>1</a></r>"), "xml", b"<r><a>1</a><sig>v</sig></r>"),
    ],
)
def test_signed_field_is_written_as_the_body_is_read(
    callback: IncomingCallback, body_kind: str, expected: bytes
) -> None:
    assert set_fields(callback, {("sig",): b"v"}, body_kind) == replace(callback, body=expected)


def test_signed_field_of_xml_may_begin_at_the_root() -> None:
    signed = set_fields(build_body(b"<r><a>1</a></r>"), {("r", "sig"): b"v"}, "xml")
    assert signed.body == b"<r><a>1</a><sig>v</sig></r>"


def test_signed_field_of_a_form_keeps_its_bytes() -> None:
    assert set_fields(build_body(b"a=1", FORM_MEDIA_TYPE), {("sig",): b"\xff"}).body == b"a=1&sig=%FF"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "The signature is a part of the body, which cannot be written: "),
        (b'{"a":1}\n{"a":2}', "The signature is a part of the body, which cannot be written: "),
    ],
)
def test_signature_is_not_written_into_an_unreadable_body(body: bytes, error: str) -> None:
    with pytest.raises(CannotSign) as caught:
        set_fields(build_body(body), {("sig",): b"v"})
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize("path", ["length(a)", "a || b"])
def test_signature_is_not_written_at_a_computed_place(path: str) -> None:
    with pytest.raises(CannotSign) as caught:
        parse_place(path)
    assert str(caught.value) == f"The signature is a part of the body, where nothing can be written at {path}."
