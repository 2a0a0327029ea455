"""Signers of catalog entries: SMS, voice and chat. Written from the documentation of their vendors."""

from collections.abc import Mapping

from tests.contract.entry_signer import EntrySigner
from tests.support.signers import Signer

SIGNERS: Mapping[str, Signer] = {}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    "telnyx": EntrySigner("telnyx", "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="),
    "twilio": EntrySigner("twilio-form"),
}
