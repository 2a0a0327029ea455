"""Authentication of callbacks: signatures of every vendor verify, and everything else is rejected."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from tests.contract import JWKS, NOW, TOKEN_ONLY, Case, build_incoming, get_secrets, get_signer, sign_payload
from tests.contract.cases import CASES
from tests.contract.key_signers import NAMED_CERTIFICATES
from tests.support.capabilities import callbacks_of, parse_reports_of
from tests.support.signers import SignedCallback

MALFORMED_VALUES = [
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
LONG_VALUE = "a" * 100_000
SIGNED = [case for case in CASES if case.signer != TOKEN_ONLY]
BODY_SIGNED = [case for case in SIGNED if get_signer(case).signs_body and case.signs_encoded]
each_case = pytest.mark.parametrize("case", SIGNED, ids=str)


def get_unknown_secret(case: Case) -> str:
    """Return a secret in the scheme's format that is not configured."""
    configured = get_secrets(case)[0]
    if configured.startswith("whsec_"):
        return "whsec_YSBzdHJhbmdlcidzIHNlY3JldA=="
    return "ABCD" if case.signer == "adyen" else "an unknown secret"


def verify(case: Case, incoming: IncomingCallback) -> int | None:
    return callbacks_of(case.provider).settings.auth.verify(incoming, JWKS)


def expect_rejection(case: Case, incoming: IncomingCallback) -> InvalidSignature:
    """Verify a callback that must be rejected; return the error."""
    with pytest.raises(InvalidSignature) as caught:
        verify(case, incoming)
    assert caught.value.part
    assert not any(secret in str(caught.value) for secret in get_secrets(case))
    return caught.value


def replace_signature(case: Case, signed: SignedCallback, signature: str) -> SignedCallback:
    """Replace the signature in its header or in the body."""
    header = get_signer(case).header
    if header:
        return replace(signed, headers=signed.headers | {header: signature})
    escaped = json.dumps(signature).encode()[1:-1]
    return replace(signed, body=signed.body.replace(signed.signature.encode(), escaped))


def change_character(text: str, position: int, mask: int) -> str:
    """Change one latin-1 character.

    `masks` excludes a change of case, which hex and authentication schemes ignore, and of the alphabet of base64.
    """
    position %= len(text)
    return text[:position] + chr(ord(text[position]) ^ mask) + text[position + 1 :]


def normalize_base64(text: str) -> str:
    """Return a text in which both alphabets of base64 are the same, without padding."""
    return text.translate({45: "+", 95: "/"}).rstrip("=")


positions = st.integers(0, 10_000)
IGNORED_MASKS = {ord("a") ^ ord("A"), ord("+") ^ ord("-"), ord("/") ^ ord("_")}
masks = st.integers(1, 255).filter(lambda mask: mask not in IGNORED_MASKS)
mutation_settings = settings(max_examples=25, deadline=None)


@each_case
def test_signature_of_every_payload_verifies(case: Case) -> None:
    for file in case.reports_by_file:
        assert verify(case, build_incoming(case, sign_payload(case, file))) == 0


@each_case
def test_verified_callback_is_parsed(case: Case) -> None:
    for file, reports in case.reports_by_file.items():
        incoming = build_incoming(case, sign_payload(case, file))
        assert [report for _, report in parse_reports_of(case.provider, incoming).reports] == reports
    assert callbacks_of(case.provider).find_event_id(build_incoming(case, sign_payload(case))) == case.event_id


@pytest.mark.parametrize("case", [case for case in SIGNED if case.vendor not in NAMED_CERTIFICATES], ids=str)
def test_verify_returns_index_of_matching_secret(case: Case) -> None:
    first, second = get_secrets(case)
    assert verify(case, build_incoming(case, sign_payload(case, secret=first))) == 0
    assert verify(case, build_incoming(case, sign_payload(case, secret=second))) == 1


@each_case
def test_unknown_secret_is_rejected(case: Case) -> None:
    expect_rejection(case, build_incoming(case, sign_payload(case, secret=get_unknown_secret(case))))


@each_case
def test_missing_signature_or_signed_header_is_rejected(case: Case) -> None:
    signed = sign_payload(case)
    expect_rejection(case, case.build_callback(case.payload(case.first_file)))
    expect_rejection(case, build_incoming(case, replace_signature(case, signed, "")))
    for header in get_signer(case).signed_headers:
        headers = {name: value for name, value in signed.headers.items() if name != header}
        expect_rejection(case, build_incoming(case, replace(signed, headers=headers)))


@each_case
def test_malformed_signature_is_rejected(case: Case) -> None:
    signed = sign_payload(case)
    for text in [
        *MALFORMED_VALUES,
        LONG_VALUE,
        signed.signature + LONG_VALUE,
        signed.signature * 2,
        signed.signature.rstrip("=")[:-1],
    ]:
        expect_rejection(case, build_incoming(case, replace_signature(case, signed, text)))


@each_case
def test_malformed_signed_header_is_rejected(case: Case) -> None:
    signed = sign_payload(case)
    for header in get_signer(case).signed_headers:
        for text in [*MALFORMED_VALUES, LONG_VALUE]:
            expect_rejection(case, build_incoming(case, replace(signed, headers=signed.headers | {header: text})))


@pytest.mark.parametrize("case", BODY_SIGNED, ids=str)
@mutation_settings
@given(position=positions, mask=masks)
def test_changed_body_byte_is_rejected(case: Case, position: int, mask: int) -> None:
    signed = sign_payload(case)
    body = change_character(signed.body.decode("latin-1"), position, mask).encode("latin-1")
    expect_rejection(case, build_incoming(case, replace(signed, body=body)))


@each_case
@mutation_settings
@given(position=positions, mask=masks)
def test_changed_signature_byte_is_rejected(case: Case, position: int, mask: int) -> None:
    signed = sign_payload(case)
    header = get_signer(case).header
    text = signed.headers[header] if header else signed.signature
    changed = change_character(text, position, mask)
    assume(normalize_base64(changed) != normalize_base64(text))
    expect_rejection(case, build_incoming(case, replace_signature(case, signed, changed)))


@pytest.mark.parametrize("case", [case for case in SIGNED if get_signer(case).signed_headers], ids=str)
@mutation_settings
@given(position=positions, mask=masks)
def test_changed_signed_header_byte_is_rejected(case: Case, position: int, mask: int) -> None:
    signed = sign_payload(case)
    for header in get_signer(case).signed_headers:
        headers = signed.headers | {header: change_character(signed.headers[header], position, mask)}
        expect_rejection(case, build_incoming(case, replace(signed, headers=headers)))


@pytest.mark.parametrize("case", [case for case in SIGNED if case.vendor in {"twilio", "square", "plivo"}], ids=str)
def test_other_url_is_rejected_if_url_is_signed(case: Case) -> None:
    expect_rejection(case, build_incoming(case, sign_payload(case), target="/callbacks/another?channel=1"))


@pytest.mark.parametrize("value", ["7914073381342284", "AcmeEU", "order-1", "1130", "EUR", "AUTHORISATION", '"true"'])
def test_changed_adyen_value_is_rejected(value: str) -> None:
    [case] = [case for case in SIGNED if case.vendor == "adyen"]
    signed = sign_payload(case)
    changed = value[:-2] + ("0" if value[-2] != "0" else "1") + value[-1]
    assert value.encode() in signed.body
    expect_rejection(
        case, build_incoming(case, replace(signed, body=signed.body.replace(value.encode(), changed.encode())))
    )


@pytest.mark.parametrize("age", [299, -299, 301, -301, 86_400, -86_400, NOW])
@pytest.mark.parametrize(
    "case", [case for case in SIGNED if get_signer(case).signs_time and not get_signer(case).options], ids=str
)
def test_stale_or_future_callback_is_rejected(case: Case, age: int) -> None:
    incoming = build_incoming(case, sign_payload(case, signed_at=NOW - age))
    if abs(age) < 300:
        assert verify(case, incoming) == 0
    else:
        expect_rejection(case, incoming)
