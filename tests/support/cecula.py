"""Cecula for tests: providers with any origin, and a fake API that responds as documented."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid5

from receiver.domain.backoff import RetryPolicy
from receiver.domain.sending import OnAmbiguous, RetryRules
from receiver.providers.base import CallbackSettings, PollPolicy, SendPolicy
from receiver.providers.cecula.provider import Cecula, CeculaApi
from receiver.signatures.base import CallbackAuth
from tests.support.provider import Provider, Received, Reply

TOKEN = "an-unguessable-end-of-a-url"
API_KEY = "CCL.key"
_IDS = UUID("1f6b3f1e-0b57-4ec5-9b0e-6a0a7b0a1d11")

Api = TypeVar("Api", bound=CeculaApi)


def build_current(**overrides: Any) -> Cecula:
    """Build a provider of the current API."""
    return build_cecula(Cecula, **overrides)


def build_cecula(provider_class: type[Api], **overrides: Any) -> Api:
    """Build a provider of one of Cecula's kinds."""
    fields: dict[str, Any] = {
        "name": "cecula",
        "origin": "https://app.cecula.com",
        "base_path": "/api",
        "retry_rules": RetryRules(RetryPolicy(attempts=4, base=0.05, max=0.2), OnAmbiguous.HOLD),
        "send_policy": SendPolicy(max_concurrency=4, connect_timeout=5.0, timeout=20.0),
        "poll_policy": PollPolicy(deadline=3_600.0, first_after=60.0, max_interval=600.0, give_up_after=86_400.0),
        "callback_settings": CallbackSettings(CallbackAuth(None, tokens=(TOKEN,))),
        "api_key": API_KEY,
    }
    return provider_class(**fields | overrides)


@dataclass(frozen=True)
class RecipientScript:
    """What Cecula does with a recipient: the code in its response, and the statuses of its reports."""

    code: int | str
    statuses: tuple[str, ...] = ()
    has_id: bool = True


def derive_reference(mobile: str) -> str:
    """Return the id that the fake gives a recipient."""
    return str(uuid5(_IDS, mobile))


class FakeCecula(Provider):
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
