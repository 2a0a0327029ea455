"""Charsets of bodies."""

import encodings
import pkgutil

import pytest

from receiver.domain.documents.charsets import decode_text, find_charset


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json", ""),
        ("application/json; charset=UTF-8", "utf-8"),
        ('text/plain;CHARSET="ISO-8859-1"; x=y', "iso8859-1"),
        ("text/plain; charset=windows-1252", "cp1252"),
        ("text/plain; charset=utf-16", "utf-16"),
        ("text/plain; charset=nonsense", ""),
        ("text/plain; charset=punycode", ""),
        ("text/plain; charset=shift_jis", ""),
        ("text/plain; charset=gbk", ""),
        ("text/plain; charset=iso-2022-jp", ""),
        ("text/plain; charset=utf-7", ""),
        ("text/plain; charset=hex", ""),
        ("text/plain; charset=unicode_escape", ""),
        ("text/plain; xcharset=utf-8", ""),
        ("text/plain; charset=", ""),
    ],
)
def test_charset_is_a_known_one(content_type: str, charset: str) -> None:
    assert find_charset(content_type) == charset


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("ü".encode(), "", "ü"),
        ("ü".encode(), "iso8859-1", "ü"),
        (b"\xfc", "iso8859-1", "ü"),
        (b"\xfc", "", "\udcfc"),
        (b"\xfc", "ascii", "\udcfc"),
        (b"\xfc", "utf-16", "\udcfc"),
    ],
)
def test_text_is_utf8_before_anything_else(content: bytes, charset: str, text: str) -> None:
    assert decode_text(content, charset) == text


def test_text_needs_no_charset() -> None:
    assert decode_text(b"\xfc") == "\udcfc"


@pytest.mark.parametrize("module", list(pkgutil.iter_modules(encodings.__path__)), ids=lambda module: module.name)
def test_only_ascii_bytes_are_ascii_characters(module: pkgutil.ModuleInfo) -> None:
    charset = find_charset(f"text/plain; charset={module.name}")
    if not charset or charset.startswith("utf-"):
        return
    characters = [bytes([number]).decode(charset, "replace") for number in range(256)]
    assert [number for number, character in enumerate(characters) if character.isascii()] == list(range(128))
