"""The kinds of provider that `receiver.toml` may name, and how each is built from its settings."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError

from receiver.domain.sending import Policy
from receiver.providers.base import Dispatching, Following, Provider, Receiving, origin_of
from receiver.providers.sandbox import SandboxProvider
from receiver.signatures.base import Guard
from receiver.signatures.standard_webhooks import StandardWebhooks, key_of
from schemas import settings as schemas


def build_provider(name: str, given: Mapping[str, Any]) -> Provider:
    """Build the provider that a table of `receiver.toml` describes.

    Raises:
        ValidationError: with every fault of the table.
    """
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValidationError({"kind": [f"must be one of: {', '.join(_KINDS)}"]})
    schema, build = _KINDS[kind]
    return build(name, schema.load(given))


def _sandbox(name: str, given: Mapping[str, Any]) -> Provider:
    return SandboxProvider(
        **_common(name, given),
        api_key=given["auth"]["secret"],
        idempotent=given["idempotent"],
    )


def _common(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    url = urlsplit(given["base_url"])
    signature = given["signature"]
    scheme = StandardWebhooks([key_of(secret) for secret in signature["secrets"]], signature["tolerance"])
    return {
        "name": name,
        "origin": origin_of(url),
        "base_path": url.path.rstrip("/"),
        "policy": Policy(given["retry"], given["on_ambiguous"]),
        "dispatching": Dispatching(given["max_concurrency"], given["connect_timeout"], given["timeout"]),
        "following": Following(deadline=given["deadline"], **given["poll"]),
        "receiving": Receiving(Guard(scheme)),
    }


_KINDS: dict[str, tuple[Schema, Callable[[str, Mapping[str, Any]], Provider]]] = {
    "sandbox": (schemas.SandboxSettings(), _sandbox),
}
