"""The removal of secrets from callbacks: every place and spelling, and what must stay."""

import gzip
import json
from base64 import b64encode
from html import escape
from typing import Any
from urllib.parse import urlencode

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import CallbackAuth, Scheme, fingerprint_secret
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.jwt import Jwt
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.redaction import REDACTED, REDACTED_BODY, Redactor, find_token_fingerprint
from receiver.signatures.twilio import Twilio
from tests.support.recipes import build_callback

TOKEN = "an-unguessable-token"
MARKER = f"[redacted:{fingerprint_secret(TOKEN)}]"
SECRET = 'a "sécret" of theirs'
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


def redact(auth: CallbackAuth, **fields: Any) -> IncomingCallback:
    return auth.redactor.redact(build_callback(**fields))


def build_equals(source: str, secret: str = SECRET, **fields: Any) -> CallbackAuth:
    return CallbackAuth(Recipe(source=source, secrets=[secret], algorithm="equals", **fields))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (json.dumps(SECRET), b'{"id":1e2,  "auth": {"token": "[redacted]"}}'),
        (json.dumps(SECRET, ensure_ascii=False), b'{"id":1e2,  "auth": {"token": "[redacted]"}}'),
        (json.dumps(SECRET).replace("t", "\\u0074"), b'{"id": 100.0, "auth": {"token": "[redacted]"}}'),
    ],
)
def test_secret_in_json_is_redacted_at_its_place(written: str, kept: bytes) -> None:
    body = f'{{"id":1e2,  "auth": {{"token": {written}}}}}'.encode()
    assert redact(build_equals("auth.token"), body=body, headers=JSON).body == kept


def test_wrong_value_at_the_secrets_place_is_redacted() -> None:
    auth = build_equals("auth.token")
    assert redact(auth, body=b'{"auth": {"token": "old"}}', headers=JSON).body == b'{"auth": {"token": "[redacted]"}}'
    assert redact(auth, body=b'{"auth": {"token": 12}}', headers=JSON).body == b'{"auth": {"token": "[redacted]"}}'
    assert redact(auth, body=b'"auth"', headers=JSON).body == b'"auth"'


def test_secret_of_each_item_is_redacted() -> None:
    auth = build_equals("key", items="items")
    body = json.dumps({"items": [{"key": SECRET, "id": 1}, {"key": "other", "id": 2}]}).encode()
    items = json.loads(redact(auth, body=body, headers=JSON).body)["items"]
    assert items == [{"key": REDACTED, "id": 1}, {"key": REDACTED, "id": 2}]


def test_secret_in_form_is_redacted_however_it_is_encoded() -> None:
    body = b"id=a%20b&key=%61+%22s%C3%A9cret%22+of+theirs&key2=x"
    assert redact(build_equals("key"), body=body, headers=FORM).body == b"id=a%20b&key=[redacted]&key2=x"


MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "source", "body", "kept"),
    [
        ("xml", "a.key", "<a><key>{}</key><id>1</id></a>", "<a><key>[redacted]</key><id>1</id></a>"),
        ("xml", 'a."@key"', '<a key="{}"/>', '<a key="[redacted]"/>'),
        ("form", "payload.key", "payload=%7B%22key%22%3A%22{}%22%7D", "payload=%7B%22key%22%3A%22[redacted]%22%7D"),
        (
            "json",
            "text.key",
            '{{"text":"{{\\"key\\":\\"{}\\"}}","id":1}}',
            '{"text":"{\\"key\\":\\"[redacted]\\"}","id":1}',
        ),
        (
            "multipart",
            "key",
            '--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n{}\r\n--b--',
            '--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n[redacted]\r\n--b--',
        ),
    ],
)
@pytest.mark.parametrize("secret", ["s3", "s3-and-more-of-it"])
def test_secret_in_body_of_any_kind_is_redacted(kind: str, source: str, body: str, kept: str, secret: str) -> None:
    auth = build_equals(source, "the configured one", body_kind=kind)
    redacted = redact(
        auth, body=body.format(secret).encode(), headers={"content-type": MULTIPART} if kind == "multipart" else {}
    )
    assert redacted.body == kept.encode()


def test_body_is_redacted_whole_if_its_secret_cannot_be() -> None:
    auth = build_equals("data.key", "the configured one")
    text = b64encode(b'{"key":"some-secret"}').decode()
    assert redact(auth, body=json.dumps({"data": text}).encode()).body == REDACTED_BODY


def test_secret_in_compressed_body_is_redacted() -> None:
    auth = build_equals("key", "the configured one")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    redacted = redact(auth, body=gzip.compress(b'{"key":"some-secret"}'), headers=headers)
    assert (redacted.body, redacted.headers) == (b'{"key":"[redacted]"}', JSON)
    compressed = gzip.compress(b'{"id":"1"}')
    assert redact(auth, body=compressed, headers=headers) == build_callback(body=compressed, headers=headers)
    assert redact(auth, body=b"no gzip", headers=headers).body == REDACTED_BODY


def test_undecodable_body_without_a_place_for_secrets_is_kept() -> None:
    headers = {"content-encoding": "gzip"}
    assert redact(CallbackAuth(None, (TOKEN,)), body=b"no gzip", headers=headers).body == b"no gzip"


def test_secret_of_eight_characters_is_redacted_anywhere() -> None:
    redactor = Redactor(values=["12345678", "1234567"])
    assert redactor.redact_text("1234567 12345678") == "1234567 [redacted]"
    auth = build_equals("auth.token", "12345678")
    assert redact(auth, body=b'{"auth": {"token": "12345678"', headers=JSON).body == b'{"auth": {"token": "[redacted]"'


def test_secret_in_malformed_body_is_redacted() -> None:
    body = b'{"auth": {"token": "0123456789abcdef"'
    assert b"0123456789abcdef" not in redact(build_equals("auth.token", "0123456789abcdef"), body=body).body


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("json", json.dumps({"key": SECRET})[:-1]),
        ("json", f'{{"key":{json.dumps(SECRET)}}}\n' * 2),
        ("form", f"{urlencode({'key': SECRET})}&key=other"),
        ("xml", f"<a><key>{escape(SECRET, quote=False)}</key>"),
    ],
)
def test_secret_whose_place_cannot_be_read_is_redacted_in_any_spelling(kind: str, written: str) -> None:
    redacted = redact(build_equals("key").with_body_kind(kind), body=written.encode())
    assert REDACTED.encode() in redacted.body
    assert b"of theirs" not in redacted.body
    assert b"of+theirs" not in redacted.body


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("id=1&sig=0123456789abcdef", "id=1&sig=[redacted]"),
        ("%73ig=0123456789abcdef&id=%31", "%73ig=[redacted]&id=%31"),
        ("sig=wrong", "sig=[redacted]"),
        ("other=0123456789abcde%66", "other=[redacted]"),
        ("0123456789abcdef", "[redacted]"),
        ("0123456789abcde%66", "[redacted]"),
        ("sig=a=b", "sig=[redacted]"),
        ("id=1%61&other", "id=1%61&other"),
    ],
)
def test_secret_in_query_is_redacted_in_any_spelling(query: str, kept: str) -> None:
    target = f"/callbacks/acme?{query}"
    assert redact(build_equals("query:sig", "0123456789abcdef"), target=target).target == f"/callbacks/acme?{kept}"


def test_secret_in_header_is_redacted_with_its_copies() -> None:
    headers = {"x-key": "wrong", "x-original-uri": "/x?k=0123456789abcde%66", "x-copy": "0123456789abcdef", "x-id": "1"}
    redacted = redact(build_equals("header:X-Key", "0123456789abcdef"), headers=headers)
    assert redacted.headers == {"x-key": REDACTED, "x-original-uri": REDACTED, "x-copy": REDACTED, "x-id": "1"}


def test_basic_credentials_are_redacted() -> None:
    auth = CallbackAuth(Recipe(source="header:Authorization", secrets=["user:password"], algorithm="basic"))
    credentials = b64encode(b"user:password").decode()
    headers = {"authorization": f"Basic {credentials}", "x-forwarded-authorization": credentials}
    assert set(redact(auth, headers=headers).headers.values()) == {REDACTED}


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        (Jwt(["secret"]), "authorization"),
        (PRESETS["sinch-voice"](secrets=["c2VjcmV0"]), "authorization"),
        (PRESETS["github"](secrets=["secret"]), "x-hub-signature-256"),
        (HTTPMessageSignatures([]), "signature"),
        (Twilio(["token"]), "x-twilio-signature"),
    ],
)
def test_signature_is_kept_and_credentials_are_not(scheme: Scheme, name: str) -> None:
    headers = {"cookie": "session=1", "authorization": "Bearer theirs", "proxy-authorization": "x", name: "signature"}
    redacted = redact(CallbackAuth(scheme), headers=headers).headers
    assert redacted[name] == "signature"
    assert all(redacted[other] == REDACTED for other in headers if other != name)


def test_callback_without_secrets_is_the_same_object() -> None:
    incoming = build_callback({"x-hub-signature-256": "sha256=00"})
    assert CallbackAuth(PRESETS["github"](secrets=["secret"])).redact(incoming) is incoming


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (f"/callbacks/acme/{TOKEN}", f"/callbacks/acme/{MARKER}"),
        (f"http://h/callbacks/acme/{TOKEN}?a=1", f"http://h/callbacks/acme/{MARKER}?a=1"),
        (f"/callbacks/acme/%61{TOKEN[1:]}", f"/callbacks/acme/{MARKER}"),
        (f"/callbacks/acme/{TOKEN}?back=%2Fcallbacks%2Facme%2F{TOKEN}", f"/callbacks/acme/{MARKER}?back=[redacted]"),
        ("/callbacks/acme/guess", "/callbacks/acme/[redacted]"),
    ],
)
def test_url_token_is_redacted_in_any_spelling(target: str, kept: str) -> None:
    assert redact(CallbackAuth(None, (TOKEN,)), target=target).target == kept


def test_url_token_is_redacted_in_headers_and_body() -> None:
    url = f"https://h.example/callbacks/acme/{TOKEN}"
    redacted = redact(
        CallbackAuth(None, (TOKEN,)), headers={"x-original-url": url}, body=json.dumps({"webhook": url}).encode()
    )
    assert redacted.headers == {"x-original-url": REDACTED}
    assert json.loads(redacted.body) == {"webhook": f"https://h.example/callbacks/acme/{MARKER}"}


def test_redacted_callback_with_restored_token_verifies_again() -> None:
    auth = CallbackAuth(
        Recipe(source="header:X-Sig", secrets=["s"], signed="{url}{body}"), (TOKEN, "other-token-of-it")
    )
    incoming = build_callback(target=f"/callbacks/acme/{TOKEN}?a=1", body=f'{{"url": "{TOKEN}"}}'.encode())
    redacted = auth.redactor.redact(incoming)
    assert TOKEN not in redacted.target + redacted.body.decode()
    assert auth.redactor.restore_tokens(redacted) == incoming
    assert CallbackAuth(None, ("new-token-of-theirs",)).redactor.restore_tokens(redacted) == redacted


def test_redaction_of_redacted_callback_changes_nothing() -> None:
    auth = CallbackAuth(Recipe(source="auth.token", secrets=[SECRET], algorithm="equals"), (TOKEN,))
    body = json.dumps({"auth": {"token": SECRET}, "url": TOKEN}).encode()
    once = redact(auth, target=f"/callbacks/acme/{TOKEN}?q={TOKEN}", body=body, headers={**JSON, "cookie": "x"})
    assert auth.redactor.redact(once) == once


def test_handshake_token_is_redacted() -> None:
    auth = CallbackAuth(PRESETS["meta"](secrets=["s"]), other_secrets=("query:hub.verify_token", "header:x-verify"))
    redacted = redact(auth, target="/callbacks/meta?hub%2Everify_token=it&hub.challenge=1", headers={"x-verify": "it"})
    assert redacted.target == "/callbacks/meta?hub%2Everify_token=[redacted]&hub.challenge=1"
    assert redacted.headers == {"x-verify": REDACTED}


def test_text_that_quotes_secrets_is_redacted() -> None:
    redactor = CallbackAuth(None, (TOKEN,)).redactor
    assert redactor.redact_text(f"signed for https://h.example/callbacks/acme/{TOKEN}: set") == (
        f"signed for https://h.example/callbacks/acme/{MARKER}: set"
    )


def test_token_fingerprint_is_found_in_redacted_target() -> None:
    assert find_token_fingerprint(f"/callbacks/acme/{MARKER}?a=1") == fingerprint_secret(TOKEN)
    assert find_token_fingerprint("/callbacks/acme") is None


def test_repr_hides_secrets() -> None:
    assert TOKEN not in repr(Redactor({TOKEN: "00000000"}, [SECRET]))


def test_undecodable_value_at_the_secrets_place_is_redacted() -> None:
    auth = build_equals("token")
    assert redact(auth, body=b"a=1&token=old%FF", headers=FORM).body == b"a=1&token=[redacted]"


def test_undecodable_secret_is_redacted_in_content() -> None:
    assert Redactor(values=["s\udcffcret-of-theirs"]).redact_bytes(b"x s\xffcret-of-theirs") == b"x [redacted]"


def test_undecodable_value_in_a_body_of_parts_is_redacted() -> None:
    auth = build_equals("key", "the configured one", body_kind="multipart")
    body = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n%b\r\n--b--'
    redacted = redact(auth, body=body % b"old\xff one", headers={"content-type": MULTIPART})
    assert redacted.body == body % b"[redacted]"


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        "a+%22s%C3%A9cret%22+of+theirs",
        escape(f"{SECRET}<&>", quote=False).removesuffix("&lt;&amp;&gt;"),
    ],
)
def test_secret_in_unreadable_body_is_redacted_in_every_spelling(spelling: str) -> None:
    body = f"<<{spelling}>>".encode()
    assert redact(build_equals("auth.token"), body=body, headers=JSON).body == b"<<[redacted]>>"


def test_quotes_of_a_secret_are_plain_in_the_text_of_xml() -> None:
    body = b'{<t>a "b" &amp; c, of theirs</t>'
    redacted = redact(build_equals("auth.token", 'a "b" & c, of theirs'), body=body, headers=JSON)
    assert redacted.body == b"{<t>[redacted]</t>"


def test_value_with_equals_signs_is_redacted_in_a_form() -> None:
    auth = build_equals("token", "c2VjcmV0IG9m==")
    for written in (b"c2VjcmV0IG9m==", b"%632VjcmV0IG9m==", b"a=="):
        assert redact(auth, body=b"a=1&token=" + written, headers=FORM).body == b"a=1&token=[redacted]"
