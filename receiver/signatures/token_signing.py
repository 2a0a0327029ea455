"""The signing of tokens, the inverse of `receiver.signatures.jwt` and of detached JWSs."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.jose import ALGORITHMS, HMAC_HASHES, find_verify
from receiver.signatures.jwt import AUTHORIZATION, HASH_ENCODINGS, Jwt
from receiver.signatures.public_keys import VerificationKey
from receiver.signatures.signers import CannotSign, Signer, set_value
from receiver.signatures.sources import VerificationContext, parse_source
from receiver.signatures.standard_webhooks import encode_key


def sign_jwt(scheme: Jwt, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    """Return a callback with its token.

    Raises:
        CannotSign: a private key is missing or of another key pair.
    """
    if scheme.key_source is None:
        algorithm = next(iter(scheme.algorithms or HMAC_HASHES))
        content = _build_content(scheme, callback, signer, encode_header(algorithm))
        signature = hmac.digest(encode_key(scheme.secrets[0]), content, HMAC_HASHES[algorithm])
    else:
        key, key_id = signer.find_public_key(scheme.key_source), scheme.key_source.key_id
        callback = set_value(callback, key_id, key.key_id.encode(), scheme.body_kind) if key_id else callback
        algorithm = find_algorithm(key, scheme.algorithms)
        content = _build_content(scheme, callback, signer, encode_header(algorithm, key.key_id))
        signature = signer.require_private_key().sign_token(content, algorithm)
    prefix = b"Bearer " if scheme.source.lower() == AUTHORIZATION else b""
    token = b"%b%b.%b" % (prefix, content, _encode_base64url(signature))
    return set_value(callback, parse_source(scheme.source), token, scheme.body_kind)


def sign_detached(content: bytes, algorithms: Sequence[str], key: VerificationKey, signer: Signer) -> bytes:
    """Return a detached JWS of a content.

    Args:
        content: the content.
        algorithms: the algorithms that are accepted, see `find_algorithm`.
        key: the public key of the signer.
        signer: signs.

    Raises:
        CannotSign: the key is for none of the algorithms.
    """
    algorithm = find_algorithm(key, algorithms)
    header = encode_header(algorithm, key.key_id)
    signature = signer.require_private_key().sign_token(b"%b.%b" % (header, _encode_base64url(content)), algorithm)
    return b"%b..%b" % (header, _encode_base64url(signature))


def find_algorithm(key: VerificationKey, algorithms: Sequence[str]) -> str:
    """Return the first algorithm that a public key verifies.

    Args:
        key: the key.
        algorithms: the algorithms that are accepted; empty for those that are usual for the type of the key.

    Raises:
        CannotSign: the key is for none of them.
    """
    for name in algorithms or ALGORITHMS:
        if find_verify(name, key, algorithms):
            return name
    raise CannotSign(f"The signing key must be for one of the configured `algorithms`: {', '.join(algorithms)}.")


def encode_header(algorithm: str, key_id: str = "") -> bytes:
    """Return the header of a token in base64url."""
    return _encode_base64url(orjson.dumps({"alg": algorithm} | ({"kid": key_id} if key_id else {})))


def _build_content(scheme: Jwt, callback: IncomingCallback, signer: Signer, header: bytes) -> bytes:
    """Return the header and the claims of a token, as they are signed."""
    claims: dict[str, Any] = {
        "iat": signer.unix_seconds,
        "jti": signer.unique_id,
        **{name: value[0] if isinstance(value, list) else value for name, value in scheme.claims.items()},
        **({"iss": scheme.issuer[0]} if scheme.issuer else {}),
        **({"aud": scheme.audience[0]} if scheme.audience else {}),
    }
    if scheme.body_hash:
        digest = hashlib.new(scheme.body_hash_algorithm, callback.body).digest()
        claims[scheme.body_hash] = HASH_ENCODINGS[scheme.body_hash_encoding](digest)
    if scheme.url_hash:
        context = VerificationContext(callback, scheme.public_url)
        url = context.encode(context.public_url + callback.target)
        claims[scheme.url_hash] = hashlib.sha256(url).hexdigest()
    return b"%b.%b" % (header, _encode_base64url(orjson.dumps(claims)))


def _encode_base64url(content: bytes) -> bytes:
    """Encode base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=")
