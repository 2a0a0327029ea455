"""Names of providers and accounts."""

import pytest

from receiver.domain.accounts import (
    build_callback_path,
    intersect_names,
    is_included,
    is_valid_name,
    join_account,
    list_accounts,
    list_base_names,
    split_account,
)

NAMES = ["beta/b", "acme/south", "acme/north", "acme", "gamma"]


@pytest.mark.parametrize(
    ("provider", "account", "name"), [("acme", None, "acme"), ("acme", "north", "acme/north"), ("a", "a", "a/a")]
)
def test_names_join_and_split(provider: str, account: str | None, name: str) -> None:
    assert join_account(provider, account) == name
    assert split_account(name) == (provider, account)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("acme", True), ("acme/north", True), ("beta/b", True), ("beta", False), ("beta/c", False), ("b", False)],
)
def test_provider_includes_its_accounts(name: str, *, expected: bool) -> None:
    assert is_included(name, {"acme", "beta/b"}) is expected


def test_intersection_names_what_both_include() -> None:
    names, others = ["acme", "beta/b", "gamma", "delta"], ["acme/south", "acme/north", "beta", "delta", "beta/c"]
    expected = ["acme/north", "acme/south", "beta/b", "delta"]
    assert intersect_names(names, others) == intersect_names(others, names) == expected


def test_accounts_of_a_provider_are_sorted() -> None:
    assert list_accounts(NAMES, "acme") == ["north", "south"]
    assert list_accounts(NAMES, "gamma") == []


def test_providers_are_listed_once() -> None:
    assert list_base_names(NAMES) == ["acme", "beta", "gamma"]


@pytest.mark.parametrize(("name", "path"), [("acme", "/callbacks/acme"), ("acme/north", "/callbacks/acme/a/north")])
def test_callback_path_names_provider_and_account(name: str, path: str) -> None:
    assert build_callback_path(name) == path


@pytest.mark.parametrize("name", ["a", "0", "north-2_b", "a" * 63])
def test_name_is_valid(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "North", "a/b", "a b", "a.b", "a\n", "a" * 64])
def test_name_is_not_valid(name: str) -> None:
    assert not is_valid_name(name)
