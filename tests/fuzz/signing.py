"""Signers of the families that `tests.support.signers` does not cover, and forged requests with valid signatures."""

import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import md5, sha256
from typing import Any
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from tests.fuzz.deliveries import JSON, FuzzRequest
from tests.support.signers import PUBLIC_URL, SIGNERS, TARGET

Timestamp = int | str
SignFunction = Callable[[bool, bytes, Timestamp], FuzzRequest]
"""Signs a body at a time (Unix seconds, or any text), with the configured key or, if not `valid`, an unknown one."""

TOKEN = "an-unguessable-token"
SECRET, OTHER_SECRET = "a secret of some length", "another secret of such length"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = PRIVATE_KEY.public_key().public_bytes_raw()
_OTHER_PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
_COVERED_COMPONENTS = '("@method" "@target-uri" "content-digest")'


def build_preset_signer(name: str) -> SignFunction:
    """Return the preset's signer; a text instead of a time is used unchanged."""
    signer = SIGNERS[name]

    def sign(valid: bool, body: bytes, at: Any) -> FuzzRequest:
        signed = signer.sign(signer.secret if valid else signer.other_secret, body, at)
        return FuzzRequest(signed.target, {"content-type": JSON} | signed.headers, signed.body)

    return sign


def sign_raw_member(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Sign the body as the member `data` of another one, which is not signed as a whole."""
    signature = _compute_mac(body, "sha256", valid=valid).hex()
    return FuzzRequest(TARGET, {"content-type": JSON, "x-acme-signature": signature}, b'{"event":1,"data":%b}' % body)


def sign_parameters(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Add the MD5 of the sorted parameters that are not empty, followed by the secret, to a form."""
    pairs = [f"{name}={value}" for name, value in sorted(set(parse_sorted_form(body))) if value]
    content = "&".join([*pairs, f"key={SECRET if valid else OTHER_SECRET}"])
    signature = md5(content.encode("utf-8", "surrogateescape")).hexdigest()
    return FuzzRequest(TARGET, {"content-type": FORM_MEDIA_TYPE}, b"%b&sign=%b" % (body, signature.encode()))


def parse_sorted_form(encoded: bytes) -> list[tuple[str, str]]:
    """Return a form's parameters, sorted."""
    return sorted(parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"))


def _compute_mac(content: bytes, algorithm: str, *, valid: bool) -> bytes:
    return hmac.digest((SECRET if valid else OTHER_SECRET).encode(), content, algorithm)


def _compute_base64_mac(content: str, algorithm: str, *, valid: bool) -> str:
    return b64encode(_compute_mac(content.encode("utf-8", "surrogateescape"), algorithm, valid=valid)).decode()


def sign_twilio_form(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Sign the URL and the parameters."""
    content = f"{PUBLIC_URL}{TARGET}" + "".join(name + value for name, value in sorted(set(parse_sorted_form(body))))
    signature = _compute_base64_mac(content, "sha1", valid=valid)
    return FuzzRequest(TARGET, {"content-type": FORM_MEDIA_TYPE, "x-twilio-signature": signature}, body)


def sign_plivo_v3(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Sign the URL, the parameters and a nonce."""
    form = "".join(name + value for name, value in parse_sorted_form(body))
    signature = _compute_base64_mac(f"{PUBLIC_URL}{TARGET}{'.' + form if body else ''}.12345", "sha256", valid=valid)
    headers = {"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": "12345"}
    return FuzzRequest(TARGET, {"content-type": FORM_MEDIA_TYPE} | headers, body)


def sign_basic(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Add HTTP Basic credentials."""
    credentials = b64encode(f"acme:{SECRET if valid else OTHER_SECRET}".encode()).decode()
    return FuzzRequest(TARGET, {"content-type": JSON, "authorization": f"Basic {credentials}"}, body)


def sign_ed25519(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign timestamp and body."""
    signature = (PRIVATE_KEY if valid else _OTHER_PRIVATE_KEY).sign(f"{at}.".encode() + body)
    headers = {"x-acme-signature": b64encode(signature).decode(), "x-acme-timestamp": str(at)}
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)


def sign_fal(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign ids, timestamp and the body's hash."""
    content = f"req-1\nuser|1\n{at}\n{sha256(body).hexdigest()}".encode()
    values = {"request-id": "req-1", "user-id": "user|1", "timestamp": str(at)}
    values["signature"] = (PRIVATE_KEY if valid else _OTHER_PRIVATE_KEY).sign(content).hex()
    headers = {f"x-fal-webhook-{name}": text for name, text in values.items()}
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)


def _encode_base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign_token(head: bytes, claims: bytes, body: bytes, *, valid: bool = True) -> FuzzRequest:
    content = f"{_encode_base64url(head)}.{_encode_base64url(claims)}"
    signature = _encode_base64url(_compute_mac(content.encode(), "sha256", valid=valid))
    return FuzzRequest(TARGET, {"content-type": JSON, "authorization": f"Bearer {content}.{signature}"}, body)


def sign_jwt(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign claims with the body's hash; a text instead of a time stays text."""
    claims = {"iat": at, "jti": "jwt-1", "payload_hash": sha256(body).hexdigest()}
    return _sign_token(b'{"alg":"HS256","typ":"JWT"}', orjson.dumps(claims), body, valid=valid)


def build_forged_jwts(body: bytes, now: int) -> Sequence[FuzzRequest]:
    """Return tokens with valid signatures whose header or claims must be rejected."""
    digest = sha256(body).hexdigest()
    valid_head, valid_claims = b'{"alg":"HS256"}', b'{"iat":%d,"payload_hash":"%b"}' % (now, digest.encode())
    heads = [
        *(b'{"alg":%b}' % alg for alg in (b'"none"', b'"HS512"', b'"hs256"', b'"RS256"', b"null", b"1", b'["HS256"]')),
        *(b'{"alg":"HS256","crit":["exp"]}', b"{}", b"[]", b"", b"null", b'"HS256"', b"{", b"\xff" * 20),
        *(b"[" * 4_000, b'{"alg":' * 500, b'{"alg":"HS256","alg":"none"}', b'{"ALG":"HS256"}', b'{"alg":"\\ud800"}'),
    ]
    times = [b"null", b"true", b'"now"', b"[]", b"{}", b"-1", b"0", b"1e3", b"1e308", b"-1e308", b"9" * 400, b"1e999"]
    times += [b'"%d"' % now, b"%d" % (now * 1_000), b"%d" % (now - 400), b"%d" % (now + 400), b"NaN", b"1.5e-300"]
    claims = [
        *(b'{"iat":%b,"payload_hash":"%b"}' % (time, digest.encode()) for time in times),
        *(
            b'{"iat":%d,"exp":%b,"payload_hash":"%b"}' % (now, time, digest.encode())
            for time in (*times[:8], b"%d" % now)
        ),
        *(b'{"iat":%d,"payload_hash":%b}' % (now, value) for value in (b"null", b"1", b'""', b"[]", b"{}")),
        *(b'{"iat":%d,"payload_hash":["%b"]}' % (now, digest.encode()), b'{"iat":%d}' % now, b"[]", b"null", b"\x00"),
        *(
            b"[" * 4_000,
            b'{"iat":' * 500,
            valid_claims[:-1],
            valid_claims + b"}",
            b"\xef\xbb\xbf" + valid_claims,
            b"[%b]" % valid_claims,
        ),
    ]
    return [_sign_token(head, valid_claims, body) for head in heads] + [
        _sign_token(valid_head, claim_set, body) for claim_set in claims
    ]


def _sign_message(covered: str, params: str, body: bytes, *, valid: bool = True, digest: str = "") -> FuzzRequest:
    digest = digest or f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
    base = f'"@method": POST\n"@target-uri": {PUBLIC_URL}{TARGET}\n"content-digest": {digest}\n'
    content = f'{base}"@signature-params": {covered}{params}'.encode("latin-1", "replace")
    signature = b64encode(_compute_mac(content, "sha256", valid=valid)).decode()
    headers = {"signature-input": f"sig={covered}{params}", "signature": f"sig=:{signature}:"}
    return FuzzRequest(TARGET, {"content-type": JSON, "content-digest": digest} | headers, body)


def sign_http_message(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign method, URL and the body's digest as in RFC 9421."""
    return _sign_message(_COVERED_COMPONENTS, f';created={at};keyid="k"', body, valid=valid)


def build_forged_messages(body: bytes, now: int) -> Sequence[FuzzRequest]:
    """Return requests with valid signatures whose parameters, components or digest must be rejected."""
    params = ["", ";created", ";created=", f";created=-{now}", f";created={now}.0", f';created="{now}"', ";created=?1"]
    params += [f";created={now};expires={now - 1}", f";created={now};expires=x", f";created={now};created={now}"]
    params += [f';created={now};alg="ed25519"', f';created={now};alg="none"', f";created={now};alg=hmac-sha256"]
    params += [f";created={now}{';a' * 1_500}{';created=1'}", ";created=" + "9" * 400, ";;created", f"; created={now}x"]
    covered = ["()", '("@method")', '("@method" "@method" "@target-uri" "content-digest")', "(", ")", '("@status")']
    covered += ['("@method";req "@target-uri" "content-digest")', '("@method"  "@target-uri" "content-digest")']
    covered += ['("@query-param";name="a" "@method" "@target-uri" "content-digest")', "(" * 2_000, '("' * 2_000]
    digests = ["sha-256=::", "sha-256=:AAAA:", "md5=:AAAA:", "sha-256", "=", "sha-256=:" + "A" * 5_000, ",,,"]
    return [
        *(_sign_message(_COVERED_COMPONENTS, value, body) for value in params),
        *(_sign_message(components, f";created={now}", body) for components in covered),
        *(_sign_message(_COVERED_COMPONENTS, f";created={now}", body, digest=digest) for digest in digests),
    ]


def sign_token_url(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Sign nothing; the URL token authenticates the sender."""
    return FuzzRequest(f"/callbacks/acme/{'' if valid else 'x'}{TOKEN}", {"content-type": JSON}, body)
