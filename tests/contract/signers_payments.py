"""Signers of catalog entries: payments and payouts. Written from the documentation of their vendors."""

import hmac
from base64 import b64encode
from collections.abc import Mapping

from tests.contract.entry_signer import EntrySigner
from tests.support.signers import SignedCallback, Signer
from tests.support.signing_keys import export_pem, get_rsa_key

_WISE_KEY = export_pem(get_rsa_key())


def _build_hmac_signer(header: str, algorithm: str = "sha256") -> Signer:
    """Return a signer by an HMAC of the body in hex."""

    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        signature = hmac.digest(secret.encode(), body, algorithm).hex()
        return SignedCallback({header: signature}, signature, body)

    return Signer(sign, header=header)


def _sign_cashfree(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = str(now * 1_000)
    signature = b64encode(hmac.digest(secret.encode(), timestamp.encode() + body, "sha256")).decode()
    return SignedCallback({"x-webhook-signature": signature, "x-webhook-timestamp": timestamp}, signature, body)


def _sign_adyen_transfers(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = b64encode(hmac.digest(bytes.fromhex(secret), body, "sha256")).decode()
    return SignedCallback({"hmacsignature": signature}, signature, body)


def _sign_reloadly(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = str(now * 1_000)
    signature = hmac.digest(secret.encode(), body + f":{timestamp}".encode(), "sha256").hex()
    headers = {"x-reloadly-signature": signature, "x-reloadly-request-timestamp": timestamp}
    return SignedCallback(headers, signature, body)


def _sign_xendit(secret: str, body: bytes, _: int) -> SignedCallback:
    return SignedCallback({"x-callback-token": secret}, secret, body)


SIGNERS: Mapping[str, Signer] = {
    "monnify": _build_hmac_signer("monnify-signature", "sha512"),
    "fincra": _build_hmac_signer("signature", "sha512"),
    "gocardless": _build_hmac_signer("webhook-signature"),
    "razorpay": _build_hmac_signer("x-razorpay-signature"),
    "dwolla": _build_hmac_signer("x-request-signature-sha-256"),
    "cashfree": Signer(
        _sign_cashfree, header="x-webhook-signature", signed_headers=("x-webhook-timestamp",), signs_time=True
    ),
    "adyen-transfers": Signer(_sign_adyen_transfers, header="hmacsignature"),
    "checkout-com": _build_hmac_signer("cko-signature"),
    "reloadly": Signer(
        _sign_reloadly,
        header="x-reloadly-signature",
        signed_headers=("x-reloadly-request-timestamp",),
        signs_time=True,
    ),
    "xendit": Signer(_sign_xendit, header="x-callback-token", signs_body=False),
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    "monnify": EntrySigner("monnify"),
    "fincra": EntrySigner("fincra"),
    "korapay": EntrySigner("korapay"),
    "paypal-payouts": EntrySigner("paypal", secret="first"),
    "gocardless": EntrySigner("gocardless"),
    "razorpay-payouts": EntrySigner("razorpay"),
    "cashfree-payouts": EntrySigner("cashfree"),
    "wise": EntrySigner("wise", secret=_WISE_KEY),
    "dwolla": EntrySigner("dwolla"),
    "adyen-transfers": EntrySigner("adyen-transfers"),
    "plaid-assets": EntrySigner("plaid", secret="first"),
    "midtrans": EntrySigner("midtrans"),
    "wechat-pay": EntrySigner("wechat-pay"),
    "modern-treasury": EntrySigner("getstream"),
    "truelayer": EntrySigner("truelayer", secret="first"),
    "checkout-com": EntrySigner("checkout-com"),
    "xendit-payouts": EntrySigner("xendit"),
    "reloadly": EntrySigner("reloadly"),
}
