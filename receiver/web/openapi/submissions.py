"""What clients can submit, for the OpenAPI document: the accounts of a provider share its entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.accounts import split_account
from receiver.providers.base import Provider
from receiver.providers.capabilities import Operation

MAX_LISTED_ACCOUNTS = 50


@dataclass(frozen=True, slots=True)
class SubmittableOperation:
    """An operation of a provider.

    Args:
        provider: the name of the provider, without an account.
        name: the name of the operation.
        operation: the operation of the provider or, if only accounts have it, that of the first account.
        accounts: the accounts that have the operation.
        requires_account: whether only accounts have the operation.
    """

    provider: str
    name: str
    operation: Operation
    accounts: Sequence[str]
    requires_account: bool

    @property
    def account_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the field `account`; long lists of accounts are left out."""
        if not self.accounts:
            return {"type": "null", "description": "The provider has no accounts."}
        names = {"enum": list(self.accounts)} if len(self.accounts) <= MAX_LISTED_ACCOUNTS else {}
        name: Mapping[str, Any] = {"type": "string", **names}
        return name if self.requires_account else {"anyOf": [name, {"type": "null"}]}


def list_submittable_operations(providers: Mapping[str, Provider]) -> list[SubmittableOperation]:
    """Return the operations of all providers, sorted by provider."""
    owners: dict[tuple[str, str], dict[str | None, Operation]] = {}
    for full_name, provider in sorted(providers.items()):  # a provider comes before its accounts
        base, account = split_account(full_name)
        for name, operation in provider.operations.items():
            owners.setdefault((base, name), {})[account] = operation
    return [
        SubmittableOperation(
            base,
            name,
            next(iter(operations.values())),
            sorted(account for account in operations if account is not None),
            requires_account=None not in operations,
        )
        for (base, name), operations in owners.items()
    ]
