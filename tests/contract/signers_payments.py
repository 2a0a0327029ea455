"""Signers of catalog entries: payments and payouts. Written from the documentation of their vendors."""

from collections.abc import Mapping

from tests.contract.entry_signer import EntrySigner
from tests.support.signers import Signer

SIGNERS: Mapping[str, Signer] = {}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {}
