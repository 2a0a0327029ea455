"""The tokens that callbacks are signed with: their headers, their claims and their places."""

import hashlib
import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import InvalidSignature
from receiver.signatures.public_keys import parse_public_key
from receiver.signatures.signers import CannotSign, Signer
from receiver.signatures.signing import sign_callback
from receiver.signatures.token_signing import find_algorithm
from tests.support.factories import NOON
from tests.support.private_keys import load_signing_key
from tests.support.recipes import BODY, build_callback
from tests.support.signing_keys import export_jwk, export_pem, get_ec_key, get_rsa_key

SECRETS = {"secrets": ["a-secret-of-sufficient-length-for-tokens"]}
NAMED_KEY = {"keys": [json.dumps(export_jwk(get_ec_key(), kid="key-1"))]}


def sign(table: dict[str, Any], callback: IncomingCallback | None = None) -> IncomingCallback:
    """Sign and verify a callback; return it."""
    auth = SignatureSchema().load({"trust": "sender", **table})
    private_key = get_rsa_key() if export_pem(get_rsa_key()) in table.get("keys", ()) else get_ec_key()
    signer = Signer(NOON, "0123456789abcdef", load_signing_key(private_key))
    signed = sign_callback(auth, callback or build_callback(now=int(NOON.timestamp())), signer)
    assert auth.verify(signed) == 0
    return signed


def decode(part: str) -> Any:
    return json.loads(urlsafe_b64decode(part + "=="))


def test_token_has_time_id_and_the_first_accepted_claims() -> None:
    table: dict[str, Any] = {
        **SECRETS,
        "issuer": ["them", "others"],
        "audience": ["us", "you"],
        "claims": {"a": [1, 2], "b": "text"},
    }
    table["body_hash"] = "sha"
    scheme, _, token = sign({"scheme": "jwt", **table}).headers["authorization"].partition(" ")
    header, claims, _ = token.split(".")
    assert scheme == "Bearer"
    assert decode(header) == {"alg": "HS256"}
    assert decode(claims) == {
        "iat": int(NOON.timestamp()),
        "jti": "0123456789abcdef",
        "a": 1,
        "b": "text",
        "iss": "them",
        "aud": "us",
        "sha": hashlib.sha256(BODY).hexdigest(),
    }


def test_token_in_another_header_stands_alone() -> None:
    token = sign({"scheme": "jwt", **SECRETS, "header": "X-Token"}).headers["x-token"]
    assert decode(token.partition(".")[0]) == {"alg": "HS256"}


def test_tokens_name_their_key() -> None:
    token = sign({"scheme": "jwt", **NAMED_KEY, "header": "X-Token"}).headers["x-token"]
    assert decode(token.partition(".")[0]) == {"alg": "ES256", "kid": "key-1"}
    detached = sign({"scheme": "jws", **NAMED_KEY, "header": "X-Token"}).headers["x-token"]
    assert decode(detached.partition("..")[0]) == {"alg": "ES256", "kid": "key-1"}


def test_token_is_made_with_the_configured_algorithm() -> None:
    table = {"scheme": "jwt", "keys": [export_pem(get_rsa_key())], "header": "X-Token", "algorithms": ["PS512"]}
    assert decode(sign(table).headers["x-token"].partition(".")[0])["alg"] == "PS512"


def test_key_of_no_configured_algorithm_cannot_sign() -> None:
    with pytest.raises(CannotSign) as caught:
        find_algorithm(parse_public_key(export_pem(get_ec_key())), ["RS256", "PS256"])
    assert str(caught.value) == "The signing key must be for one of the configured `algorithms`: RS256, PS256."


def test_token_signs_the_public_url() -> None:
    table = {"scheme": "jwt", **SECRETS, "url_hash": "url", "public_url": "https://other.example"}
    signed = sign(table)
    with pytest.raises(InvalidSignature):
        SignatureSchema().load({"trust": "sender", **table, "public_url": "https://third.example"}).verify(signed)
