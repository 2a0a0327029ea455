"""The schemes of `verify` that use public keys: a recipe of each type of key, JWTs and JWSs, beside the bare check."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import Scheme
from tests.benchmarks.environment import BenchmarkFailed
from tests.support.signing_keys import (
    PrivateKey,
    build_jwks,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

MAX_RATIO = 1.2
"""The most that a verification of a recipe may cost, as a multiple of the bare check by `cryptography`."""
RECIPES = ("ed25519", "ecdsa", "rsa")
TOKENS = ("jwt-hs256", "jwt-rs256", "jwt-es256", "jwt-eddsa")
NAMES = (*RECIPES, "rsa-jwks", *TOKENS)
_NOW = 1_800_000_000
_BODY = orjson.dumps({"id": "job-1", "status": "done", "text": "x" * 984})
_URL = "https://keys.example/jwks.json"
_SECRET = "a secret of thirty-two characters"
_KEYS: Mapping[str, PrivateKey] = {
    "ed25519": get_ed25519_key(),
    "ecdsa": get_ec_key(),
    "rsa": get_rsa_key(),
    "rsa-jwks": get_rsa_key(),
    "jwt-rs256": get_rsa_key(),
    "jwt-es256": get_ec_key(),
    "jwt-eddsa": get_ed25519_key(),
}


@dataclass(frozen=True, slots=True)
class KeySample:
    """A signed callback of 1 KiB, the scheme and documents that verify it, and the bare check of the same content."""

    scheme: Scheme
    incoming: IncomingCallback
    documents: Mapping[str, bytes]
    check_bare: Callable[[], object]

    def verify(self) -> int:
        """Verify the callback by the scheme."""
        return self.scheme.verify(self.incoming, self.documents)


def build_sample(name: str) -> KeySample:
    """Return the sample of one of `NAMES`, with the scheme as the settings build it."""
    return _build_token_sample(name) if name in TOKENS else _build_recipe_sample(name)


def _build_recipe_sample(name: str) -> KeySample:
    """Return the sample of a recipe that signs the time and the body; that of `rsa` signs the body, as Wise does."""
    private_key, keys = _KEYS[name], {"jwks_url": _URL, "key_id": "header:X-Key"} if name == "rsa-jwks" else {}
    timed = {} if name == "rsa" else {"signed": "{timestamp}.{body}", "timestamp": "header:X-Time"}
    signature, check_bare = _sign(private_key, b"%d.%b" % (_NOW, _BODY) if timed else _BODY)
    scheme = _load(
        {
            "scheme": name.partition("-")[0],
            "header": "X-Sig",
            "encoding": "base64",
            **timed,
            **(keys or {"keys": [export_pem(private_key)]}),
        }
    )
    headers = {"x-sig": b64encode(signature).decode(), "x-time": str(_NOW), "x-key": "1"}
    documents = {_URL: build_jwks(*(export_jwk(get_rsa_key(number), kid=f"{1 - number}") for number in (1, 0)))}
    return KeySample(scheme, _build_callback(headers), documents if keys else {}, check_bare)


def _build_token_sample(name: str) -> KeySample:
    algorithm = {"jwt-hs256": "HS256", "jwt-rs256": "RS256", "jwt-es256": "ES256", "jwt-eddsa": "EdDSA"}[name]
    claims = {"iat": _NOW, "iss": "acme", "aud": "us", "jti": "1", "payload_hash": sha256(_BODY).hexdigest()}
    key: Any = _KEYS.get(name, _SECRET)
    token = jwt.encode(claims, key, algorithm=algorithm)
    content = token.rpartition(".")[0].encode()
    settings = {"scheme": "jwt", "body_hash": "payload_hash", "issuer": "acme", "audience": "us"}
    keys = {"secrets": [_SECRET]} if name == "jwt-hs256" else {"keys": [export_pem(key)]}
    signer = jwt.algorithms.get_default_algorithms()["HS256"]
    check_bare = (lambda: signer.sign(content, _SECRET.encode())) if name == "jwt-hs256" else _sign(key, content)[1]
    return KeySample(_load(settings | keys), _build_callback({"authorization": f"Bearer {token}"}), {}, check_bare)


def _sign(private_key: Any, content: bytes) -> tuple[bytes, Callable[[], object]]:
    """Return the signature of a content, and its bare check."""
    arguments: tuple[Any, ...] = ()
    if hasattr(private_key, "curve"):
        arguments = (ec.ECDSA(hashes.SHA256()),)
    elif hasattr(private_key, "key_size"):
        arguments = (padding.PKCS1v15(), hashes.SHA256())
    signature = private_key.sign(content, *arguments)
    public_key = private_key.public_key()
    return signature, lambda: public_key.verify(signature, content, *arguments)


def _load(settings: Mapping[str, Any]) -> Scheme:
    scheme: Scheme | None = SignatureSchema().load(dict(settings)).scheme
    if scheme is None:
        raise BenchmarkFailed(f"{settings['scheme']} has no scheme")
    return scheme


def _build_callback(headers: Mapping[str, str]) -> IncomingCallback:
    at = datetime.fromtimestamp(_NOW, UTC)
    return IncomingCallback("POST", "/callbacks/acme", {"content-type": "application/json", **headers}, _BODY, at)
