"""Signers of catalog entries: runs, shipping, email, carriers. Written from the documentation of their vendors."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

import orjson

from receiver.providers.catalog.entries import load_entry
from tests.contract.entry_signer import EntrySigner
from tests.support.signers import SignedCallback, Signer

_SENDGRID_KEY = load_entry("sendgrid").parameters["verification_key"].example


def _build_body_signer(header: str, prefix: str = "", algorithm: str = "sha256", *, base64: bool = False) -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        digest = hmac.digest(secret.encode(), body, algorithm)
        signature = b64encode(digest).decode() if base64 else digest.hex()
        return SignedCallback({header: prefix + signature}, signature, body)

    return Signer(sign, header=header, prefix=prefix)


def _build_equals_signer(header: str) -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        return SignedCallback({header: secret}, secret, body)

    return Signer(sign, header=header, signs_body=False)


def _sign_buildkite(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = hmac.digest(secret.encode(), f"{now}.".encode() + body, "sha256").hex()
    return SignedCallback({"x-buildkite-signature": f"timestamp={now},signature={signature}"}, signature, body)


def _sign_lob(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = f"{now}000"
    signature = hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()
    return SignedCallback({"lob-signature": signature, "lob-signature-timestamp": timestamp}, signature, body)


def _sign_mailgun(secret: str, body: bytes, now: int) -> SignedCallback:
    document, token = orjson.loads(body), sha256(body).hexdigest()[:50]
    signature = hmac.digest(secret.encode(), f"{now}{token}".encode(), "sha256").hex()
    document["signature"] = {"timestamp": str(now), "token": token, "signature": signature}
    return SignedCallback({}, signature, orjson.dumps(document))


SIGNERS: Mapping[str, Signer] = {
    "aftership": _build_body_signer("aftership-hmac-sha256", base64=True),
    "buildkite": Signer(_sign_buildkite, header="x-buildkite-signature", signs_time=True),
    "circleci": _build_body_signer("circleci-signature", "v1="),
    "easypost": _build_body_signer("x-hmac-signature", "hmac-sha256-hex="),
    "firecrawl": _build_body_signer("x-firecrawl-signature", "sha256="),
    "gitlab": _build_equals_signer("x-gitlab-token"),
    "lob": Signer(_sign_lob, header="lob-signature", signed_headers=("lob-signature-timestamp",)),
    "mailersend": _build_body_signer("signature"),
    "mailgun": Signer(_sign_mailgun, signs_body=False, signs_time=True),
    "vercel": _build_body_signer("x-vercel-signature", algorithm="sha1"),
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    "aftership": EntrySigner("aftership"),
    "amazon-ses": EntrySigner("sns", secret="first"),
    "bright-data": EntrySigner("bright-data"),
    "buildkite": EntrySigner("buildkite"),
    "circleci": EntrySigner("circleci"),
    "cloud-build": EntrySigner("pubsub", secret="first"),
    "easypost-trackers": EntrySigner("easypost"),
    "firecrawl": EntrySigner("firecrawl"),
    "gitlab": EntrySigner("gitlab"),
    "lob": EntrySigner("lob"),
    "mailersend": EntrySigner("mailersend"),
    "mailgun": EntrySigner("mailgun"),
    "pubsub": EntrySigner("pubsub", secret="first"),
    "sendgrid": EntrySigner("sendgrid", secret=_SENDGRID_KEY),
    "shipengine": EntrySigner("shipengine", secret="first"),
    "sns": EntrySigner("sns", secret="first"),
    "vercel": EntrySigner("vercel"),
}
