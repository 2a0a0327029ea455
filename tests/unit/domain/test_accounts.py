"""The names of accounts."""

import pytest

from receiver.domain.accounts import is_valid_name, join_account, split_account


@pytest.mark.parametrize(
    ("provider", "account", "name"), [("acme", None, "acme"), ("acme", "north", "acme/north"), ("a", "a", "a/a")]
)
def test_names_join_and_split(provider: str, account: str | None, name: str) -> None:
    assert join_account(provider, account) == name
    assert split_account(name) == (provider, account)


@pytest.mark.parametrize("name", ["a", "0", "north-2_b", "a" * 63])
def test_name_is_valid(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "North", "a/b", "a b", "a.b", "a\n", "a" * 64])
def test_name_is_not_valid(name: str) -> None:
    assert not is_valid_name(name)
