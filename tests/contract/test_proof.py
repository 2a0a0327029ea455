"""Who sent a callback: what every provider's vendor signs is verified, and everything else is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import SignatureRefused
from tests.contract import JWKS, NOW, TOKEN_ONLY, Case, secrets_of, sent, sign, signer_of
from tests.contract.cases import CASES
from tests.signers import SignedCallback

MALFORMED = [
    "",
    " ",
    "x",
    "=",
    ",",
    "v1",
    "t=1",
    "sha256=",
    "Bearer a.b.c",
    "Basic \x00",
    "é",
    "\xff\xfe",
    "\udcff",
    "€",
]
LONGEST = "a" * 100_000
SIGNED = [case for case in CASES if case.signer != TOKEN_ONLY]
each = pytest.mark.parametrize("case", SIGNED, ids=str)


def stranger_of(case: Case) -> str:
    """Give a secret of the form that the scheme wants, but nobody's that we know."""
    known = secrets_of(case)[0]
    if known.startswith("whsec_"):
        return "whsec_YSBzdHJhbmdlcidzIHNlY3JldA=="
    return "ABCD" if case.signer == "adyen" else "a stranger's"


def verify(case: Case, incoming: IncomingCallback) -> int | None:
    return case.provider.callback_settings.auth.verify(incoming, JWKS)


def refusal(case: Case, incoming: IncomingCallback) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        verify(case, incoming)
    assert caught.value.part
    assert not any(secret in str(caught.value) for secret in secrets_of(case))
    return caught.value


def with_signature(case: Case, signed: SignedCallback, signature: str) -> SignedCallback:
    """Put another text where the signature stands: in its header, or in the body."""
    header = signer_of(case).header
    if header:
        return replace(signed, headers=signed.headers | {header: signature})
    written = json.dumps(signature).encode()[1:-1]
    return replace(signed, body=signed.body.replace(signed.signature.encode(), written))


def altered(text: str, position: int, actor: int) -> str:
    """Change one character of latin-1, but not only its case: hex digits and names of authentication have none."""
    position %= len(text)
    return text[:position] + chr(ord(text[position]) ^ actor) + text[position + 1 :]


positions = st.integers(0, 10_000)
changes = st.integers(1, 255).filter(lambda actor: actor != ord("a") ^ ord("A"))
mutations = settings(max_examples=25, deadline=None)


@each
def test_every_payload_is_verified_as_its_vendor_signs_it(case: Case) -> None:
    for file in case.said:
        assert verify(case, sent(case, sign(case, file))) == 0


@each
def test_what_is_verified_is_still_understood(case: Case) -> None:
    for file, reports in case.said.items():
        incoming = sent(case, sign(case, file))
        assert [report for _, report in case.provider.parse(incoming).reports] == reports
    assert case.provider.event_id(sent(case, sign(case))) == case.event_id


@each
def test_the_secret_of_before_still_verifies_and_is_told_by_its_place(case: Case) -> None:
    first, second = secrets_of(case)
    assert verify(case, sent(case, sign(case, secret=first))) == 0
    assert verify(case, sent(case, sign(case, secret=second))) == 1


@each
def test_a_strangers_secret_is_refused(case: Case) -> None:
    refusal(case, sent(case, sign(case, secret=stranger_of(case))))


@each
def test_a_callback_without_its_signature_or_what_it_covers_is_refused(case: Case) -> None:
    signed = sign(case)
    refusal(case, case.incoming(case.payload(case.first)))
    refusal(case, sent(case, with_signature(case, signed, "")))
    for header in signer_of(case).signed_headers:
        left = {name: value for name, value in signed.headers.items() if name != header}
        refusal(case, sent(case, replace(signed, headers=left)))


@each
def test_a_malformed_signature_is_refused(case: Case) -> None:
    signed = sign(case)
    for text in [*MALFORMED, LONGEST, signed.signature + LONGEST, signed.signature * 2, signed.signature[:-1]]:
        refusal(case, sent(case, with_signature(case, signed, text)))


@each
def test_a_malformed_signed_header_is_refused(case: Case) -> None:
    signed = sign(case)
    for header in signer_of(case).signed_headers:
        for text in [*MALFORMED, LONGEST]:
            refusal(case, sent(case, replace(signed, headers=signed.headers | {header: text})))


@pytest.mark.parametrize("case", [case for case in SIGNED if signer_of(case).signs_body], ids=str)
@mutations
@given(position=positions, actor=changes)
def test_any_changed_byte_of_the_body_is_refused(case: Case, position: int, actor: int) -> None:
    signed = sign(case)
    body = altered(signed.body.decode("latin-1"), position, actor).encode("latin-1")
    refusal(case, sent(case, replace(signed, body=body)))


@each
@mutations
@given(position=positions, actor=changes)
def test_any_changed_byte_of_the_signature_is_refused(case: Case, position: int, actor: int) -> None:
    signed = sign(case)
    header = signer_of(case).header
    text = signed.headers[header] if header else signed.signature
    refusal(case, sent(case, with_signature(case, signed, altered(text, position, actor))))


@pytest.mark.parametrize("case", [case for case in SIGNED if signer_of(case).signed_headers], ids=str)
@mutations
@given(position=positions, actor=changes)
def test_any_changed_byte_of_a_signed_header_is_refused(case: Case, position: int, actor: int) -> None:
    signed = sign(case)
    for header in signer_of(case).signed_headers:
        headers = signed.headers | {header: altered(signed.headers[header], position, actor)}
        refusal(case, sent(case, replace(signed, headers=headers)))


@pytest.mark.parametrize("case", [case for case in SIGNED if case.vendor in {"twilio", "square", "plivo"}], ids=str)
def test_a_callback_to_another_url_is_refused_where_the_url_is_signed(case: Case) -> None:
    refusal(case, sent(case, sign(case), target="/callbacks/another?channel=1"))


@pytest.mark.parametrize("value", ["7914073381342284", "AcmeEU", "order-1", "1130", "EUR", "AUTHORISATION", '"true"'])
def test_adyen_signs_each_of_these_values(value: str) -> None:
    [case] = [case for case in SIGNED if case.vendor == "adyen"]
    signed = sign(case)
    changed = value[:-2] + ("0" if value[-2] != "0" else "1") + value[-1]
    assert value.encode() in signed.body
    refusal(case, sent(case, replace(signed, body=signed.body.replace(value.encode(), changed.encode()))))


@pytest.mark.parametrize("age", [299, -299, 301, -301, 86_400, -86_400, NOW])
@pytest.mark.parametrize(
    "case", [case for case in SIGNED if signer_of(case).signs_time and not signer_of(case).options], ids=str
)
def test_a_stale_or_future_callback_is_refused(case: Case, age: int) -> None:
    incoming = sent(case, sign(case, at=NOW - age))
    if abs(age) < 300:
        assert verify(case, incoming) == 0
    else:
        refusal(case, incoming)
