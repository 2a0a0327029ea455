"""Callbacks as they are kept: raw, with a verdict."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Verdict(StrEnum):
    """What became of a delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    UNMAPPED = "unmapped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Callback:
    """One delivery. `identity` is equal for all deliveries of one callback, `received_at` is UTC, `body` is raw.

    `errors` maps fields to messages when the verdict is `INVALID`.
    """

    id: UUID
    identity: UUID
    provider: str
    received_at: datetime
    verdict: Verdict
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    errors: Mapping[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """Give the row for `reconcile.sql`, the body in base64."""
        return {
            "id": self.id,
            "identity": self.identity,
            "provider": self.provider,
            "received_at": self.received_at,
            "verdict": self.verdict,
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "body": b64encode(self.body).decode(),
            "errors": self.errors,
        }
