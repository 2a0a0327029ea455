"""The contract that every provider keeps, built in or declared: its callbacks are verified and understood.

A provider's table and payloads stand in `tests/payloads`; a new one joins by an entry in `cases`.
"""

import hmac
import tomllib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.domain.callbacks import FORM_MEDIA_TYPE, Ack, IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.signatures.fal import JWKS_URL
from tests.factories import NOON
from tests.signers import PUBLIC_URL, SIGNERS, TARGET, SignedCallback, Signer

PAYLOADS = Path(__file__).parent.parent / "payloads"
TOKEN_ONLY = "token"
NOW = 1_763_899_205
_DAY = "2025-11-23"


@dataclass(frozen=True, slots=True)
class Case:
    """A provider and what it says.

    Args:
        vendor: names its table and payloads.
        says: a line for each report: its payload's file, or nothing where that is the one before; reference, status,
            the provider's word, code, detail, time of day (UTC), and `asks` or `supersedes`. A file alone says nothing.
            Each job's lines stand in the order in which they happen, so that the last one tells where it ends.
        scheme: names its signer, if that is not named as the vendor, or is `TOKEN_ONLY`.
        word: what of the first line's word stands in its payload, if not all of it.
        event_id: of the first payload, with `headers`.
        headers: that every callback has.
        ack: the answer it wants.
    """

    vendor: str
    says: str
    scheme: str = ""
    word: str = ""
    event_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ack: Ack = field(default_factory=Ack)

    def __str__(self) -> str:
        return self.vendor

    @property
    def table(self) -> dict[str, Any]:
        return _table(self.vendor)

    @property
    def provider(self) -> Provider:
        return _provider(self.vendor)

    @property
    def said(self) -> dict[str, list[StatusReport]]:
        """Give the reports by the files of their payloads."""
        return _said(self.says)

    @property
    def signer(self) -> str:
        """The name of its signer."""
        return self.scheme or self.vendor

    @property
    def first(self) -> str:
        """The file of the first payload."""
        return next(iter(self.said))

    @property
    def media_type(self) -> str:
        return FORM_MEDIA_TYPE if self.first.endswith(".form") else "application/json"

    def payload(self, file: str) -> bytes:
        """Give a payload as it is sent; an editor's last line end is none of it."""
        return (PAYLOADS / self.vendor / file).read_bytes().removesuffix(b"\n")

    def incoming(self, body: bytes, **overrides: Any) -> IncomingCallback:
        """Give an unsigned callback."""
        given: dict[str, Any] = {
            "method": "POST",
            "target": f"/callbacks/{self.vendor}",
            "headers": {"content-type": self.media_type, **self.headers},
            "body": body,
            "received_at": NOON,
        }
        return IncomingCallback(**given | overrides)

    def reports(self) -> Iterator[StatusReport]:
        """Give all reports in the order in which they happen."""
        for reports in self.said.values():
            yield from reports


@cache
def _table(vendor: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((PAYLOADS / f"{vendor}.toml").read_text())["providers"][vendor]
    return table


@cache
def _provider(vendor: str) -> Provider:
    return build_provider(vendor, _table(vendor))


@cache
def _said(says: str) -> dict[str, list[StatusReport]]:
    said: dict[str, list[StatusReport]] = {}
    file = ""
    for line in says.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        file = name or file
        said.setdefault(file, []).extend([_report(*cells)] if cells else [])
    return said


def _report(reference: str, status: str, word: str, *more: str) -> StatusReport:
    code, detail, at, mark = [*more, "", "", "", ""][:4]
    return StatusReport(
        reference=reference,
        status=JobStatus(status) if status else None,
        provider_status=word,
        code=code or None,
        detail=detail or None,
        occurred_at=datetime.fromisoformat(f"{_DAY}T{at}+00:00") if at else None,
        superseding=mark == "supersedes",
        needs_poll=mark == "asks",
    )


_PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3)]
_KEYS = {b64encode(key.public_key().public_bytes_raw()).decode(): key for key in _PRIVATE}
_FAL_ID = "fal-1"
_FAL_KEYS = dict(zip(["first", "second"], _PRIVATE, strict=False))


def _twilio(secret: str, body: bytes, _: int) -> SignedCallback:
    form = "".join(f"{name}{value}" for name, value in sorted(parse_qsl(body.decode())))
    signature = b64encode(hmac.digest(secret.encode(), f"{PUBLIC_URL}{TARGET}{form}".encode(), "sha1")).decode()
    return SignedCallback({"x-twilio-signature": signature}, signature, body)


def _basic(secret: str, body: bytes, _: int) -> SignedCallback:
    credentials = b64encode(secret.encode()).decode()
    return SignedCallback({"authorization": f"Basic {credentials}"}, credentials, body)


def _assemblyai(secret: str, body: bytes, _: int) -> SignedCallback:
    return SignedCallback({"x-acme-webhook": secret}, secret, body)


def _telnyx(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = b64encode(_KEYS.get(secret, _PRIVATE[2]).sign(f"{now}|".encode() + body)).decode()
    return SignedCallback({"telnyx-signature-ed25519": signature, "telnyx-timestamp": str(now)}, signature, body)


def _fal(secret: str, body: bytes, now: int) -> SignedCallback:
    values = [_FAL_ID, "user|1", str(now)]
    content = "\n".join([*values, sha256(body).hexdigest()]).encode()
    values.append(_FAL_KEYS.get(secret, _PRIVATE[2]).sign(content).hex())
    names = ("request-id", "user-id", "timestamp", "signature")
    return SignedCallback(
        {f"x-fal-webhook-{name}": value for name, value in zip(names, values, strict=True)}, values[-1], body
    )


def _vonage(secret: str, body: bytes, now: int) -> SignedCallback:
    claims = {"iat": now, "jti": "jti-1", "api_key": "a", "payload_hash": sha256(body).hexdigest()}
    token = b".".join(_b64url(orjson.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    token += b"." + _b64url(hmac.digest(secret.encode(), token, "sha256"))
    return SignedCallback({"authorization": f"Bearer {token.decode()}"}, token.decode(), body)


def _b64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


OTHERS: Mapping[str, Signer] = {
    "twilio-form": Signer(_twilio, header="x-twilio-signature"),
    "basic": Signer(_basic, header="authorization", signs_body=False),
    "assemblyai": Signer(_assemblyai, header="x-acme-webhook", signs_body=False),
    "telnyx": Signer(_telnyx, header="telnyx-signature-ed25519", signed_headers=("telnyx-timestamp",), signs_time=True),
    "fal": Signer(
        _fal,
        header="x-fal-webhook-signature",
        signed_headers=tuple(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp")),
        signs_time=True,
    ),
    "vonage": Signer(_vonage, header="authorization", signs_time=True),
}
JWKS = {
    JWKS_URL: orjson.dumps(
        {
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "x": _b64url(key.public_key().public_bytes_raw()).decode()}
                for key in _FAL_KEYS.values()
            ]
        }
    )
}


def signer_of(case: Case) -> Signer:
    return OTHERS[case.signer] if case.signer in OTHERS else SIGNERS[case.signer]


def secrets_of(case: Case) -> list[str]:
    secrets: list[str] = case.table["signature"].get("secrets", list(_FAL_KEYS))
    return secrets


def sign(case: Case, file: str = "", secret: str = "", at: int = NOW) -> SignedCallback:
    """Sign a payload, the first one unless told otherwise, as its vendor does."""
    return signer_of(case).sign(secret or secrets_of(case)[0], case.payload(file or case.first), at)


def sent(case: Case, signed: SignedCallback, **overrides: Any) -> IncomingCallback:
    """Give a signed callback as it is received, now."""
    headers = {"content-type": case.media_type, **case.headers, **signed.headers}
    return signed.incoming(NOW, **{"headers": headers} | overrides)
