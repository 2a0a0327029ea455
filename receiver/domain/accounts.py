"""Accounts of a provider: the rule of their names, and the names of providers that have several accounts.

An account of a provider is a provider of its own, whose name is `PROVIDER/ACCOUNT`. That name stands wherever a
provider's name stands: in the database, in limits, pauses and circuits, in metrics and logs. What people and clients
see shows the two parts apart.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""The names of providers, and of accounts."""
NAME_RULE = "use at most 63 lower-case letters, digits, - and _, beginning with a letter or digit"

CALLBACKS_PATH = "/callbacks/"
ACCOUNT_SEGMENT = "a/"
"""Stands between provider and account in the path of a callback URL; no token contains a slash."""

_SEPARATOR = "/"
_NAME = re.compile(NAME_PATTERN)


class ProviderAccount(NamedTuple):
    """The two parts of a provider's name; `account` is None for a provider without an account."""

    provider: str
    account: str | None


def is_valid_name(name: str) -> bool:
    """Return whether a provider or an account may have this name."""
    return _NAME.fullmatch(name) is not None


def join_account(provider: str, account: str | None) -> str:
    """Return the name of an account of a provider; that of the provider itself for None."""
    return provider if account is None else f"{provider}{_SEPARATOR}{account}"


def split_account(name: str) -> ProviderAccount:
    """Return the provider and the account of a name, see `join_account`."""
    provider, separator, account = name.partition(_SEPARATOR)
    return ProviderAccount(provider, account if separator else None)


def is_included(name: str, names: Collection[str]) -> bool:
    """Return whether a provider or an account is one of `names`; the name of a provider includes its accounts."""
    return name in names or split_account(name).provider in names


def intersect_names(names: Collection[str], others: Collection[str]) -> list[str]:
    """Return names that include exactly what both collections include, see `is_included`."""
    return sorted(
        {name for name in names if is_included(name, others)} | {name for name in others if is_included(name, names)}
    )


def list_accounts(names: Iterable[str], provider: str) -> list[str]:
    """Return those of `names` that are accounts of a provider, by the name of the account alone."""
    return sorted(account for base, account in map(split_account, names) if base == provider and account is not None)


def list_base_names(names: Iterable[str]) -> list[str]:
    """Return the names of providers without those of accounts: each provider once."""
    return sorted({split_account(name).provider for name in names})


def build_callback_path(name: str) -> str:
    """Return the path of the callback URL of a provider or an account, without a token."""
    provider, account = split_account(name)
    return f"{CALLBACKS_PATH}{provider}" + (f"/{ACCOUNT_SEGMENT}{account}" if account else "")
