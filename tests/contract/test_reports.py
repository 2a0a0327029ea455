"""The reports of a provider's callbacks, in any order and with any malformed body."""

import json
from contextlib import suppress
from itertools import permutations
from urllib.parse import quote_plus
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.media_types import is_readable
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, StatusReport, derive_job_id, fold_events
from receiver.domain.sending import Response
from receiver.providers.capabilities import MalformedCallback
from tests.contract import Case
from tests.contract.cases import CASES
from tests.support.capabilities import callbacks_of, parse_reports_of, poller_of
from tests.support.factories import NOON

each_case = pytest.mark.parametrize("case", CASES, ids=str)
UNKNOWN_STATUS = "brand_new_status"
SPELLINGS = (
    '"{}"',
    '\\"{}\\"',
    quote_plus('"{}"').replace("%7B%7D", "{}"),
    ": {},",
    "={}",
    ": {}\n",
    ">{}<",
    "[CDATA[{}]",
)
"""How a status is written in JSON, in JSON within a text or a form, as a number, in a form, in a header and in XML."""
DOCUMENTS_WITHOUT_REPORT: list[object] = [
    None,
    True,
    7,
    "text",
    [],
    {},
    [[]],
    [None],
    {"id": {}},
    {"data": []},
    {"data": {"id": []}},
]

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


def parse_reports(case: Case, body: bytes) -> list[StatusReport]:
    return [report for _, report in parse_reports_of(case.provider, case.build_callback(body)).reports]


@each_case
def test_every_payload_is_parsed_completely(case: Case) -> None:
    for file, reports in case.reports_by_file.items():
        parsed = parse_reports_of(case.provider, case.build_callback(case.payload(file)))
        assert parsed.reports == list(enumerate(reports)), file
        assert parsed.errors == {}


@each_case
def test_media_type_and_method_are_accepted(case: Case) -> None:
    callback_settings = callbacks_of(case.provider).settings
    assert is_readable(callback_settings.body_kind, case.media_type)
    assert case.method in callback_settings.methods


def replace_status(payload: bytes, status: str, other: str) -> bytes:
    """Return a payload with another status, wherever the status is a whole value."""
    for spelling in SPELLINGS:
        payload = payload.replace(spelling.format(status).encode(), spelling.format(other).encode())
    return payload


@each_case
def test_unknown_status_is_stored_without_effect(case: Case) -> None:
    file, [expected, *_] = next(iter(case.reports_by_file.items()))
    status_text = case.status_text or expected.provider_status or ""
    unknown_status = "987654321" if status_text.isdigit() else UNKNOWN_STATUS
    parsed = parse_reports(case, replace_status(case.payload(file), status_text, unknown_status))[0]
    assert parsed.reference == expected.reference
    assert parsed.status is case.default
    assert parsed.provider_status == (expected.provider_status or "").replace(status_text, unknown_status)
    assert not parsed.superseding


@each_case
def test_status_is_case_insensitive(case: Case) -> None:
    file, [expected, *_] = next(iter(case.reports_by_file.items()))
    status_text = case.status_text or expected.provider_status or ""
    body = replace_status(case.payload(file), status_text, status_text.swapcase())
    assert parse_reports(case, body)[0].status is expected.status


def build_events(case: Case, order: tuple[int, ...], files: list[str]) -> list[JobEvent]:
    """Return the events of payloads received in this order; a repeated payload keeps its identity."""
    return [
        case.provider.build_event(
            report, EventSource.CALLBACK, uuid5(NAMESPACE_URL, files[number]), NOON.replace(minute=minute), index=index
        )
        for minute, number in enumerate(order)
        for index, report in enumerate(case.reports_by_file[files[number]])
    ]


@each_case
def test_final_status_ignores_order_and_repetition(case: Case) -> None:
    files = [file for file, reports in case.reports_by_file.items() if reports]
    final_statuses = {
        derive_job_id(case.vendor, report.reference): report.status or JobStatus.ACCEPTED for report in case.reports()
    }
    for order in permutations(range(len(files))):
        for received in (order, (*order, *order), (*order, order[0])):
            states = fold_events(build_events(case, received, files))
            assert {job: state.status for job, state in states.items()} == final_statuses
            assert not any(state.disputed for state in states.values())


@each_case
def test_unreadable_body_is_malformed(case: Case) -> None:
    malformed = [b"\xff\xfe", b"\x00", "é".encode("latin-1"), b"", b"<html>", b"response=%5B", b"response=%ff"]
    for body in (
        malformed
        if case.media_type == FORM_MEDIA_TYPE
        else [*malformed, b"{", b"[1,", b"{'a': 1}", b"NaN", b"[" * 2_000]
    ):
        with pytest.raises(MalformedCallback) as caught:
            parse_reports_of(case.provider, case.build_callback(body))
        assert caught.value.errors


@each_case
def test_unexpected_document_has_no_reports(case: Case) -> None:
    for document in DOCUMENTS_WITHOUT_REPORT:
        with suppress(MalformedCallback):
            assert parse_reports(case, json.dumps(document).encode()) == []


@each_case
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents, body=st.binary(max_size=80))
def test_arbitrary_body_is_parsed_or_malformed(case: Case, document: object, body: bytes) -> None:
    text = json.dumps(document).encode()
    for encoded in (text, b"response=" + quote_plus(text).encode(), body):
        with suppress(MalformedCallback):
            assert all(report.reference for report in parse_reports(case, encoded))


@each_case
def test_truncated_payload_is_parsed_or_malformed(case: Case) -> None:
    body = case.payload(case.first_file)
    for length in range(0, len(body), 7):
        with suppress(MalformedCallback):
            assert all(report.reference for report in parse_reports(case, body[:length]))


@each_case
def test_acknowledgement_is_as_expected(case: Case) -> None:
    assert callbacks_of(case.provider).settings.ack == case.ack


@pytest.mark.parametrize("vendor", ["openai", "assemblyai"])
def test_callback_without_status_is_completed_by_poll(vendor: str) -> None:
    [case] = [case for case in CASES if case.vendor == vendor]
    [report] = case.reports_by_file[case.first_file]
    assert report.needs_poll
    outgoing = poller_of(case.provider).compose([report.reference], None)
    assert outgoing.target.endswith(f"/{report.reference}")
    polled = (
        poller_of(case.provider)
        .interpret([report.reference], Response(200, {}, case.payload("poll.json")))
        .get(report.reference)
    )
    assert polled is not None
    assert (polled.reference, polled.status, polled.provider_status) == (
        report.reference,
        JobStatus.SUCCEEDED,
        "completed",
    )
