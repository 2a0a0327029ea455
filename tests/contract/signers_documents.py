"""Signers of catalog entries: documents, identity, media. Written from the documentation of their vendors."""

import hmac
from base64 import b64encode
from collections.abc import Mapping

from tests.contract.entry_signer import EntrySigner
from tests.support.signers import TARGET, SignedCallback, Signer

_CALLBACK_PATH = TARGET.partition("?")[0]
_SMILE_ID_PARTNER = "1234"


def _sign_hex(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, "sha256").hexdigest()


def _build_body_signer(header: str, prefix: str = "") -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        signature = _sign_hex(secret, body)
        return SignedCallback({header: prefix + signature}, signature, body)

    return Signer(sign, header=header, prefix=prefix)


def _build_secret_signer(header: str, prefix: str = "") -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        return SignedCallback({header: prefix + secret}, secret, body)

    return Signer(sign, header=header, prefix=prefix, signs_body=False)


def _build_pairs_signer(header: str, time_key: str, signature_key: str, separator: str = ",") -> Signer:
    def sign(secret: str, body: bytes, now: int) -> SignedCallback:
        signature = _sign_hex(secret, f"{now}.".encode() + body)
        return SignedCallback({header: f"{time_key}={now}{separator}{signature_key}={signature}"}, signature, body)

    return Signer(sign, header=header, signs_time=True)


def _sign_livepeer(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = _sign_hex(secret, body)
    return SignedCallback({"livepeer-signature": f"t={now}000,v1={signature}"}, signature, body)


def _sign_pandadoc(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = _sign_hex(secret, body)
    return SignedCallback({}, signature, body, f"{_CALLBACK_PATH}?signature={signature}")


def _sign_signwell(secret: str, body: bytes, now: int) -> SignedCallback:
    event_type = body.partition(b'"type": "')[2].partition(b'"')[0].decode()
    signature = _sign_hex(secret, f"{event_type}@{now}".encode())
    return SignedCallback({}, signature, body.replace(b'"hash": ""', f'"hash": "{signature}"'.encode()))


def _sign_smile_id(secret: str, body: bytes, _: int) -> SignedCallback:
    timestamp = body.partition(b'"timestamp": "')[2].partition(b'"')[0]
    digest = hmac.digest(secret.encode(), timestamp + _SMILE_ID_PARTNER.encode() + b"sid_request", "sha256")
    signature = b64encode(digest).decode()
    return SignedCallback({}, signature, body.replace(b'"signature": ""', f'"signature": "{signature}"'.encode()))


SIGNERS: Mapping[str, Signer] = {
    "bannerbear": _build_secret_signer("authorization", "Bearer "),
    "boldsign": _build_pairs_signer("x-boldsign-signature", "t", "s0", ", "),
    "bunny-stream": _build_body_signer("x-bunnystream-signature"),
    "checkr": _build_body_signer("x-checkr-signature"),
    "cloudconvert": _build_body_signer("cloudconvert-signature"),
    "cloudflare-stream": _build_pairs_signer("webhook-signature", "time", "sig1"),
    "documenso": _build_secret_signer("x-documenso-secret"),
    "docuseal": _build_secret_signer("x-webhook-secret"),
    "livepeer": Signer(_sign_livepeer, header="livepeer-signature"),
    "onfido": _build_body_signer("x-sha2-signature"),
    "pandadoc": Signer(_sign_pandadoc),
    "signwell": Signer(_sign_signwell, signs_body=False),
    "smile-id": Signer(_sign_smile_id, signs_body=False),
    "veriff": _build_body_signer("x-hmac-signature"),
    "yousign": _build_body_signer("x-yousign-signature-256", "sha256="),
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    **{name: EntrySigner(name) for name in SIGNERS},
    "dropbox-sign": EntrySigner("dropbox-sign"),
    "transloadit": EntrySigner("transloadit-form"),
}
