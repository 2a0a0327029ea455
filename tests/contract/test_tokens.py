"""Providers that sign nothing: the end of the URL, and the address, are what lets their callbacks in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.signatures.base import SignatureRefused
from tests.contract import TOKEN_ONLY, Case
from tests.contract.cases import CASES

UNSIGNED = [case for case in CASES if case.signer == TOKEN_ONLY]
SIGNED = [case for case in CASES if case.signer != TOKEN_ONLY]
STRANGERS = ["", " ", "x", "é", "\xff\xfe", "\udcff", "€", "a" * 100_000, "a-token-of-somebody-else"]


@pytest.mark.parametrize("case", UNSIGNED, ids=str)
def test_an_unsigned_callback_needs_the_end_of_its_url(case: Case) -> None:
    auth = case.provider.callback_settings.auth
    tokens = case.table["signature"]["secrets"]
    assert auth.scheme is None
    assert [auth.admits(token) for token in tokens] == [True, True]
    for token in [*STRANGERS, "".join(tokens), *[token[:-1] for token in tokens]]:
        assert not auth.admits(token)


@pytest.mark.parametrize("case", UNSIGNED, ids=str)
@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 50), actor=st.integers(1, 255))
def test_any_changed_character_of_the_token_is_refused(case: Case, position: int, actor: int) -> None:
    for token in case.table["signature"]["secrets"]:
        place = position % len(token)
        changed = token[:place] + chr(ord(token[place]) ^ actor) + token[place + 1 :]
        assert not case.provider.callback_settings.auth.admits(changed)


@pytest.mark.parametrize("case", SIGNED, ids=str)
def test_a_signed_callback_is_let_in_without_a_token_only(case: Case) -> None:
    auth = case.provider.callback_settings.auth
    assert auth.admits("")
    assert not auth.admits("any")


def test_callbacks_come_from_where_they_are_said_to() -> None:
    [case] = [case for case in SIGNED if case.vendor == "assemblyai"]
    auth = case.provider.callback_settings.auth
    auth.check_address("44.238.19.20")
    for address in ("203.0.113.7", "", "no address"):
        with pytest.raises(SignatureRefused):
            auth.check_address(address)
