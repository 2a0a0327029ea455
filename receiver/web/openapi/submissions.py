"""What clients can submit, for the OpenAPI document: the accounts of a provider share its entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.accounts import list_accounts, list_base_names, split_account
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
        """The JSON Schema of the field `account`."""
        return _build_account_schema(self.accounts, requires_account=self.requires_account)


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


def build_tracking_variants(general: Mapping[str, Any], providers: Mapping[str, Provider]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of a tracked reference for each provider, by provider, from that for all of them."""
    variants = {}
    for base in list_base_names(providers):
        requires_account = base not in providers
        properties = {
            "provider": {"type": "string", "enum": [base]},
            "account": _build_account_schema(list_accounts(providers, base), requires_account=requires_account),
        }
        variants[base] = {
            **general,
            "description": f"A reference of a job that the client obtained from {base} itself.",
            "properties": {**general["properties"], **properties},
            "required": [*general["required"], *(["account"] if requires_account else [])],
        }
    return variants


def _build_account_schema(accounts: Sequence[str], *, requires_account: bool) -> Mapping[str, Any]:
    """Build the JSON Schema of the field `account`; long lists of accounts are left out."""
    if not accounts:
        # Not the type "null", of which some generators of clients can make no type.
        return {"type": ["string", "null"], "not": {"type": "string"}, "description": "null: there are no accounts"}
    names = {"enum": list(accounts)} if len(accounts) <= MAX_LISTED_ACCOUNTS else {}
    name: Mapping[str, Any] = {"type": "string", **names}
    return name if requires_account else {"anyOf": [name, {"type": "null"}]}
