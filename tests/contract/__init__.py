"""The contract of every provider, built in or declared: its callbacks are verified and parsed.

The table and the payloads of a provider are in `tests/payloads`. A new provider is tested once it has an entry in
`cases`.
"""

import hmac
import tomllib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
from tests.contract.key_signers import DOCUMENTS, KEY_SIGNERS, NAMES
from tests.contract.recipe_signers import RECIPE_SIGNERS
from tests.support.factories import NOON
from tests.support.signers import PUBLIC_URL, SIGNERS, TARGET, SignedCallback, Signer

PAYLOADS = Path(__file__).parent.parent / "payloads"
TOKEN_ONLY = "token"
NOW = 1_763_899_205
_DATE = "2025-11-23"
_MEDIA_TYPES = {
    "form": FORM_MEDIA_TYPE,
    "json": "application/json",
    "multipart": "multipart/form-data; boundary=boundary",
    "xml": "text/xml",
    "ndjson": "application/x-ndjson",
}
"""Media types by the ending of a payload's file. A `.query` is sent by GET, and an `.http` has headers of its own."""


@dataclass(frozen=True, slots=True)
class Case:
    """A provider and the expected results of its payloads.

    Args:
        vendor: the name of its table and of the folder of its payloads.
        expected: one line per report: file of the payload, or nothing for the same file as in the line before;
            reference, status, provider status, code, detail, time of day (UTC), and `poll` or `supersedes`. A file
            alone has no reports. The lines of a job are in chronological order, so that the last one is its final
            status.
        scheme: the name of its signer if it differs from the vendor, or `TOKEN_ONLY`.
        status_text: the part of the first report's provider status that occurs in the payload, if not all of it.
        event_id: the event id of the first payload, with `headers`.
        headers: headers of every callback.
        ack: the expected acknowledgement.
        method: the method of the callbacks.
        media_type: the media type if it is not the one of the file's ending.
        encode: encodes a payload, which is readable in its file, as its vendor sends it; the signer signs it before if
            `signs_encoded` is false.
        default: the status of a provider status that is not listed.
    """

    vendor: str
    expected: str
    scheme: str = ""
    status_text: str = ""
    event_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ack: Ack = field(default_factory=Ack)
    method: str = "POST"
    media_type: str = ""
    encode: Callable[[bytes], bytes] = bytes
    signs_encoded: bool = True
    default: JobStatus | None = None

    def __post_init__(self) -> None:
        ending = self.first_file.rpartition(".")[2]
        object.__setattr__(self, "media_type", self.media_type or _MEDIA_TYPES.get(ending, ""))
        if ending == "query":
            object.__setattr__(self, "method", "GET")

    def __str__(self) -> str:
        return self.vendor

    @property
    def table(self) -> dict[str, Any]:
        return _load_table(self.vendor)

    @property
    def provider(self) -> Provider:
        return _build_provider(self.vendor)

    @property
    def reports_by_file(self) -> dict[str, list[StatusReport]]:
        """The expected reports by the file of their payload."""
        return _parse_expected(self.expected)

    @property
    def signer(self) -> str:
        """The name of the signer."""
        return self.scheme or self.vendor

    @property
    def first_file(self) -> str:
        """The file of the first payload."""
        return next(iter(self.reports_by_file))

    def payload(self, file: str) -> bytes:
        """Return a payload as it is in its file, without the line break that editors add at the end."""
        return (PAYLOADS / self.vendor / file).read_bytes().removesuffix(b"\n")

    def build_callback(self, payload: bytes, **overrides: Any) -> IncomingCallback:
        """Return an unsigned callback with a payload."""
        target, headers, body = self.split_payload(payload)
        fields: dict[str, Any] = {
            "method": self.method,
            "target": target,
            "headers": self.build_headers() | headers,
            "body": self.encode(body),
            "received_at": NOON,
        }
        return IncomingCallback(**fields | overrides)

    def split_payload(self, payload: bytes) -> tuple[str, dict[str, str], bytes]:
        """Return the target, the headers and the body of a callback with a payload."""
        target = f"/callbacks/{self.vendor}"
        if self.first_file.endswith(".query"):
            return f"{target}?{payload.decode('latin-1')}", {}, b""
        if not self.first_file.endswith(".http"):
            return target, {}, payload
        head, _, body = payload.partition(b"\n\n")
        pairs = [line.partition(": ") for line in head.decode("latin-1").splitlines()]
        return target, {name.lower(): value for name, _, value in pairs}, body

    def build_headers(self) -> dict[str, str]:
        """Return the headers that every callback has."""
        return ({"content-type": self.media_type} if self.media_type else {}) | dict(self.headers)

    def reports(self) -> Iterator[StatusReport]:
        """Yield all expected reports in chronological order."""
        for reports in self.reports_by_file.values():
            yield from reports


@cache
def _load_table(vendor: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((PAYLOADS / f"{vendor}.toml").read_text())["providers"][vendor]
    return table


@cache
def _build_provider(vendor: str) -> Provider:
    return build_provider(vendor, _load_table(vendor))


@cache
def _parse_expected(expected: str) -> dict[str, list[StatusReport]]:
    reports_by_file: dict[str, list[StatusReport]] = {}
    file = ""
    for line in expected.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        file = name or file
        reports_by_file.setdefault(file, []).extend([_parse_report(*cells)] if cells else [])
    return reports_by_file


def _parse_report(reference: str, status: str, provider_status: str, *others: str) -> StatusReport:
    code, detail, time_of_day, flag = [*others, "", "", "", ""][:4]
    return StatusReport(
        reference=reference,
        status=JobStatus(status) if status else None,
        provider_status=provider_status,
        code=code or None,
        detail=detail or None,
        occurred_at=datetime.fromisoformat(f"{_DATE}T{time_of_day}+00:00") if time_of_day else None,
        superseding=flag == "supersedes",
        needs_poll=flag == "poll",
    )


_PRIVATE_KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3)]
_TELNYX_KEYS = {b64encode(key.public_key().public_bytes_raw()).decode(): key for key in _PRIVATE_KEYS}
_FAL_REQUEST_ID = "fal-1"
_FAL_KEYS = dict(zip(NAMES, _PRIVATE_KEYS, strict=False))


def _sign_twilio(secret: str, body: bytes, _: int) -> SignedCallback:
    form = "".join(f"{name}{value}" for name, value in sorted(parse_qsl(body.decode())))
    signature = b64encode(hmac.digest(secret.encode(), f"{PUBLIC_URL}{TARGET}{form}".encode(), "sha1")).decode()
    return SignedCallback({"x-twilio-signature": signature}, signature, body)


def _sign_basic(secret: str, body: bytes, _: int) -> SignedCallback:
    credentials = b64encode(secret.encode()).decode()
    return SignedCallback({"authorization": f"Basic {credentials}"}, credentials, body)


def _sign_assemblyai(secret: str, body: bytes, _: int) -> SignedCallback:
    return SignedCallback({"x-acme-webhook": secret}, secret, body)


def _sign_telnyx(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = b64encode(_TELNYX_KEYS.get(secret, _PRIVATE_KEYS[2]).sign(f"{now}|".encode() + body)).decode()
    return SignedCallback({"telnyx-signature-ed25519": signature, "telnyx-timestamp": str(now)}, signature, body)


def _sign_fal(secret: str, body: bytes, now: int) -> SignedCallback:
    values = [_FAL_REQUEST_ID, "user|1", str(now)]
    content = "\n".join([*values, sha256(body).hexdigest()]).encode()
    values.append(_FAL_KEYS.get(secret, _PRIVATE_KEYS[2]).sign(content).hex())
    names = ("request-id", "user-id", "timestamp", "signature")
    return SignedCallback(
        {f"x-fal-webhook-{name}": value for name, value in zip(names, values, strict=True)}, values[-1], body
    )


def _sign_vonage(secret: str, body: bytes, now: int) -> SignedCallback:
    claims = {"iat": now, "jti": "jti-1", "api_key": "a", "payload_hash": sha256(body).hexdigest()}
    token = b".".join(_encode_base64url(orjson.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    token += b"." + _encode_base64url(hmac.digest(secret.encode(), token, "sha256"))
    return SignedCallback({"authorization": f"Bearer {token.decode()}"}, token.decode(), body)


def _encode_base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _sign_transloadit(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = hmac.digest(secret.encode(), dict(parse_qsl(body.decode()))["transloadit"].encode(), "sha384").hex()
    return SignedCallback({}, signature, f"{body.decode()}&signature=sha384%3A{signature}".encode())


def _sign_korapay(secret: str, body: bytes, _: int) -> SignedCallback:
    """Sign the member `data`, which is the last one."""
    data = body.partition(b'"data": ')[2].rstrip().removesuffix(b"}").rstrip()
    signature = hmac.digest(secret.encode(), data, "sha256").hex()
    return SignedCallback({"x-korapay-signature": signature}, signature, body)


EXTRA_SIGNERS: Mapping[str, Signer] = {
    "twilio-form": Signer(_sign_twilio, header="x-twilio-signature"),
    "basic": Signer(_sign_basic, header="authorization", signs_body=False),
    "assemblyai": Signer(_sign_assemblyai, header="x-acme-webhook", signs_body=False),
    "telnyx": Signer(
        _sign_telnyx, header="telnyx-signature-ed25519", signed_headers=("telnyx-timestamp",), signs_time=True
    ),
    "fal": Signer(
        _sign_fal,
        header="x-fal-webhook-signature",
        signed_headers=tuple(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp")),
        signs_time=True,
    ),
    "vonage": Signer(_sign_vonage, header="authorization", signs_time=True),
    "transloadit-form": Signer(_sign_transloadit, signs_body=False),
    "korapay": Signer(_sign_korapay, header="x-korapay-signature", signs_body=False),
    **KEY_SIGNERS,
    **RECIPE_SIGNERS,
}
JWKS = {
    **DOCUMENTS,
    JWKS_URL: orjson.dumps(
        {
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "x": _encode_base64url(key.public_key().public_bytes_raw()).decode()}
                for key in _FAL_KEYS.values()
            ]
        }
    ),
}


def get_signer(case: Case) -> Signer:
    return EXTRA_SIGNERS[case.signer] if case.signer in EXTRA_SIGNERS else SIGNERS[case.signer]


def get_secrets(case: Case) -> list[str]:
    signature = case.table.get("signature", {})
    secrets: list[str] = signature.get("secrets") or signature.get("keys") or list(NAMES)
    return secrets


def sign_payload(case: Case, file: str = "", secret: str = "", signed_at: int = NOW) -> SignedCallback:
    """Sign a payload, by default the first one, as its vendor does."""
    payload, signer = case.payload(file or case.first_file), get_signer(case)
    _, headers, body = case.split_payload(payload)
    content = payload if case.method == "GET" else case.encode(body) if case.signs_encoded else body
    signed = signer.sign(secret or get_secrets(case)[0], content, signed_at)
    return replace(
        signed,
        headers=headers | signed.headers,
        body=signed.body if case.signs_encoded else case.encode(signed.body),
    )


def build_incoming(case: Case, signed: SignedCallback, **overrides: Any) -> IncomingCallback:
    """Return a signed callback that is received at `NOW`."""
    headers = case.build_headers() | signed.headers
    return signed.to_callback(NOW, **{"method": case.method, "headers": headers} | overrides)
