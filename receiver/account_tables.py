"""The tables of a provider's accounts: what they inherit from the provider's table, and whose the faults are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ACCOUNTS = "accounts"
"""The key of a provider's table that holds the tables of its accounts."""

_NOT_INHERITED = frozenset({ACCOUNTS, "public_url"})
"""The callback URL of one account is not that of another."""


class Fault(NamedTuple):
    """A fault of a table: the keys that lead to its place, joined by dots, and the message."""

    place: str
    message: str


def build_account_table(table: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete table of an account: its own keys over those of its provider's table.

    Tables are merged, all other values replaced.
    """
    inherited = {key: value for key, value in table.items() if key not in _NOT_INHERITED}
    return _merge_tables(inherited, account)


def assign_faults(faults: Sequence[Fault], faults_by_account: Mapping[str, Sequence[Fault]]) -> Iterator[Fault]:
    """Yield the faults of a provider with accounts, each once.

    A fault of the provider's table that every account inherits is the provider's own. A fault that no account inherits
    is none: the table is only complete with the parameters of an account. A fault that several accounts have is shown
    at the first of them.

    Args:
        faults: the faults of the provider's table by itself.
        faults_by_account: those of the complete table of each account.
    """
    own = [fault for fault in faults if all(fault in inherited for inherited in faults_by_account.values())]
    yield from own
    accounts: dict[Fault, list[str]] = defaultdict(list)
    for name, account_faults in faults_by_account.items():
        for fault in account_faults:
            if fault not in own:
                accounts[fault].append(name)
    for fault, (first, *others) in accounts.items():
        also = f" {len(others)} more accounts have the same fault." if others else ""
        yield Fault(f"{ACCOUNTS}.{first}.{fault.place}", f"{fault.message}{also}")


def _merge_tables(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {**base} | {
        key: _merge_tables(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in own.items()
    }
