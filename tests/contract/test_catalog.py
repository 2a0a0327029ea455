"""The contract of every catalog entry: it is valid, and works as its vendor documents it.

Signatures are made by signers that are independent of the code under test. Requests and polls go to a server that
responds like the example of the entry.
"""

from contextlib import closing
from dataclasses import replace
from functools import cache
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import ItemStatus, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.client import HttpClient
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.catalog.entries import CatalogEntry, load_entry
from receiver.providers.registry import build_provider
from receiver.signatures.base import CallbackAuth, InvalidSignature
from tests.contract import JWKS, NOW
from tests.contract.catalog import (
    ENTRIES,
    ENTRY_SIGNERS,
    NAME,
    TIME,
    build_entry_provider,
    build_unsigned,
    expand,
    find_signer,
    receive,
    sign_example,
)
from tests.contract.fake import Fake, responding
from tests.support.capabilities import callbacks_of, lookup_of, parse_reports_of, poller_of, sender_of
from tests.support.factories import attempt

MIN_ENTRIES = 150
CALLBACK_URL = f"https://callbacks.example/callbacks/{NAME}"
MAX_AGE_S = 100_000
MALFORMED = ["", " ", "x", "=", "v1", "t=1", "sha256=", "é", "Bearer a.b.c"]
JOB_STATUSES = {
    "accepted": JobStatus.ACCEPTED,
    "in_progress": JobStatus.IN_PROGRESS,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "unresolved": JobStatus.UNRESOLVED,
}
SIGNED = [entry for entry in ENTRIES if find_signer(entry)]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
each_signed = pytest.mark.parametrize("entry", SIGNED, ids=lambda entry: entry.name)
each_sender = pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.table.get("operations")], ids=lambda entry: entry.name
)
each_polled = pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.table.get("poll")], ids=lambda entry: entry.name
)

each_looked_up = pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.table.get("lookup")], ids=lambda entry: entry.name
)


def get_status(entry: CatalogEntry) -> str:
    """Return a status of the callbacks of an entry."""
    return next(iter(entry.examples.callback_statuses), "")


@cache
def get_auth(name: str) -> CallbackAuth:
    """Return how the callbacks of an entry are authenticated."""
    return callbacks_of(build_entry_provider(load_entry(name))).settings.auth


def verify(entry: CatalogEntry, callback: IncomingCallback) -> int | None:
    return get_auth(entry.name).verify(callback, JWKS)


def expect_rejection(entry: CatalogEntry, callback: IncomingCallback) -> None:
    with pytest.raises(InvalidSignature) as caught:
        verify(entry, callback)
    assert caught.value.part


def exchange(provider: Provider, outgoing: OutgoingRequest) -> Response:
    with closing(HttpClient(provider.origin, provider.send_policy)) as client:
        response = client.exchange(outgoing)
    assert isinstance(response, Response)
    return response


def build_fake_provider(entry: CatalogEntry, fake: Fake) -> Provider:
    """Return the provider of an entry at a fake, with the path of its own base URL."""
    path = urlsplit(expand(entry)["base_url"]).path
    return build_entry_provider(entry, base_url=f"{fake.url}{path}")


def test_catalog_has_its_entries() -> None:
    assert len(ENTRIES) >= MIN_ENTRIES
    assert sorted(ENTRY_SIGNERS.keys() - {entry.name for entry in ENTRIES}) == []


@each_entry
def test_entry_needs_its_parameters_only(entry: CatalogEntry) -> None:
    provider = build_entry_provider(entry)
    assert sender_of(provider).operations.keys() == entry.table.get("operations", {}).keys()
    assert bool(provider.poller) == bool(entry.table.get("poll"))


@each_entry
def test_missing_parameter_is_named(entry: CatalogEntry) -> None:
    required = [
        name for name, parameter in entry.parameters.items() if not parameter.is_optional and parameter.default is None
    ]
    with pytest.raises(ValidationError) as caught:
        build_provider(NAME, {"kind": entry.name, "no_such_key": 1})
    messages = caught.value.messages_dict
    assert messages.keys() == {*required, "no_such_key"}
    assert all(entry.parameters[name].title in messages[name][0] for name in required)


@each_entry
def test_every_status_word_is_read(entry: CatalogEntry) -> None:
    provider = build_entry_provider(entry)
    for status, meaning in entry.examples.callback_statuses.items():
        parsed = parse_reports_of(provider, build_unsigned(entry, status))
        assert parsed.errors == {}, status
        [(_, report)] = parsed.reports
        assert report.reference == entry.examples.reference
        assert report.status is (None if entry.table["callback"].get("fetch") else JOB_STATUSES[meaning]), status
        assert report.superseding == (status in entry.table["callback"].get("superseding", ()))


@each_entry
def test_every_example_names_the_reference(entry: CatalogEntry) -> None:
    provider, example = build_entry_provider(entry), entry.examples.reference
    reference = f"{example[:-1]}{'1' if example.endswith('0') else '0'}"
    for message in entry.examples.callbacks:
        status = message.statuses[0] if message.statuses else get_status(entry)
        callback = entry.examples.build_callback("/callbacks/acme", status, TIME, reference)
        assert callback
        assert [report.reference for _, report in parse_reports_of(provider, callback).reports] == [reference]


@each_entry
def test_callback_without_status_asks_for_a_poll(entry: CatalogEntry) -> None:
    if entry.table["callback"].get("fetch"):
        [(_, report)] = parse_reports_of(build_entry_provider(entry), build_unsigned(entry, get_status(entry))).reports
        assert (report.reference, report.needs_poll) == (entry.examples.reference, True)
    else:
        assert entry.examples.callback_statuses


@each_entry
def test_unknown_status_changes_nothing(entry: CatalogEntry) -> None:
    if entry.table["callback"].get("fetch") or "*" in entry.table["callback"].get("statuses", {}):
        return
    callback = entry.examples.build_callback("/callbacks/acme", "brand_new.987654321", TIME)
    if callback is not None:
        for _, report in parse_reports_of(build_entry_provider(entry), callback).reports:
            assert report.status is None


@each_signed
def test_good_signature_is_accepted(entry: CatalogEntry) -> None:
    for status in entry.examples.callback_statuses or [""]:
        signed = sign_example(entry, status)
        assert verify(entry, receive(entry, signed, status)) == 0


@each_signed
def test_bad_signature_is_rejected(entry: CatalogEntry) -> None:
    status, signer = get_status(entry), find_signer(entry)
    assert signer
    signed = sign_example(entry, status)
    expect_rejection(entry, build_unsigned(entry, status))
    if signer.header:
        for text in [*MALFORMED, signed.signature * 2, "a" * 100_000]:
            headers = {**signed.headers, signer.header: text}
            expect_rejection(entry, receive(entry, replace(signed, headers=headers), status))
    for header in signer.signed_headers:
        headers = {name: value for name, value in signed.headers.items() if name != header}
        expect_rejection(entry, receive(entry, replace(signed, headers=headers), status))


@each_signed
def test_changed_body_is_rejected(entry: CatalogEntry) -> None:
    status, signer = get_status(entry), find_signer(entry)
    assert signer
    signed = sign_example(entry, status)
    if signer.signs_body and signed.body:
        for position in range(0, len(signed.body), 7):
            body = signed.body[:position] + bytes([signed.body[position] ^ 1]) + signed.body[position + 1 :]
            expect_rejection(entry, receive(entry, replace(signed, body=body), status))


@each_signed
def test_stale_signature_is_rejected(entry: CatalogEntry) -> None:
    signer = find_signer(entry)
    assert signer
    if signer.signs_time and getattr(get_auth(entry.name).scheme, "tolerance", MAX_AGE_S) < MAX_AGE_S:
        for signed_at in (NOW - MAX_AGE_S, NOW + MAX_AGE_S):
            signed = sign_example(entry, get_status(entry), signed_at=signed_at)
            expect_rejection(entry, receive(entry, signed, get_status(entry)))


@each_sender
def test_request_is_sent_and_its_response_is_read(entry: CatalogEntry) -> None:
    response = entry.examples.build_response(TIME)
    for operation, payload in entry.examples.payloads.items():
        with responding(response) as fake:
            provider = build_fake_provider(entry, fake)
            sender = sender_of(provider)
            assert sender.operations[operation].check_payload(payload, TIME) == {}
            sent = attempt(operation=operation, payload=payload)
            parsed = sender.interpret(exchange(provider, sender.compose(sent, CALLBACK_URL))).bind(sent.request_id)
        [received] = fake.received
        table = entry.table["operations"][operation]
        assert received.method == table.get("method", "POST")
        if table.get("callback_url"):
            places = [received.target, *received.headers.values(), received.body.decode()]
            assert any("callbacks" in place and NAME in place for place in places)
        [item] = parsed.items
        if item.item_status is ItemStatus.ACCEPTED:
            assert item.reference in {entry.examples.reference, str(sent.request_id)}


@each_sender
def test_payload_without_required_fields_is_refused(entry: CatalogEntry) -> None:
    sender = sender_of(build_entry_provider(entry))
    for operation in entry.examples.payloads:
        required = entry.table["operations"][operation].get("required", [])
        assert sender.operations[operation].check_payload({}, TIME).keys() >= set(required)


@pytest.mark.parametrize("name", ["square-payments", "stripe-payments", "stripe-payouts", "stripe-refunds"])
def test_declined_payment_does_not_pause_the_provider(name: str) -> None:
    status_codes = build_entry_provider(load_entry(name)).retry_rules.status_codes
    assert find_status_rule(402, status_codes).response_class is ResponseClass.REJECTED


@each_polled
def test_every_status_word_of_a_poll_is_read(entry: CatalogEntry) -> None:
    """The first response comes from a server; the others are read as if they did."""
    reference = entry.examples.reference
    polls = {status: entry.examples.build_poll(status, TIME) for status in entry.examples.poll_statuses}
    responses = {status: response for status, response in polls.items() if response}
    [first, *_] = responses.values()
    with responding(first) as fake:
        provider = build_fake_provider(entry, fake)
        poller = poller_of(provider)
        polled = exchange(provider, poller.compose_at([reference], None, TIME))
    for status, response in responses.items():
        report = poller.interpret([reference], polled if response is first else response).get(reference)
        assert report is not None, status
        assert report.status is JOB_STATUSES[entry.examples.poll_statuses[status]], status


@each_looked_up
def test_unknown_request_is_found_by_a_lookup(entry: CatalogEntry) -> None:
    [(operation, payload), *_] = entry.examples.payloads.items()
    unknown = UnknownRequest(uuid4(), NAME, operation, payload, 1, 1, 0, TIME, TIME, TIME)
    response = entry.examples.build_poll(next(iter(entry.examples.poll_statuses)), TIME)
    assert response
    if entry.table["lookup"].get("items"):
        response = replace(response, body=b"[" + response.body + b"]")
    with responding(response) as fake:
        provider = build_fake_provider(entry, fake)
        lookup = lookup_of(provider)
        parsed = lookup.interpret(exchange(provider, lookup.compose(unknown))).bind(unknown.id)
    [item] = parsed.items
    assert (item.item_status, item.reference) == (ItemStatus.ACCEPTED, entry.examples.reference)
