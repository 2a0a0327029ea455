"""Cecula for tests: providers with any origin, and a fake API that responds as documented."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.support.provider import Provider as FakeProvider
from tests.support.provider import Received, Reply

TOKEN = "an-unguessable-end-of-a-url"
API_KEY = "CCL.key"
_IDS = UUID("1f6b3f1e-0b57-4ec5-9b0e-6a0a7b0a1d11")


def build_cecula(kind: str = "cecula", origin: str = "", **table: Any) -> Provider:
    """Build a provider of one of Cecula's kinds; `table` overrides its table in `receiver.toml`."""
    fields: dict[str, Any] = {
        "kind": kind,
        "auth": {"scheme": "bearer", "secret": API_KEY},
        "signature": {"scheme": "token", "secrets": [TOKEN]},
        "retry": {"attempts": 4, "base": 0.05, "max": 0.2},
        "max_concurrency": 4,
        "timeout": 20.0,
        "deadline": 3_600.0,
    }
    if origin:
        fields["base_url"] = f"{origin}/api"
    return build_provider("cecula", fields | table)


@dataclass(frozen=True)
class RecipientScript:
    """What Cecula does with a recipient: the code in its response, and the statuses of its reports."""

    code: int | str
    statuses: tuple[str, ...] = ()
    has_id: bool = True


def derive_reference(mobile: str) -> str:
    """Return the id that the fake gives a recipient."""
    return str(uuid5(_IDS, mobile))


class FakeCecula(FakeProvider):
    """`POST /api/sms/a2p/send` as https://app.cecula.com/docs/sms-messaging/sending-sms.html shows it."""

    def __init__(self, scripts: Mapping[str, RecipientScript]) -> None:
        super().__init__()
        self._scripts_by_mobile = scripts

    def response(self, received: Received) -> Reply:
        """Store a request and return its reply."""
        self.received.append(received)
        if received.headers.get("authorization") != f"Bearer {API_KEY}":
            return Reply(401)
        if received.headers.get("content-type") != "application/json":
            return Reply(400)
        if (received.method, received.path) != ("POST", "/api/sms/a2p/send"):
            return Reply(404)
        recipients = [self._build_recipient(mobile) for mobile in json.loads(received.body)["recipients"]]
        body = {"recipients": recipients, "messageReference": "93b71cc8-744d-46e3-a2f4-96ace66ea738"}
        return Reply(200, json.dumps(body).encode(), {"content-type": "application/json"})

    def _build_recipient(self, mobile: str) -> dict[str, Any]:
        script = self._scripts_by_mobile[mobile]
        status = "ACK" if script.code in {1801, "1801"} else "NACK"
        recipient = {"mobile": mobile, "status": status, "code": script.code}
        return recipient | ({"id": derive_reference(mobile)} if script.has_id else {})
