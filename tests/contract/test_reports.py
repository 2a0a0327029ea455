"""What a provider's callbacks say, in whatever order and form they come."""

import json
from contextlib import suppress
from itertools import permutations
from urllib.parse import quote_plus
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, StatusReport, derive_job_id, fold_events
from receiver.domain.sending import Response
from receiver.providers.base import MalformedCallback
from tests.contract import Case
from tests.contract.cases import CASES
from tests.factories import NOON

each = pytest.mark.parametrize("case", CASES, ids=str)
UNKNOWN = "brand_new_word"
NO_REPORT: list[object] = [None, True, 7, "text", [], {}, [[]], [None], {"id": {}}, {"data": []}, {"data": {"id": []}}]

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aé€ /0", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "data", "object", "status", "results", "entry", "payload", "event", "reference", "type", "to"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def parsed(case: Case, body: bytes) -> list[StatusReport]:
    return [report for _, report in case.provider.parse(case.incoming(body)).reports]


@each
def test_every_payload_is_understood_whole(case: Case) -> None:
    for file, reports in case.said.items():
        read = case.provider.parse(case.incoming(case.payload(file)))
        assert read.reports == list(enumerate(reports)), file
        assert read.errors == {}


@each
def test_its_media_type_and_method_are_let_in(case: Case) -> None:
    callback_settings = case.provider.callback_settings
    assert case.media_type in callback_settings.media_types
    assert "POST" in callback_settings.methods


@each
def test_an_unknown_status_word_is_kept_and_says_nothing(case: Case) -> None:
    file, [known, *_] = next(iter(case.said.items()))
    word = case.word or known.provider_status or ""
    body = case.payload(file)
    for written in (f'"{word}"', f"{quote_plus(chr(34) + word + chr(34))}", f"={word}"):
        body = body.replace(written.encode(), written.replace(word, UNKNOWN).encode())
    read = parsed(case, body)[0]
    assert read.reference == known.reference
    assert read.status is None
    assert read.provider_status == (known.provider_status or "").replace(word, UNKNOWN)
    assert not read.superseding


@each
def test_words_are_understood_in_whatever_case(case: Case) -> None:
    file, [known, *_] = next(iter(case.said.items()))
    word = case.word or known.provider_status or ""
    body = case.payload(file).replace(word.encode(), word.swapcase().encode())
    assert parsed(case, body)[0].status is known.status


def events(case: Case, order: tuple[int, ...], files: list[str]) -> list[JobEvent]:
    """Give the events of payloads that are received in an order; a payload has one identity, however often it comes."""
    return [
        case.provider.event(
            report, EventSource.CALLBACK, uuid5(NAMESPACE_URL, files[number]), NOON.replace(minute=at), index=index
        )
        for at, number in enumerate(order)
        for index, report in enumerate(case.said[files[number]])
    ]


@each
def test_in_any_order_and_repeated_its_jobs_end_the_same(case: Case) -> None:
    files = [file for file, reports in case.said.items() if reports]
    ends = {
        derive_job_id(case.vendor, report.reference): report.status or JobStatus.ACCEPTED for report in case.reports()
    }
    for order in permutations(range(len(files))):
        for received in (order, (*order, *order), (*order, order[0])):
            states = fold_events(events(case, received, files))
            assert {job: state.status for job, state in states.items()} == ends
            assert not any(state.disputed for state in states.values())


@each
def test_a_body_that_cannot_be_read_is_malformed(case: Case) -> None:
    broken = [b"\xff\xfe", b"\x00", "é".encode("latin-1"), b"", b"<html>", b"response=%5B", b"response=%ff"]
    for body in (
        broken if case.media_type == FORM_MEDIA_TYPE else [*broken, b"{", b"[1,", b"{'a': 1}", b"NaN", b"[" * 2_000]
    ):
        with pytest.raises(MalformedCallback) as caught:
            case.provider.parse(case.incoming(body))
        assert caught.value.errors


@each
def test_a_document_of_another_form_is_malformed_or_says_nothing(case: Case) -> None:
    for document in NO_REPORT:
        with suppress(MalformedCallback):
            assert parsed(case, json.dumps(document).encode()) == []


@each
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents, body=st.binary(max_size=80))
def test_whatever_comes_is_read_or_malformed(case: Case, document: object, body: bytes) -> None:
    text = json.dumps(document).encode()
    for written in (text, b"response=" + quote_plus(text).encode(), body):
        with suppress(MalformedCallback):
            assert all(report.reference for report in parsed(case, written))


@each
def test_a_truncated_payload_is_read_or_malformed(case: Case) -> None:
    body = case.payload(case.first)
    for length in range(0, len(body), 7):
        with suppress(MalformedCallback):
            assert all(report.reference for report in parsed(case, body[:length]))


@each
def test_the_acknowledgement_is_what_it_wants(case: Case) -> None:
    assert case.provider.callback_settings.ack == case.ack


@pytest.mark.parametrize("vendor", ["openai", "assemblyai"])
def test_a_thin_callback_asks_and_the_poll_tells(vendor: str) -> None:
    [case] = [case for case in CASES if case.vendor == vendor]
    [asked] = case.said[case.first]
    assert asked.needs_poll
    outgoing = case.provider.compose_poll(asked.reference, None)
    assert outgoing.target.endswith(f"/{asked.reference}")
    told = case.provider.interpret_poll(asked.reference, Response(200, {}, case.payload("poll.json")))
    assert told is not None
    assert (told.reference, told.status, told.provider_status) == (asked.reference, JobStatus.SUCCEEDED, "completed")
