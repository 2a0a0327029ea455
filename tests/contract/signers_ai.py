"""Signers of catalog entries: AI services. Written from the documentation of their vendors."""

import hmac
from collections.abc import Mapping

from tests.contract.entry_signer import EntrySigner
from tests.contract.key_signers import NAMES
from tests.support.signers import SignedCallback, Signer


def _build_secret_signer(header: str, prefix: str = "") -> Signer:
    """Return the signer of a vendor that sends the secret itself in a header."""

    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        return SignedCallback({header: prefix + secret}, secret, body)

    return Signer(sign, header=header, prefix=prefix, signs_body=False)


def _compute_hmac(secret: str, content: bytes) -> str:
    return hmac.digest(secret.encode(), content, "sha256").hex()


def _build_body_signer(header: str, prefix: str = "") -> Signer:
    """Return the signer of a vendor that signs the body alone."""

    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        signature = _compute_hmac(secret, body)
        return SignedCallback({header: prefix + signature}, signature, body)

    return Signer(sign, header=header, prefix=prefix)


def _sign_elevenlabs(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = _compute_hmac(secret, f"{now}.".encode() + body)
    return SignedCallback({"elevenlabs-signature": f"t={now},v0={signature}"}, signature, body)


def _sign_retell(secret: str, body: bytes, now: int) -> SignedCallback:
    """Sign the body and then the time in milliseconds, without a separator."""
    signature = _compute_hmac(secret, body + f"{now}000".encode())
    return SignedCallback({"x-retell-signature": f"v={now}000,d={signature}"}, signature, body)


def _sign_synthesia(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = _compute_hmac(secret, f"{now}.".encode() + body)
    return SignedCallback({"synthesia-signature": signature, "synthesia-timestamp": str(now)}, signature, body)


SIGNERS: Mapping[str, Signer] = {
    "webhook-secret": _build_secret_signer("x-webhook-secret"),
    "authorization-bearer": _build_secret_signer("authorization", "Bearer "),
    "scale-ai": _build_secret_signer("scale-callback-auth"),
    "heygen": _build_body_signer("heygen-signature"),
    "black-forest-labs": _build_body_signer("x-bfl-signature", "sha256="),
    "mindee": _build_body_signer("x-mindee-hmac-signature"),
    "elevenlabs": Signer(_sign_elevenlabs, header="elevenlabs-signature", signs_time=True),
    "retell": Signer(_sign_retell, header="x-retell-signature", signs_time=True),
    "synthesia": Signer(
        _sign_synthesia, header="synthesia-signature", signed_headers=("synthesia-timestamp",), signs_time=True
    ),
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    "assemblyai": EntrySigner("webhook-secret"),
    "black-forest-labs": EntrySigner("black-forest-labs"),
    "elevenlabs-agents": EntrySigner("elevenlabs"),
    "elevenlabs-speech-to-text": EntrySigner("elevenlabs"),
    "fal": EntrySigner("fal", NAMES[0], {"user_id": "user|1"}),
    "heygen": EntrySigner("heygen"),
    "leonardo": EntrySigner("authorization-bearer"),
    "mindee": EntrySigner("mindee"),
    "retell": EntrySigner("retell"),
    "rev-ai": EntrySigner("authorization-bearer"),
    "scale-ai": EntrySigner("scale-ai"),
    "soniox": EntrySigner("webhook-secret"),
    "synthesia": EntrySigner("synthesia"),
    "vapi": EntrySigner("authorization-bearer"),
}
