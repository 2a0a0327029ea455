"""The `webhooks` of the OpenAPI document: how each configured provider calls back, and how clients are told of an end.

Neither tokens nor secrets are told. The answers are the same for all, save for the provider's own acknowledgement.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.webhook import EVENT
from receiver.settings import Settings
from receiver.signatures.base import Trust
from receiver.web.examples import build_notification_example
from receiver.web.openapi_parts import describe_problem

_TAKEN = (
    "It is recorded and its jobs are reconciled; so it is with a duplicate, a late or contradicting one, one of an "
    "unknown reference, and one with a status that is not mapped."
)
_REFUSALS: Mapping[int, str] = {
    400: "Its signature is right, but it cannot be read; it is kept with its errors and can be replayed.",
    401: "The signature is missing, wrong or too old, or the caller's address is not allowed; it touches no job.",
    404: "No such provider is configured, or the URL's token is wrong.",
    405: "The provider does not call back with this method.",
    413: "The body is too large.",
    415: "The provider does not call back with this media type.",
    503: "It could not be committed now; deliver it again.",
}
_ANSWERS: Mapping[int, str] = {
    200: "It was taken; every other 2xx says the same.",
    410: "The receiver is gone: this is told no more.",
    503: "It was not taken, as with every other status: it is told again, for three days at most.",
}
_SIGNED: Mapping[str, str] = {
    "webhook-id": "Names what is told; the same whenever it is told again.",
    "webhook-timestamp": "When it was sent, in Unix seconds.",
    "webhook-signature": "`v1,` and the base64 of an HMAC-SHA256 over id, timestamp and body, with full stops between "
    "them; several with spaces between them, one for each secret.",
}
_UNTOLD: Mapping[str, Any] = {"description": "As the provider documents it."}


def describe_webhooks(settings: Settings) -> dict[str, Any]:
    """Give the webhook of each configured provider, or of one that would be, and that which clients are told by."""
    known = {f"callback of {name}": _webhook(settings, one) for name, one in sorted(settings.providers.items())}
    url = f"{settings.public_url}/callbacks/{{provider}}"
    told = {EVENT: {"post": _notification(settings.providers)}} if settings.notifier else {}
    usual = _described("callback", url, "Each provider's signature is checked as `receiver.toml` says.", (), 200)
    return (known or {"callback": {"post": usual}}) | told


def _notification(providers: Mapping[str, Provider]) -> dict[str, Any]:
    content = {
        "schema": {"$ref": "#/components/schemas/Notification"},
        "example": build_notification_example(providers),
    }
    return {
        "operationId": "request_finished",
        "tags": ["requests"],
        "summary": "What we send to the `notify_url` of a request that is over.",
        "description": "It is signed by Standard Webhooks: verify it over the raw body before all else. It may come "
        "more than once, with the same `webhook-id`; and anew, with another, when the end turns out to be another.",
        "security": [],
        "parameters": [
            {"in": "header", "name": name, "required": True, "description": told, "schema": {"type": "string"}}
            for name, told in _SIGNED.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {str(status): {"description": told} for status, told in _ANSWERS.items()},
    }


def _webhook(settings: Settings, provider: Provider) -> dict[str, Any]:
    callback_settings = provider.callback_settings
    url = f"{settings.public_url}/callbacks/{provider.name}{'/{token}' if callback_settings.auth.tokens else ''}"
    told = " ".join(_proof(provider))
    return {
        method.lower(): _described(
            f"callback_of_{provider.name}_{method.lower()}",
            url,
            told,
            sorted(callback_settings.media_types) if method != "GET" else (),
            callback_settings.ack.status,
        )
        for method in sorted(callback_settings.methods)
    }


def _described(name: str, url: str, proof: str, media_types: Sequence[str], ack: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": name,
        "tags": ["callbacks"],
        "summary": "What the provider sends us when there is news of jobs.",
        "description": f"It is sent to `{url}`, to be registered at the provider or given with each request. {proof}",
        "security": [],
        "responses": {str(ack): {"description": _TAKEN}}
        | {
            str(status): describe_problem(status, told, headers=status in {405, 503})
            for status, told in _REFUSALS.items()
        },
    }
    if media_types:
        content = {media_type: {"schema": dict(_UNTOLD)} for media_type in media_types}
        described["requestBody"] = {"required": False, "content": content}
    return described


def _proof(provider: Provider) -> Sequence[str]:
    """Tell how its callbacks prove their sender."""
    auth = provider.callback_settings.auth
    told = []
    if auth.scheme:
        told.append(f"Its signature, by the scheme `{auth.named}`, is checked over the raw bytes before all else.")
    if auth.tokens:
        told.append("`{token}` is an unguessable part of the URL; `receiver provider check` and `admin` are shown it.")
    if auth.allow_from:
        told.append(f"It is taken only from {', '.join(str(network) for network in auth.allow_from)}.")
    if auth.trust is Trust.CONFIRM:
        told.append("A final word in it only makes us ask the provider, whose answer decides.")
    return told
