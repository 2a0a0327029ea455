"""Where public keys come from: selection by id, validity of certificates, and URLs that callbacks name."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.signatures.base import InvalidSignature
from receiver.signatures.key_sources import (
    MAX_KEYS,
    ConfiguredKeys,
    KeyDocument,
    NamedCertificate,
    parse_document_host,
)
from receiver.signatures.public_keys import parse_public_key
from receiver.signatures.sources import VerificationContext, parse_source
from tests.support.recipes import NOW, build_callback
from tests.support.signing_keys import (
    build_certificate,
    build_jwks,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

URL = "https://keys.example/jwks.json"
DOCUMENTS = {URL: build_jwks(export_jwk(get_ec_key(), kid="a"), export_jwk(get_ec_key(1), kid="b"))}
CERTIFICATE_URL = "https://certs.example/one.pem"
CERTIFICATES = NamedCertificate(None, parse_source("header:X-Cert"), ("certs.example", "*.certs.example"))
LOOKALIKES = [
    "http://certs.example/one.pem",
    "https://certs.example.evil.example/one.pem",
    "https://evilcerts.example/one.pem",
    "https://certs.example@evil.example/one.pem",
    "https://evil.example@certs.example/one.pem",
    "https://evil.example#certs.example/one.pem",
    "https://evil.example?certs.example/one.pem",
    "https://evil.example/certs.example/one.pem",
    "https://evil.example\\.certs.example/one.pem",
    "https://certs.example:443/one.pem",
    "https://certs.example:8443/one.pem",
    "https://CERTS.example/one.pem",
    "https://certs.example./one.pem",
    "https://certs。example/one.pem",
    "https://certs\u3002example/one.pem",
    "https://cert\u017f.example/one.pem",
    "https://certs.example",
    "//certs.example/one.pem",
    "https:/certs.example/one.pem",
    "https://certs.example/one.pem\r\nhost: evil.example",
    " https://certs.example/one.pem",
    "file:///certs.example/one.pem",
    "ftp://certs.example/one.pem",
    "https://127.0.0.1/one.pem",
    "https://[::1]/one.pem",
    "https://certs.example/" + "a" * 3_000,
    "https://certs.example/certs/../one.pem",
    "https://certs.example/certs/%2E%2e/one.pem",
    "https://certs.example/certs/./one.pem",
    "https://certs.example/..",
]


def build_context(**headers: str) -> VerificationContext:
    return VerificationContext(build_callback({name.replace("_", "-"): value for name, value in headers.items()}))


def test_all_keys_are_tried_without_id() -> None:
    found = KeyDocument(None, URL).find_keys(build_context(), DOCUMENTS)
    assert [(index, key.key_id) for index, key in found] == [(0, "a"), (1, "b")]


def test_id_in_callback_selects_key() -> None:
    source = KeyDocument(parse_source("header:X-Key"), URL)
    assert [index for index, _ in source.find_keys(build_context(x_key="b"), DOCUMENTS)] == [1]
    for headers in ({}, {"x_key": "c"}, {"x_key": ""}):
        with pytest.raises(InvalidSignature):
            source.find_keys(build_context(**headers), DOCUMENTS)


def test_id_of_signature_selects_key_unless_keys_have_none() -> None:
    source = KeyDocument(None, URL)
    assert [index for index, _ in source.find_keys(build_context(), DOCUMENTS, "b")] == [1]
    with pytest.raises(InvalidSignature, match="no public key with the id"):
        source.find_keys(build_context(), DOCUMENTS, "c")
    pem = ConfiguredKeys(None, (parse_public_key(export_pem(get_ec_key())),))
    assert [index for index, _ in pem.find_keys(build_context(), {}, "any")] == [0]


def test_number_of_tried_keys_is_limited() -> None:
    documents = {URL: build_jwks(*(export_jwk(get_ed25519_key(number + 1)) for number in range(MAX_KEYS + 5)))}
    assert len(KeyDocument(None, URL).find_keys(build_context(), documents)) == MAX_KEYS


def test_keys_of_other_types_do_not_count_as_tried() -> None:
    others = [export_jwk(get_rsa_key(), kid=f"{number}") for number in range(MAX_KEYS)]
    documents = {URL: build_jwks(*others, export_jwk(get_ec_key()))}
    [(index, key)] = KeyDocument(None, URL).find_keys(build_context(), documents, kind="ecdsa")
    assert (index, key.kind) == (MAX_KEYS, "ecdsa")


@pytest.mark.parametrize("documents", [{}, {URL: b"{}"}, {URL: b"<html>"}, {"https://other.example/": DOCUMENTS[URL]}])
def test_document_without_keys_is_rejected(documents: dict[str, bytes]) -> None:
    with pytest.raises(InvalidSignature) as caught:
        KeyDocument(None, URL).find_keys(build_context(), documents)
    assert caught.value.part == "keys"


def test_certificate_is_found_at_url_of_callback() -> None:
    context = build_context(x_cert=CERTIFICATE_URL)
    assert list(CERTIFICATES.find_documents(context)) == [CERTIFICATE_URL]
    assert list(CERTIFICATES.find_documents(build_context(x_cert="https://a.certs.example/x?y=1"))) == [
        "https://a.certs.example/x?y=1"
    ]
    document = build_certificate(get_rsa_key(), datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))
    [(index, key)] = CERTIFICATES.find_keys(context, {CERTIFICATE_URL: document})
    assert (index, key.kind) == (0, "rsa")


@pytest.mark.parametrize("url", LOOKALIKES)
def test_url_of_lookalike_host_is_refused_before_any_fetch(url: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        CERTIFICATES.find_documents(build_context(x_cert=url))
    assert caught.value.part == "x-cert"


def test_missing_url_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="missing"):
        CERTIFICATES.find_documents(build_context())
    with pytest.raises(InvalidSignature) as caught:
        NamedCertificate(None, None, ("certs.example",)).find_documents(build_context(x_cert=CERTIFICATE_URL))
    assert caught.value.part == "certificate_url"
    assert str(caught.value) == "The location of the certificate's URL is not configured."


@pytest.mark.parametrize("body", [b"{}", b'{"cert": "https://evil.example/one.pem"}', b'{"cert": "x"}'])
def test_refused_url_in_the_body_is_reported_as_certificate_url(body: bytes) -> None:
    source = NamedCertificate(None, parse_source("cert"), ("certs.example",))
    with pytest.raises(InvalidSignature) as caught:
        source.find_documents(VerificationContext(build_callback(body=body)))
    assert caught.value.part == "certificate_url"


def test_refused_host_is_named() -> None:
    with pytest.raises(InvalidSignature) as caught:
        CERTIFICATES.find_documents(build_context(x_cert="https://evil.example/one.pem"))
    assert str(caught.value) == "The host of the certificate's URL is not in allowed_hosts: evil.example."


@given(st.text() | st.from_regex(r"https://[ -~]*"))
def test_arbitrary_url_yields_plain_host_or_is_refused(url: str) -> None:
    try:
        host = parse_document_host(url, "url")
    except InvalidSignature:
        return
    assert url.startswith(f"https://{host}/")
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@pytest.mark.parametrize(
    ("not_before", "not_after", "message"),
    [
        (datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 11, 14, tzinfo=UTC), "expired on 2023-11-14"),
        (datetime(2023, 11, 15, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC), "not valid before 2023-11-15"),
    ],
)
def test_certificate_must_be_valid_at_time_of_receipt(not_before: datetime, not_after: datetime, message: str) -> None:
    assert datetime.fromtimestamp(NOW, UTC).date() == datetime(2023, 11, 14, tzinfo=UTC).date()
    document = build_certificate(get_rsa_key(), not_before, not_after)
    with pytest.raises(InvalidSignature, match=message) as caught:
        CERTIFICATES.find_keys(build_context(x_cert=CERTIFICATE_URL), {CERTIFICATE_URL: document})
    assert caught.value.part == "certificate"


def test_document_that_is_no_certificate_is_rejected() -> None:
    """Another document of an allowed host may have keys of anybody."""
    for document in (build_jwks(export_jwk(get_rsa_key())), export_pem(get_rsa_key()).encode()):
        with pytest.raises(InvalidSignature, match="is no certificate"):
            CERTIFICATES.find_keys(build_context(x_cert=CERTIFICATE_URL), {CERTIFICATE_URL: document})


def test_path_of_certificate_may_be_limited() -> None:
    source = NamedCertificate(None, parse_source("header:X-Cert"), ("certs.example",), "/certs/")
    url = "https://certs.example/certs/one"
    assert list(source.find_documents(build_context(x_cert=url))) == [url]
    for other in ("https://certs.example/one", "https://certs.example/certs", "https://certs.example/x/certs/one"):
        with pytest.raises(InvalidSignature, match="does not begin with /certs/") as caught:
            source.find_documents(build_context(x_cert=other))
        assert caught.value.part == "x-cert"
