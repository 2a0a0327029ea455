"""What the tests of catalog entries need of each: its table with example parameters, and an independent signer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry
from receiver.providers.registry import build_provider
from tests.contract import (
    EXTRA_SIGNERS,
    NOW,
    signers_ai,
    signers_documents,
    signers_messages,
    signers_payments,
    signers_runs,
)
from tests.contract.entry_signer import EntrySigner
from tests.support.signers import PUBLIC_URL, TARGET, SignedCallback, Signer
from tests.support.signers import SIGNERS as PRESET_SIGNERS

NAME = "acme"
"""The name of the provider under test: signers sign its URL."""
ENTRIES: Sequence[CatalogEntry] = [load_entry(name) for name in list_entries()]
TIME = datetime.fromtimestamp(NOW, UTC)


SIGNERS: Mapping[str, Signer] = {
    **PRESET_SIGNERS,
    **EXTRA_SIGNERS,
    **signers_messages.SIGNERS,
    **signers_ai.SIGNERS,
    **signers_payments.SIGNERS,
    **signers_documents.SIGNERS,
    **signers_runs.SIGNERS,
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    **signers_messages.ENTRY_SIGNERS,
    **signers_ai.ENTRY_SIGNERS,
    **signers_payments.ENTRY_SIGNERS,
    **signers_documents.ENTRY_SIGNERS,
    **signers_runs.ENTRY_SIGNERS,
}
"""The signers of entries that are not named like their scheme."""


def get_entry_signer(entry: CatalogEntry) -> EntrySigner:
    """Return how the callbacks of an entry are signed."""
    scheme = entry.table["signature"]["scheme"]
    return ENTRY_SIGNERS.get(entry.name) or EntrySigner("" if scheme == "token" else scheme)


def find_signer(entry: CatalogEntry) -> Signer | None:
    """Return the signer of an entry; None if the URL is the only proof."""
    name = get_entry_signer(entry).name
    assert not name or name in SIGNERS, f"{entry.name}: add a signer to SIGNERS and ENTRY_SIGNERS of its signers_…"
    return SIGNERS[name] if name else None


def build_table(entry: CatalogEntry, **own: Any) -> dict[str, Any]:
    """Return a user's table: the kind and its parameters, with further keys."""
    parameters = {name: parameter.example for name, parameter in entry.parameters.items() if parameter.example}
    return {"kind": entry.name, **parameters, **get_entry_signer(entry).table, **own}


def build_entry_provider(entry: CatalogEntry, **own: Any) -> Provider:
    """Return a provider of an entry."""
    return build_provider(NAME, build_table(entry, **own))


def expand(entry: CatalogEntry) -> dict[str, Any]:
    """Return the table of kind `declared` of an entry."""
    return entry.expand({key: value for key, value in build_table(entry).items() if key != "kind"})


def get_secret(entry: CatalogEntry) -> str:
    """Return the secret that signs the callbacks of an entry."""
    return get_entry_signer(entry).secret or str(expand(entry)["signature"]["secrets"][0])


def build_unsigned(entry: CatalogEntry, status: str, reference: str | None = None) -> IncomingCallback:
    """Return an example callback without its signature."""
    callback = entry.examples.build_callback(f"/callbacks/{NAME}", status, TIME, reference)
    assert callback is not None, f"no example has the status {status}"
    return replace(callback, public_url=PUBLIC_URL)


def sign_example(entry: CatalogEntry, status: str, *, secret: str = "", signed_at: int = NOW) -> SignedCallback:
    """Sign an example callback as its vendor does."""
    signer, unsigned = find_signer(entry), build_unsigned(entry, status)
    assert signer is not None
    content = unsigned.query.encode() if unsigned.method == "GET" else unsigned.body
    signed = signer.sign(secret or get_secret(entry), content, signed_at)
    return replace(signed, headers={**unsigned.headers, **signed.headers})


def receive(entry: CatalogEntry, signed: SignedCallback, status: str) -> IncomingCallback:
    """Return a signed callback as it is received at `NOW`."""
    unsigned = build_unsigned(entry, status)
    query = unsigned.query
    target = f"{TARGET.partition('?')[0]}?{query}" if query and signed.target == TARGET else signed.target
    return signed.to_callback(NOW, method=unsigned.method, headers=signed.headers, target=target)
