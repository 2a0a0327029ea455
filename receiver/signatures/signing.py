"""The signing of callbacks, the inverse of their verification, for development and smoke tests.

A callback is signed as its provider would: by the first of the configured secrets, or by a private key that is passed
in. There is no built-in key. A scheme whose private keys only the vendor has cannot be signed.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.account_tokens import with_public_url
from receiver.signatures.base import CallbackAuth, InvalidSignature, Scheme
from receiver.signatures.fal import JWKS_URL, FalScheme
from receiver.signatures.http_messages import HTTPMessageSignatures, get_component, parse_key
from receiver.signatures.jwt import Jwt
from receiver.signatures.keys import PublicKey
from receiver.signatures.plivo import NONCE_HEADER, SIGNATURE_HEADER, PlivoV3, build_content
from receiver.signatures.recipe import Recipe
from receiver.signatures.recipe_signing import sign_recipe
from receiver.signatures.signers import REPLACE_KEYS, CannotSign, Signer, set_parameter
from receiver.signatures.sns import Sns
from receiver.signatures.standard_webhooks import StandardWebhooks, encode_key, sign
from receiver.signatures.token_signing import sign_jwt
from receiver.signatures.twilio import BODY_HASH, Twilio, build_contents

_LABEL = "sig1"
"""The label of a signature by RFC 9421."""


def sign_callback(auth: CallbackAuth, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    """Return a callback with the signature that its provider would add; the URL has its token already.

    Args:
        auth: how callbacks are authenticated.
        callback: the callback as it will be received, at the time of the signature.
        signer: signs.

    Raises:
        CannotSign: the scheme cannot be signed, or not with what there is; the message says what to do.
    """
    if auth.scheme is None:
        return callback
    sign_scheme = next((function for kind, function in _SIGN_FUNCTIONS.items() if isinstance(auth.scheme, kind)), None)
    if sign_scheme is None:
        raise CannotSign(f"Callbacks with the scheme {auth.scheme_name} cannot be signed.")
    try:
        signed = sign_scheme(auth.scheme, auth.restore_url(callback), signer)
        auth.scheme.verify(signed)
    except InvalidSignature as error:
        raise CannotSign(
            f"The callback cannot be signed: {error} What is signed must be in the body, or in headers that are passed "
            "with --header."
        ) from None
    path, mark = callback.target.partition("?")[0], "?" if signed.query else ""
    return replace(signed, target=f"{path}{mark}{signed.query}", public_url=callback.public_url)


def _set_headers(callback: IncomingCallback, headers: Mapping[str, str]) -> IncomingCallback:
    return replace(callback, headers={**callback.headers, **headers})


def _sign_standard_webhooks(scheme: StandardWebhooks, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    message_id = callback.headers.get(f"{scheme.prefix}-id", signer.unique_id)
    secret = next((key for key in scheme.keys if isinstance(key, bytes)), None)
    if secret is None:
        public_keys = [key.raw for key in scheme.keys if isinstance(key, PublicKey)]
        content = b"%b.%d.%b" % (message_id.encode("latin-1"), signer.unix_seconds, callback.body)
        signature = "v1a," + b64encode(signer.sign_ed25519(content, public_keys)).decode()
    else:
        signature = sign(secret, message_id, signer.unix_seconds, callback.body)
    values = {"id": message_id, "timestamp": str(signer.unix_seconds), "signature": signature}
    return _set_headers(callback, {f"{scheme.prefix}-{name}": value for name, value in values.items()})


def _sign_twilio(scheme: Twilio, callback: IncomingCallback, _: Signer) -> IncomingCallback:
    if callback.body and callback.media_type != FORM_MEDIA_TYPE:
        callback = set_parameter(callback, BODY_HASH, sha256(callback.body).hexdigest().encode())
    # The first one has the port, the second one is without it.
    content = build_contents(with_public_url(scheme.public_url, callback))[1]
    signature = b64encode(hmac.digest(encode_key(scheme.auth_tokens[0]), content, "sha1"))
    return _set_headers(callback, {"x-twilio-signature": signature.decode()})


def _sign_plivo(scheme: PlivoV3, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    callback = _set_headers(callback, {NONCE_HEADER: signer.unique_id})
    content = build_content(with_public_url(scheme.public_url, callback))
    signature = b64encode(hmac.digest(encode_key(scheme.auth_tokens[0]), content, "sha256"))
    return _set_headers(callback, {SIGNATURE_HEADER: signature.decode()})


def _sign_http_message(scheme: HTTPMessageSignatures, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    digest = b64encode(sha256(callback.body).digest()).decode()
    callback = _set_headers(callback, {"content-digest": f"sha-256=:{digest}:"})
    message = with_public_url(scheme.public_url, callback)
    components = " ".join(f'"{name}"' for name in scheme.components)
    params = f"({components});created={signer.unix_seconds}"
    lines = [f'"{name}": {get_component(message, name)}' for name in scheme.components]
    content = "\n".join([*lines, f'"@signature-params": {params}']).encode("latin-1")
    keys = [parse_key(text) for text in scheme.keys]
    secret = next((key for key in keys if isinstance(key, bytes)), None)
    if secret is None:
        signature = signer.sign_ed25519(content, [key.raw for key in keys if isinstance(key, PublicKey)])
    else:
        signature = hmac.digest(secret, content, "sha256")
    return _set_headers(
        callback,
        {"signature-input": f"{_LABEL}={params}", "signature": f"{_LABEL}=:{b64encode(signature).decode()}:"},
    )


def _refuse_fal(*_: object) -> IncomingCallback:
    raise CannotSign(f"Only fal can sign: its public keys are those at {JWKS_URL}. {REPLACE_KEYS}")


def _refuse_sns(*_: object) -> IncomingCallback:
    raise CannotSign(f"Only Amazon SNS can sign: its public keys are in its certificates. {REPLACE_KEYS}")


_SIGN_FUNCTIONS: Mapping[type[Scheme], Callable[[Any, IncomingCallback, Signer], IncomingCallback]] = {
    Recipe: sign_recipe,
    StandardWebhooks: _sign_standard_webhooks,
    Jwt: sign_jwt,
    Twilio: _sign_twilio,
    PlivoV3: _sign_plivo,
    HTTPMessageSignatures: _sign_http_message,
    FalScheme: _refuse_fal,
    Sns: _refuse_sns,
}
"""How each kind of scheme is signed."""
