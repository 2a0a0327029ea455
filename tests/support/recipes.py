"""Recipes, and callbacks signed for them."""

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from receiver.signatures.recipe import Recipe

NOW = 1_700_000_000
KEY = "sécret"
BODY = b'{"id": "e1", "sig": "s", "n": 7, "t": true, "f": 1.5, "none": null, "deep": {"a b": "\xc3\xbc"}, "list": [1]}'
TOKENS = (
    "{body}, {url}, {url_no_query}, {path}, {method}, {content_type}, {crc32}, {secret}, {md5_hex}, {md5_b64}, "
    "{sha1_hex}, {sha1_b64}, {sha256_hex}, {sha256_b64}, {sha512_hex}, {sha512_b64}, {body_with_secret}, "
    "{sorted_params}, {timestamp}, {id}, {nonce}, {header:NAME}, {query:NAME}, {raw:NAME}, {field:PATH}"
)
"""The tokens of signed content, as errors list them."""
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = PRIVATE_KEY.public_key().public_bytes_raw()


def build_callback(
    headers: dict[str, str] | None = None, body: bytes = BODY, target: str = "/c/acme?b=2&a=%C3%BC", **overrides: Any
) -> IncomingCallback:
    """Build a callback, received at `now`."""
    fields: dict[str, Any] = {"method": "POST", "public_url": "https://h.example/in"} | overrides
    received_at = datetime.fromtimestamp(fields.pop("now", NOW), UTC)
    return IncomingCallback(target=target, headers=headers or {}, body=body, received_at=received_at, **fields)


def build_recipe(**overrides: Any) -> Recipe:
    """Build a recipe for a signature in the header X-Sig."""
    return Recipe(**{"source": "header:X-Sig", "secrets": [KEY]} | overrides)


def compute_mac(content: bytes, algorithm: str = "sha256", key: bytes = KEY.encode()) -> str:
    """Return the HMAC of content in hex."""
    return hmac.new(key, content, algorithm).hexdigest()


def expect_rejection(scheme: Recipe, callback: IncomingCallback) -> InvalidSignature:
    """Verify a callback that must be rejected; return the error."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    return caught.value
