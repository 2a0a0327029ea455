"""Accounts of a provider: the rule of their names, and the names of providers that have several accounts.

An account of a provider is a provider of its own, whose name is `PROVIDER/ACCOUNT`. That name stands wherever a
provider's name stands: in the database, in limits, pauses and circuits, in metrics and logs. What people and clients
see shows the two parts apart.
"""

import re
from typing import NamedTuple

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""The names of providers, and of accounts."""
NAME_RULE = "use at most 63 lower-case letters, digits, - and _, beginning with a letter or digit"

_SEPARATOR = "/"
_NAME = re.compile(NAME_PATTERN)


class AccountName(NamedTuple):
    """The two parts of a provider's name; `account` is None for a provider without an account."""

    provider: str
    account: str | None


def is_valid_name(name: str) -> bool:
    """Return whether a provider or an account may have this name."""
    return _NAME.fullmatch(name) is not None


def join_account(provider: str, account: str | None) -> str:
    """Return the name of an account of a provider; that of the provider itself for None."""
    return provider if account is None else f"{provider}{_SEPARATOR}{account}"


def split_account(name: str) -> AccountName:
    """Return the provider and the account of a name, see `join_account`."""
    provider, separator, account = name.partition(_SEPARATOR)
    return AccountName(provider, account if separator else None)
