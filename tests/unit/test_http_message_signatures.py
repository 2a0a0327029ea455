"""HTTP Message Signatures: the RFC's own examples, bases written out by hand, and everything that is refused."""

import hmac
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256, sha512
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.http_messages import HTTPMessageSignatures, parse_key
from receiver.signatures.keys import PublicKey

# RFC 9421, appendix B.2 (the request), B.1.5 and B.1.4 (the keys), B.2.5 and B.2.6 (the signatures).
RFC_AT = 1_618_884_473
RFC_SECRET = "base64:uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
RFC_PUBLIC = "ed25519:JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
RFC_HEADERS = {
    "host": "example.com",
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "content-digest": "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm"
    "+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    "content-length": "18",
}
RFC_BODY = b'{"hello": "world"}'
B25 = {
    "signature-input": 'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
    "signature": "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
}
B26 = {
    "signature-input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"',
    "signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
}

AT = 1_767_312_000
SECRET = "a shared secret"
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = "ed25519:" + b64encode(SIGNER.public_key().public_bytes_raw()).decode()
PUBLIC_URL = "https://Receiver.example:443/in"
TARGET = "/callbacks/acme?a=1&b=%20"
BODY = b'{"state":"DONE"}'
DIGEST = f"sha-256=:{b64encode(sha256(BODY).digest()).decode()}:"
COVERED = '("@method" "@target-uri" "content-digest")'
SCHEME = HTTPMessageSignatures([SECRET])
Headers = dict[str, str]

VALUES = {
    "@method": "POST",
    "@target-uri": f"{PUBLIC_URL}{TARGET}",
    "@authority": "receiver.example",
    "@scheme": "https",
    "@path": "/in/callbacks/acme",
    "@query": "?a=1&b=%20",
    "@request-target": "/in/callbacks/acme?a=1&b=%20",
    "content-digest": DIGEST,
}


def by_secret(content: str) -> bytes:
    return hmac.digest(SECRET.encode(), content.encode(), "sha256")


def by_key(content: str) -> bytes:
    return SIGNER.sign(content.encode())


def signed(
    covered: str = COVERED, params: str = f";created={AT}", *, sign: Any = by_secret, label: str = "sig1", **other: str
) -> Headers:
    """Give a signed request's headers; `other` are further headers, or values in the place of the true ones."""
    values = VALUES | {name.replace("_", "-"): value for name, value in other.items()}
    names = [item.strip('"') for item in covered.strip("()").split(" ") if item]
    base = "".join(f'"{name}": {values.get(name, "")}\n' for name in names) + f'"@signature-params": {covered}{params}'
    return {name: value for name, value in values.items() if not name.startswith("@")} | {
        "signature-input": f"{label}={covered}{params}",
        "signature": f"{label}=:{b64encode(sign(base)).decode()}:",
    }


SIGNED = signed()


def incoming(headers: Headers = SIGNED, body: bytes = BODY, *, now: float = AT, **parts: str) -> IncomingCallback:
    given = {"method": "POST", "target": TARGET, "public_url": PUBLIC_URL} | parts
    at = datetime.fromtimestamp(now, UTC)
    return IncomingCallback(given["method"], given["target"], headers, body, at, given["public_url"])


def refusal(given: IncomingCallback, scheme: HTTPMessageSignatures = SCHEME) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(given)
    assert SECRET not in str(caught.value)
    return caught.value.part


def changed(text: str, position: int, actor: int) -> str:
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + actor) % 256) + text[position + 1 :]


def rfc_delivery(signature: Headers) -> IncomingCallback:
    return incoming(
        RFC_HEADERS | signature,
        RFC_BODY,
        now=RFC_AT,
        target="/foo?param=Value&Pet=dog",
        public_url="https://example.com",
    )


def test_the_rfcs_example_by_a_shared_secret_verifies() -> None:
    scheme = HTTPMessageSignatures([RFC_SECRET], components=("date", "@authority", "content-type"))
    assert scheme.verify(rfc_delivery(B25)) == 0
    assert refusal(rfc_delivery(B25), HTTPMessageSignatures([RFC_SECRET])) == "signature-input"


def test_the_rfcs_example_by_ed25519_verifies() -> None:
    scheme = HTTPMessageSignatures([RFC_PUBLIC], components=("@method", "@path", "@authority"))
    assert scheme.verify(rfc_delivery(B26)) == 0
    assert scheme.verify(rfc_delivery({name: f"{B25[name]}, {B26[name]}" for name in B26})) == 0


def test_the_rfcs_request_has_the_digest_of_its_body() -> None:
    headers = signed(content_digest=RFC_HEADERS["content-digest"])
    assert SCHEME.verify(incoming(headers, RFC_BODY)) == 0


def test_a_request_signed_by_either_algorithm_verifies() -> None:
    assert SCHEME.verify(incoming()) == 0
    assert HTTPMessageSignatures([PUBLIC]).verify(incoming(signed(sign=by_key))) == 0
    assert SCHEME.message_id(incoming()) == ""


@pytest.mark.parametrize(
    "name", ["@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"]
)
def test_every_derived_component_is_that_of_the_public_url(name: str) -> None:
    scheme = HTTPMessageSignatures([SECRET], components=(name,))
    assert scheme.verify(incoming(signed(f'("{name}")'))) == 0
    assert refusal(incoming(signed(f'("{name}")', **{name: "other"})), scheme) == "signature"


@pytest.mark.parametrize(
    ("public_url", "target", "name", "value"),
    [
        ("https://a.example", "", "@path", "/"),
        ("https://a.example", "/x", "@query", "?"),
        ("https://a.example", "/x", "@request-target", "/x"),
        ("https://a.example", "/x?", "@request-target", "/x?"),
        ("https://a.example:8443", "/", "@authority", "a.example:8443"),
        ("http://a.example:80", "/", "@authority", "a.example"),
        ("http://a.example:443", "/", "@authority", "a.example:443"),
        ("https://user:1@A.example", "/", "@authority", "a.example"),
        ("https://[2001:DB8::1]:443", "/", "@authority", "[2001:db8::1]"),
        ("http://a.example", "/", "@scheme", "http"),
    ],
)
def test_derived_components_are_normalised_as_the_rfc_says(public_url: str, target: str, name: str, value: str) -> None:
    scheme = HTTPMessageSignatures([SECRET], components=(name,))
    given = incoming(signed(f'("{name}")', **{name: value}), public_url=public_url, target=target)
    assert scheme.verify(given) == 0


@pytest.mark.parametrize("public_url", ["", "ftp://a.example", "https://", "nonsense"])
def test_without_a_public_url_nothing_is_derived_from_it(public_url: str) -> None:
    assert refusal(incoming(public_url=public_url)) == "@target-uri"


def test_a_configured_public_url_stands_in_for_that_of_the_delivery() -> None:
    behind_a_proxy = incoming(public_url="http://10.0.0.1:8080")
    assert HTTPMessageSignatures([SECRET], public_url=PUBLIC_URL).verify(behind_a_proxy) == 0
    assert refusal(behind_a_proxy) == "signature"


def test_any_live_key_may_have_signed_and_its_place_is_told() -> None:
    assert HTTPMessageSignatures(["retired", PUBLIC, SECRET]).verify(incoming()) == 2
    assert HTTPMessageSignatures(["retired", PUBLIC]).verify(incoming(signed(sign=by_key))) == 1
    assert refusal(incoming(), HTTPMessageSignatures(["retired", PUBLIC])) == "signature"
    assert refusal(incoming(), HTTPMessageSignatures([])) == "signature"


def test_the_kind_of_the_key_decides_the_algorithm() -> None:
    raw = SIGNER.public_key().public_bytes_raw()
    by_public_bytes = signed(sign=lambda content: hmac.digest(raw, content.encode(), "sha256"))
    assert refusal(incoming(by_public_bytes), HTTPMessageSignatures([PUBLIC])) == "signature"
    same_bytes = HTTPMessageSignatures([PUBLIC.replace("ed25519:", "base64:")])
    assert same_bytes.verify(incoming(by_public_bytes)) == 0
    assert refusal(incoming(signed(sign=by_key)), same_bytes) == "signature"


@pytest.mark.parametrize("alg", ['"ed25519"', '"rsa-v1_5-sha256"', '"none"', '""', "hmac-sha256", "1", "?1"])
def test_a_named_algorithm_must_be_that_of_the_key(alg: str) -> None:
    assert SCHEME.verify(incoming(signed(params=f';created={AT};alg="hmac-sha256"'))) == 0
    assert refusal(incoming(signed(params=f";created={AT};alg={alg}"))) == "signature"


def test_any_of_several_signatures_may_match() -> None:
    other = signed(label="proxy", sign=by_key)
    both = {name: f"{other[name]},\t{SIGNED[name]}" for name in ("signature-input", "signature")}
    assert SCHEME.verify(incoming(SIGNED | both)) == 0
    assert refusal(incoming(SIGNED | {"signature": other["signature"]})) == "signature"


@pytest.mark.parametrize("left_out", ["@method", "@target-uri", "content-digest"])
def test_a_signature_must_cover_what_is_asked_of_it(left_out: str) -> None:
    covered = COVERED.replace(f'"{left_out}"', '"@path"')
    assert refusal(incoming(signed(covered))) == "signature-input"


def test_a_signature_may_cover_more() -> None:
    covered = COVERED.replace(")", ' "x-event")')
    assert SCHEME.verify(incoming(signed(covered, x_event="done"))) == 0
    assert refusal(incoming(signed(covered, x_event="done") | {"x-event": "lost"})) == "signature"
    assert SCHEME.verify(incoming(signed(covered, x_event="done") | {"x-event": " done\t"})) == 0


@pytest.mark.parametrize(
    "covered",
    [
        '("@method" "@target-uri" "content-digest";sf)',
        '("@method" "@target-uri" "content-digest";bs)',
        '("@method" "@target-uri" "content-digest" "x";key="a")',
        '("@method" "@target-uri" "content-digest" "@query-param";name="a")',
        '("@method" "@target-uri" "content-digest" "@status")',
        '("@method" "@target-uri" "content-digest" "@signature-params")',
        '("@method" "@target-uri" "content-digest" "@method")',
        '("@method" "@target-uri" "content-digest" "Date")',
        '("@method" "@target-uri" "content-digest" "a b")',
        '("@method"  "@target-uri" "content-digest")',
        '( "@method" "@target-uri" "content-digest")',
        "(@method @target-uri content-digest)",
        "()",
        "(",
    ],
)
def test_components_that_are_unsupported_or_malformed_are_refused(covered: str) -> None:
    assert refusal(incoming(signed(covered))) == "signature-input"


@pytest.mark.parametrize("age", [0, 300, -300])
def test_the_tolerance_has_two_sides_and_its_bounds_are_within(age: float) -> None:
    assert SCHEME.verify(incoming(now=AT + age)) == 0


@pytest.mark.parametrize("age", [300.5, -300.5, 1e8, -1e8])
def test_a_stale_or_future_signature_is_refused(age: float) -> None:
    assert refusal(incoming(now=AT + age)) == "created"
    assert HTTPMessageSignatures([SECRET], tolerance=2e8).verify(incoming(now=AT + age)) == 0


def test_an_expired_signature_is_refused() -> None:
    headers = signed(params=f";created={AT};expires={AT + 60}")
    assert SCHEME.verify(incoming(headers, now=AT + 59)) == 0
    assert refusal(incoming(headers, now=AT + 60)) == "expires"


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ("", "created"),
        (";created", "created"),
        (f";created=-{AT}", "created"),
        (f';created="{AT}"', "created"),
        (";created=999999999999999", "created"),
        (f";created={AT};expires=never", "expires"),
        (f";created={AT};created={AT}", "signature-input"),
        (f";created={AT}.5", "signature-input"),
        (f"; created={AT}", "signature-input"),
        (f";created={AT};", "signature-input"),
        (f";created={AT} ;x", "signature-input"),
    ],
)
def test_malformed_parameters_are_refused(params: str, part: str) -> None:
    assert refusal(incoming(signed(params=params))) == part


@pytest.mark.parametrize("params", [';nonce="a\\"b;created=1"', ";tag=:AAAA:", ";a=?1;b=token;c=1", ';keyid=""'])
def test_further_parameters_are_signed_and_otherwise_left_alone(params: str) -> None:
    assert SCHEME.verify(incoming(signed(params=f";created={AT}{params}"))) == 0


@pytest.mark.parametrize("header", ["signature-input", "signature"])
@pytest.mark.parametrize("value", ["", " ", ",", "sig1", "sig1=", "SIG1=:AAAA:", "é\ud800", "sig1=:AAAA:,", "sig1=()"])
def test_a_missing_or_malformed_header_is_refused(header: str, value: str) -> None:
    assert refusal(incoming(SIGNED | {header: value})) in {"signature-input", "signature"}


@pytest.mark.parametrize("header", ["signature-input", "signature"])
def test_a_label_that_stands_twice_is_refused(header: str) -> None:
    assert refusal(incoming(SIGNED | {header: f"{SIGNED[header]}, {SIGNED[header]}"})) == header


def test_a_signed_header_that_is_missing_is_refused_by_name() -> None:
    headers = {name: value for name, value in SIGNED.items() if name != "content-digest"}
    assert refusal(incoming(headers)) == "content-digest"


def test_no_component_can_hide_in_the_value_of_another() -> None:
    covered = COVERED.replace(")", ' "a")')
    assert refusal(incoming(signed(covered, a='1\n"b": 2'))) == "a"
    assert refusal(incoming(signed(**{"@method": 'P\n"a": 1'}), method='P\n"a": 1')) == "@method"


SHA512 = f"sha-512=:{b64encode(sha512(BODY).digest()).decode()}:"


@pytest.mark.parametrize("digest", [SHA512, f"{SHA512}, {DIGEST}", f"md5=:AAAA:, {DIGEST}"])
def test_any_known_digest_of_the_body_will_do(digest: str) -> None:
    assert SCHEME.verify(incoming(signed(content_digest=digest))) == 0


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "md5=:AAAA:",
        "sha-256=::",
        "sha-256=:AAAA:",
        DIGEST.replace("sha-256", "SHA-256"),
        DIGEST.replace("sha-256", "sha-512"),
        DIGEST.replace("=:", ":", 2),
        f"{SHA512}, sha-256=:AAAA:",
        f"{DIGEST}, {DIGEST}",
    ],
)
def test_a_wrong_or_malformed_digest_is_refused_though_it_is_signed(digest: str) -> None:
    assert refusal(incoming(signed(content_digest=digest))) == "content-digest"


@given(position=st.integers(0, len(BODY) - 1), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_body_is_refused(position: int, actor: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + actor) % 256
    assert refusal(incoming(body=bytes(body))) == "content-digest"


@given(header=st.sampled_from(sorted(SIGNED)), position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_header_is_refused(header: str, position: int, actor: int) -> None:
    refusal(incoming(SIGNED | {header: changed(SIGNED[header], position, actor)}))


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_an_ed25519_signature_is_refused(position: int, actor: int) -> None:
    headers = signed(sign=by_key)
    value = changed(headers["signature"], position, actor)
    assert refusal(incoming(headers | {"signature": value}), HTTPMessageSignatures([PUBLIC])) == "signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_target_is_refused(position: int, actor: int) -> None:
    assert refusal(incoming(target=changed(TARGET, position, actor))) in {"signature", "@target-uri"}


fragments = st.sampled_from(['sig1=("', '@method"', ' "', ";created=", str(AT), ")", "sig1=:", ":", ",", '"', "\\"])


@given(
    headers=st.dictionaries(
        st.sampled_from(sorted(SIGNED)), st.text() | st.lists(fragments | st.text(max_size=3)).map("".join)
    ),
    body=st.binary(),
    method=st.text(),
    target=st.text(),
    public_url=st.just(PUBLIC_URL) | st.text(),
)
def test_whatever_arrives_is_refused_and_never_breaks(
    *, headers: Headers, body: bytes, method: str, target: str, public_url: str
) -> None:
    given = incoming(SIGNED | headers, body + b"!", method=method, target=target, public_url=public_url)
    refusal(given)
    refusal(given, HTTPMessageSignatures([PUBLIC]))


@pytest.mark.parametrize("text", ['sig1=("' + "a" * 50_000, "sig1=()" + ";a=b" * 20_000 + "!", "a=::," * 20_000])
def test_a_long_malformed_header_is_read_once(text: str) -> None:
    assert refusal(incoming(SIGNED | {"signature-input": text})) == "signature-input"


def test_a_key_is_a_public_one_or_a_secret_in_base64_or_as_text() -> None:
    assert parse_key(PUBLIC) == PublicKey(SIGNER.public_key().public_bytes_raw())
    assert parse_key("base64:AAEC") == b"\0\1\2"
    assert parse_key("pässword") == "pässword".encode()


@pytest.mark.parametrize(
    "secret", ["", "\ud800", "base64:", "base64:!", "base64:\ud800", "ed25519:", "ed25519:AAAA", "ed25519:!"]
)
def test_a_malformed_key_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        HTTPMessageSignatures([SECRET, secret])


@pytest.mark.parametrize("components", [(), ("Date",), ("@status",), ('a"',), ("",), ("@method", "content-digest;sf")])
def test_components_that_cannot_be_asked_for_are_refused(components: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSecret, match="components"):
        HTTPMessageSignatures([SECRET], components=components)


def test_a_verifier_never_shows_its_keys() -> None:
    assert SECRET not in repr(SCHEME)
