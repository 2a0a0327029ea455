"""The tables of accounts: what they inherit, and whose the faults are."""

from receiver.account_tables import Fault, assign_faults, build_account_table

MISSING, TYPO, WRONG = Fault("auth.secret", "Missing."), Fault("timeuot", "Unknown field."), Fault("kind", "Wrong.")


def test_account_table_is_merged_over_its_providers_table() -> None:
    table = {
        "auth": {"scheme": "bearer", "secret": "base"},
        "allow_from": ["192.0.2.1"],
        "public_url": "https://hooks.example/acme",
        "accounts": {"north": {}},
    }
    account = {"auth": {"secret": "own"}, "allow_from": ["192.0.2.2"], "timeout": 5}
    assert build_account_table(table, account) == {
        "auth": {"scheme": "bearer", "secret": "own"},
        "allow_from": ["192.0.2.2"],
        "timeout": 5,
    }
    assert table["auth"] == {"scheme": "bearer", "secret": "base"}


def test_account_has_a_public_url_of_its_own() -> None:
    own = {"public_url": "https://hooks.example/north"}
    assert build_account_table({"public_url": "https://hooks.example"}, own) == own


def test_inherited_fault_is_reported_once() -> None:
    by_account = {name: [WRONG] for name in ("north", "south")}
    assert list(assign_faults([WRONG], by_account)) == [WRONG]


def test_fault_that_accounts_mend_is_none() -> None:
    assert list(assign_faults([MISSING], {"north": [], "south": []})) == []


def test_account_that_mends_nothing_is_reported() -> None:
    faults = assign_faults([MISSING], {"north": [], "south": [MISSING]})
    assert list(faults) == [Fault("accounts.south.auth.secret", "Missing.")]


def test_fault_of_several_accounts_is_reported_once() -> None:
    by_account = {f"a{number}": [TYPO] for number in range(1000)}
    [fault] = assign_faults([], by_account)
    assert fault == Fault("accounts.a0.timeuot", "Unknown field. 999 more accounts have the same fault.")
