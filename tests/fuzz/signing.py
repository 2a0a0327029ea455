"""How the families sign that `tests.signers` has no signer for, and what is forged: signed rightly, but never good."""

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from tests.fuzz.deliveries import JSON, Sent
from tests.signers import ADYEN_BODY, PUBLIC_URL, SIGNERS, TARGET

Stamp = int | str
Sign = Callable[[bool, bytes, Stamp], Sent]
"""Signs, rightly or by a key of no one, a body at a time: Unix seconds, or a text in their place."""

TOKEN = "a-token-nobody-guesses"
SECRET, OTHER = "a secret of some length", "another secret of such length"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
_OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
_COVERED = '("@method" "@target-uri" "content-digest")'


def by_preset(name: str) -> Sign:
    """Sign as the preset's signer does, which writes a text in the place of a time as it stands."""
    signer = SIGNERS[name]

    def sign(rightly: bool, body: bytes, at: Any) -> Sent:
        made = signer.sign(signer.secret if rightly else signer.other, body, at)
        return Sent(made.target, {"content-type": JSON} | made.headers, made.body)

    return sign


def adyen_body() -> bytes:
    """Give a notification whose items carry a reference of ours, unsigned."""
    document = json.loads(ADYEN_BODY)
    for number, wrapped in enumerate(document["notificationItems"]):
        wrapped["NotificationRequestItem"]["additionalData"] = {"reference": f"job-{number}"}
    return orjson.dumps(document)


def pairs_of(encoded: bytes) -> list[tuple[str, str]]:
    """Give a form's parameters, sorted."""
    return sorted(parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"))


def _mac(content: bytes, algorithm: str, *, rightly: bool) -> bytes:
    return hmac.digest((SECRET if rightly else OTHER).encode(), content, algorithm)


def _b64(content: str, algorithm: str, *, rightly: bool) -> str:
    return b64encode(_mac(content.encode("utf-8", "surrogateescape"), algorithm, rightly=rightly)).decode()


def twilio_form(rightly: bool, body: bytes, _: Stamp) -> Sent:
    """Sign the URL and the parameters."""
    content = f"{PUBLIC_URL}{TARGET}" + "".join(name + value for name, value in sorted(set(pairs_of(body))))
    signature = _b64(content, "sha1", rightly=rightly)
    return Sent(TARGET, {"content-type": FORM_MEDIA_TYPE, "x-twilio-signature": signature}, body)


def plivo_v3(rightly: bool, body: bytes, _: Stamp) -> Sent:
    """Sign the URL, the parameters and a nonce."""
    form = "".join(name + value for name, value in pairs_of(body))
    signature = _b64(f"{PUBLIC_URL}{TARGET}{'.' + form if body else ''}.12345", "sha256", rightly=rightly)
    headers = {"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": "12345"}
    return Sent(TARGET, {"content-type": FORM_MEDIA_TYPE} | headers, body)


def basic(rightly: bool, body: bytes, _: Stamp) -> Sent:
    """Give the credentials."""
    credentials = b64encode(f"acme:{SECRET if rightly else OTHER}".encode()).decode()
    return Sent(TARGET, {"content-type": JSON, "authorization": f"Basic {credentials}"}, body)


def ed25519(rightly: bool, body: bytes, at: Stamp) -> Sent:
    """Sign time and body."""
    signature = (KEY if rightly else _OTHER_KEY).sign(f"{at}.".encode() + body)
    headers = {"x-acme-signature": b64encode(signature).decode(), "x-acme-timestamp": str(at)}
    return Sent(TARGET, {"content-type": JSON} | headers, body)


def fal(rightly: bool, body: bytes, at: Stamp) -> Sent:
    """Sign ids, time and the body's hash."""
    content = f"req-1\nuser|1\n{at}\n{sha256(body).hexdigest()}".encode()
    values = {"request-id": "req-1", "user-id": "user|1", "timestamp": str(at)}
    values["signature"] = (KEY if rightly else _OTHER_KEY).sign(content).hex()
    headers = {f"x-fal-webhook-{name}": text for name, text in values.items()}
    return Sent(TARGET, {"content-type": JSON} | headers, body)


def _b64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(head: bytes, claims: bytes, body: bytes, *, rightly: bool = True) -> Sent:
    content = f"{_b64url(head)}.{_b64url(claims)}"
    signature = _b64url(_mac(content.encode(), "sha256", rightly=rightly))
    return Sent(TARGET, {"content-type": JSON, "authorization": f"Bearer {content}.{signature}"}, body)


def jwt(rightly: bool, body: bytes, at: Stamp) -> Sent:
    """Sign claims that name the body's hash; a text in the place of the time stays text."""
    claims = {"iat": at, "jti": "jwt-1", "payload_hash": sha256(body).hexdigest()}
    return _token(b'{"alg":"HS256","typ":"JWT"}', orjson.dumps(claims), body, rightly=rightly)


def forged_jwts(body: bytes, now: int) -> Sequence[Sent]:
    """Give tokens signed by the right key whose head or claims are not to be taken."""
    told = sha256(body).hexdigest()
    head, good = b'{"alg":"HS256"}', b'{"iat":%d,"payload_hash":"%b"}' % (now, told.encode())
    heads = [
        *(b'{"alg":%b}' % alg for alg in (b'"none"', b'"HS512"', b'"hs256"', b'"RS256"', b"null", b"1", b'["HS256"]')),
        *(b'{"alg":"HS256","crit":["exp"]}', b"{}", b"[]", b"", b"null", b'"HS256"', b"{", b"\xff" * 20),
        *(b"[" * 4_000, b'{"alg":' * 500, b'{"alg":"HS256","alg":"none"}', b'{"ALG":"HS256"}', b'{"alg":"\\ud800"}'),
    ]
    times = [b"null", b"true", b'"now"', b"[]", b"{}", b"-1", b"0", b"1e3", b"1e308", b"-1e308", b"9" * 400, b"1e999"]
    times += [b'"%d"' % now, b"%d" % (now * 1_000), b"%d" % (now - 400), b"%d" % (now + 400), b"NaN", b"1.5e-300"]
    claims = [
        *(b'{"iat":%b,"payload_hash":"%b"}' % (time, told.encode()) for time in times),
        *(
            b'{"iat":%d,"exp":%b,"payload_hash":"%b"}' % (now, time, told.encode())
            for time in (*times[:8], b"%d" % now)
        ),
        *(b'{"iat":%d,"payload_hash":%b}' % (now, value) for value in (b"null", b"1", b'""', b"[]", b"{}")),
        *(b'{"iat":%d,"payload_hash":["%b"]}' % (now, told.encode()), b'{"iat":%d}' % now, b"[]", b"null", b"\x00"),
        *(b"[" * 4_000, b'{"iat":' * 500, good[:-1], good + b"}", b"\xef\xbb\xbf" + good, b"[%b]" % good),
    ]
    return [_token(each, good, body) for each in heads] + [_token(head, each, body) for each in claims]


def _message(covered: str, params: str, body: bytes, *, rightly: bool = True, digest: str = "") -> Sent:
    digest = digest or f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
    base = f'"@method": POST\n"@target-uri": {PUBLIC_URL}{TARGET}\n"content-digest": {digest}\n'
    content = f'{base}"@signature-params": {covered}{params}'.encode("latin-1", "replace")
    signature = b64encode(_mac(content, "sha256", rightly=rightly)).decode()
    headers = {"signature-input": f"sig={covered}{params}", "signature": f"sig=:{signature}:"}
    return Sent(TARGET, {"content-type": JSON, "content-digest": digest} | headers, body)


def http_message(rightly: bool, body: bytes, at: Stamp) -> Sent:
    """Sign method, URL and the body's digest by RFC 9421."""
    return _message(_COVERED, f';created={at};keyid="k"', body, rightly=rightly)


def forged_messages(body: bytes, now: int) -> Sequence[Sent]:
    """Give requests signed by the right key whose parameters, components or digest are not to be taken."""
    params = ["", ";created", ";created=", f";created=-{now}", f";created={now}.0", f';created="{now}"', ";created=?1"]
    params += [f";created={now};expires={now - 1}", f";created={now};expires=x", f";created={now};created={now}"]
    params += [f';created={now};alg="ed25519"', f';created={now};alg="none"', f";created={now};alg=hmac-sha256"]
    params += [f";created={now}{';a' * 1_500}{';created=1'}", ";created=" + "9" * 400, ";;created", f"; created={now}x"]
    covered = ["()", '("@method")', '("@method" "@method" "@target-uri" "content-digest")', "(", ")", '("@status")']
    covered += ['("@method";req "@target-uri" "content-digest")', '("@method"  "@target-uri" "content-digest")']
    covered += ['("@query-param";name="a" "@method" "@target-uri" "content-digest")', "(" * 2_000, '("' * 2_000]
    digests = ["sha-256=::", "sha-256=:AAAA:", "md5=:AAAA:", "sha-256", "=", "sha-256=:" + "A" * 5_000, ",,,"]
    return [
        *(_message(_COVERED, each, body) for each in params),
        *(_message(each, f";created={now}", body) for each in covered),
        *(_message(_COVERED, f";created={now}", body, digest=each) for each in digests),
    ]


def by_token(rightly: bool, body: bytes, _: Stamp) -> Sent:
    """Sign nothing: the URL alone tells the sender."""
    return Sent(f"/callbacks/acme/{'' if rightly else 'x'}{TOKEN}", {"content-type": JSON}, body)
