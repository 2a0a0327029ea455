"""How the callbacks of a catalog entry are signed in tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EntrySigner:
    """How the callbacks of an entry are signed.

    Args:
        name: the name of the signer; "" if the URL is the only proof.
        secret: the secret that signs, by default that of the table; for public keys what selects the private key.
        table: what replaces values of the table, such as public keys whose private keys the signer has.
    """

    name: str = ""
    secret: str = ""
    table: Mapping[str, Any] = field(default_factory=dict)
