"""The search for a person in callbacks that belong to no job."""

import gzip

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.erasure import mentions
from tests.support.factories import NOON


def build(target: str = "/callbacks/acme", body: bytes = b"", **headers: str) -> IncomingCallback:
    return IncomingCallback(
        "POST", target, {name.replace("_", "-"): text for name, text in headers.items()}, body, NOON
    )


@pytest.mark.parametrize(
    ("callback", "term"),
    [
        (build(body=b'{"to": "+2348030000000"}'), "+2348030000000"),
        (build(body=b"to=%2B2348030000000"), "+2348030000000"),
        (build(body=b"name=Ada+Lovelace"), "Ada Lovelace"),
        (build(body=b'{"name": "Zo\\u00eb Li"}'), "Zo\u00eb Li"),
        (build(body='{"name": "Zoë Li"}'.encode()), "Zo\u00eb Li"),
        (build(body=b'{"ref": "a\\/1042"}'), "a/1042"),
        (build("/callbacks/acme?ref=ref%2F1042"), "ref/1042"),
        (build(x_reference="ref-1042"), "ref-1042"),
        (build(body=gzip.compress(b"ref-1042"), content_encoding="gzip"), "ref-1042"),
    ],
)
def test_mentioned_term_is_recognized(callback: IncomingCallback, term: str) -> None:
    assert mentions(callback, ["another", term])


@pytest.mark.parametrize(
    ("callback", "term"),
    [
        (build(body=b"ref-1043"), "ref-1042"),
        (build(body=b"ref-7"), "7"),
        (build(body=b"\x1f\x8b not gzip", content_encoding="gzip"), "ref-1042"),
    ],
)
def test_other_callback_is_left_alone(callback: IncomingCallback, term: str) -> None:
    assert not mentions(callback, [term])
