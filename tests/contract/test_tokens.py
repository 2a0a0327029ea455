"""Providers without signatures: their callbacks are authenticated by the URL token and the caller's address."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.signatures.base import InvalidSignature
from tests.contract import TOKEN_ONLY, Case
from tests.contract.cases import CASES
from tests.support.capabilities import callbacks_of

UNSIGNED = [case for case in CASES if case.signer == TOKEN_ONLY]
SIGNED = [case for case in CASES if case.signer != TOKEN_ONLY]
UNKNOWN_TOKENS = ["", " ", "x", "é", "\xff\xfe", "\udcff", "€", "a" * 100_000, "a-token-of-another-service"]


@pytest.mark.parametrize("case", UNSIGNED, ids=str)
def test_unsigned_callback_requires_url_token(case: Case) -> None:
    auth = callbacks_of(case.provider).settings.auth
    tokens = case.table["signature"]["secrets"]
    assert auth.scheme is None
    assert [auth.accepts_token(token) for token in tokens] == [True, True]
    for token in [*UNKNOWN_TOKENS, "".join(tokens), *[token[:-1] for token in tokens]]:
        assert not auth.accepts_token(token)


@pytest.mark.parametrize("case", UNSIGNED, ids=str)
@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 50), mask=st.integers(1, 255))
def test_changed_token_character_is_rejected(case: Case, position: int, mask: int) -> None:
    for token in case.table["signature"]["secrets"]:
        index = position % len(token)
        changed = token[:index] + chr(ord(token[index]) ^ mask) + token[index + 1 :]
        assert not callbacks_of(case.provider).settings.auth.accepts_token(changed)


@pytest.mark.parametrize("case", SIGNED, ids=str)
def test_signed_callback_is_accepted_only_without_token(case: Case) -> None:
    auth = callbacks_of(case.provider).settings.auth
    assert auth.accepts_token("")
    assert not auth.accepts_token("any")


def test_allow_from_limits_caller_addresses() -> None:
    [case] = [case for case in SIGNED if case.vendor == "assemblyai"]
    auth = callbacks_of(case.provider).settings.auth
    auth.check_address("44.238.19.20")
    for address in ("203.0.113.7", "", "no address"):
        with pytest.raises(InvalidSignature):
            auth.check_address(address)
