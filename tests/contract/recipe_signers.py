"""Signers of providers that sign by HMAC, a plain hash or a secret, by the standard library."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import md5, sha512

import orjson
from defusedxml.ElementTree import fromstring

from tests.support.signers import PUBLIC_URL, TARGET, SignedCallback, Signer

_CALLBACK_PATH = TARGET.partition("?")[0]


def _hmac(secret: str, content: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), content, algorithm)


def _hmac_base64(secret: str, content: bytes, algorithm: str = "sha256") -> str:
    return b64encode(_hmac(secret, content, algorithm)).decode()


def _sign_twilio_query(secret: str, body: bytes, _: int) -> SignedCallback:
    query = body.decode()
    spelling = query.replace("%3A", ":").replace("%40", "@")
    signature = _hmac_base64(secret, f"{PUBLIC_URL}{_CALLBACK_PATH}?{spelling}".encode(), "sha1")
    return SignedCallback({"x-twilio-signature": signature}, signature, b"", f"{_CALLBACK_PATH}?{query}")


def _build_equals_signer(header: str, prefix: str = "") -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        return SignedCallback({header: prefix + secret}, secret, body)

    return Signer(sign, header=header, prefix=prefix, signs_body=False)


def _sign_dropbox(secret: str, body: bytes, _: int) -> SignedCallback:
    document = orjson.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    event = document["event"]
    signature = _hmac(secret, f"{event['event_time']}{event['event_type']}".encode()).hex()
    return SignedCallback({}, signature, body.replace(b'"event_hash": ""', f'"event_hash": "{signature}"'.encode()))


def _sign_midtrans(secret: str, body: bytes, _: int) -> SignedCallback:
    document = orjson.loads(body)
    content = f"{document['order_id']}{document['status_code']}{document['gross_amount']}{secret}"
    document["signature_key"] = sha512(content.encode()).hexdigest()
    return SignedCallback({}, document["signature_key"], orjson.dumps(document))


def _build_body_signer(header: str, *, base64: bool) -> Signer:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        signature = _hmac_base64(secret, body) if base64 else _hmac(secret, body).hex()
        return SignedCallback({header: signature}, signature, body)

    return Signer(sign, header=header)


def _sign_wechat_pay(secret: str, body: bytes, _: int) -> SignedCallback:
    values = {child.tag: child.text for child in fromstring(body)}
    pairs = [f"{name}={value}" for name, value in sorted(values.items()) if value and name != "sign"]
    signature = md5("&".join([*pairs, f"key={secret}"]).encode()).hexdigest().upper()
    signed_body = body.replace(b"<sign><![CDATA[]]>", f"<sign><![CDATA[{signature}]]>".encode())
    return SignedCallback({}, signature, signed_body)


RECIPE_SIGNERS: Mapping[str, Signer] = {
    "twilio-query": Signer(_sign_twilio_query, header="x-twilio-signature", signs_body=False),
    "google-drive": _build_equals_signer("x-goog-channel-token"),
    "bright-data": _build_equals_signer("authorization", "Bearer "),
    "dropbox-sign": Signer(_sign_dropbox, signs_body=False),
    "midtrans": Signer(_sign_midtrans, signs_body=False),
    "getstream": _build_body_signer("x-signature", base64=False),
    "wechat-pay": Signer(_sign_wechat_pay, signs_body=False),
}
