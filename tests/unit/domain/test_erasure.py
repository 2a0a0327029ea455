"""The search for a person in callbacks that belong to no job, and what is taken out of answers."""

import gzip

import orjson
import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.erasure import mentions, strip_answer
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
        (build(x_name="Zoë Li".encode().decode("ascii", "surrogateescape")), "Zo\u00eb Li"),
        (build(body=b"to=1042"), "1042"),
        (build(body=b'{"name": "\\ud800 half"}'), "\ud800 half"),
        (build(body=gzip.compress(b"ref-1042"), content_encoding="gzip"), "ref-1042"),
    ],
)
def test_mentioned_term_is_recognized(callback: IncomingCallback, term: str) -> None:
    assert mentions(callback, ["another", term])


@pytest.mark.parametrize(
    ("callback", "term"),
    [
        (build(body=b"ref-1043"), "ref-1042"),
        (build(body=b"kef-1042"), "ref-1042"),
        (build(body=b"ref-7"), "7"),
        (build(body=b"\x1f\x8b not gzip", content_encoding="gzip"), "ref-1042"),
    ],
)
def test_other_callback_is_left_alone(callback: IncomingCallback, term: str) -> None:
    assert not mentions(callback, [term])


PERSONAL = {"id": "1", "payload": {"to": "Ada"}, "metadata": {"a": "b"}, "detail": "to Ada", "events": [{"code": "7"}]}
STRIPPED: dict[str, object] = {"id": "1", "payload": None, "metadata": None, "detail": None, "events": []}


@pytest.mark.parametrize(
    ("document", "stripped"),
    [
        (PERSONAL, STRIPPED),
        ({"items": [PERSONAL, {"id": "2"}, PERSONAL]}, {"items": [STRIPPED, {"id": "2"}, STRIPPED]}),
        ({"id": "3", "detail": None}, {"id": "3", "detail": None}),
    ],
)
def test_answer_is_stripped_of_personal_fields(document: dict[str, object], stripped: dict[str, object]) -> None:
    assert orjson.loads(strip_answer(orjson.dumps(document))) == stripped
