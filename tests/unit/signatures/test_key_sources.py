"""Where public keys come from: selection by id, validity of certificates, and URLs that callbacks name."""

from datetime import UTC, datetime, timedelta

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
NO_SUCH_KEY = "The provider has no public key with the id that the callback names."
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
    for headers, part, message in (
        ({"x_key": "c"}, "key_id", NO_SUCH_KEY),
        ({}, "x-key", "The header x-key is missing."),
        ({"x_key": ""}, "x-key", "The header x-key is missing."),
    ):
        with pytest.raises(InvalidSignature) as caught:
            source.find_keys(build_context(**headers), DOCUMENTS)
        assert (caught.value.part, str(caught.value)) == (part, message)


def test_missing_id_in_body_is_reported_as_key_id() -> None:
    with pytest.raises(InvalidSignature) as caught:
        KeyDocument(parse_source("kid"), URL).find_keys(VerificationContext(build_callback(body=b"{}")), DOCUMENTS)
    assert (caught.value.part, str(caught.value)) == ("key_id", "The field kid is missing.")


def test_id_of_signature_selects_key_unless_keys_have_none() -> None:
    source = KeyDocument(None, URL)
    assert [index for index, _ in source.find_keys(build_context(), DOCUMENTS, "b")] == [1]
    with pytest.raises(InvalidSignature) as caught:
        source.find_keys(build_context(), DOCUMENTS, "c")
    assert str(caught.value) == NO_SUCH_KEY
    pem = ConfiguredKeys(None, (parse_public_key(export_pem(get_ec_key())),))
    assert [index for index, _ in pem.find_keys(build_context(), {}, "any")] == [0]


def test_keys_are_fixed_without_id_and_certificate() -> None:
    key = parse_public_key(export_pem(get_ec_key()))
    year = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    certificate = parse_public_key(build_certificate(get_rsa_key(), *year).decode())
    assert ConfiguredKeys(None, (key, key)).fixed_keys == (key, key)
    assert ConfiguredKeys(None, (key, certificate)).fixed_keys == ()
    assert ConfiguredKeys(parse_source("header:X-Key"), (key,)).fixed_keys == ()
    assert KeyDocument(None, URL).fixed_keys == ()


def test_number_of_tried_keys_is_limited() -> None:
    documents = {URL: build_jwks(*(export_jwk(get_ed25519_key(number + 1)) for number in range(MAX_KEYS + 5)))}
    assert len(KeyDocument(None, URL).find_keys(build_context(), documents)) == MAX_KEYS


def test_keys_of_other_types_do_not_count_as_tried() -> None:
    others = [export_jwk(get_rsa_key(), kid=f"{number}") for number in range(MAX_KEYS)]
    documents = {URL: build_jwks(*others, export_jwk(get_ec_key()))}
    [(index, key)] = KeyDocument(None, URL).find_keys(build_context(), documents, kind="ecdsa")
    assert (index, key.kind) == (MAX_KEYS, "ecdsa")
    with pytest.raises(InvalidSignature) as caught:
        KeyDocument(None, URL).find_keys(build_context(), documents, kind="ed25519")
    assert (caught.value.part, str(caught.value)) == ("keys", "The provider has no public key for ed25519.")


@pytest.mark.parametrize("document", [None, b"{}", b"<html>"])
def test_document_without_keys_is_rejected(document: bytes | None) -> None:
    documents = {"https://other.example/": DOCUMENTS[URL]} if document is None else {URL: document}
    with pytest.raises(InvalidSignature) as caught:
        KeyDocument(None, URL).find_keys(build_context(), documents)
    assert (caught.value.part, str(caught.value)) == (
        "keys",
        f"The public keys have not been fetched from {URL}."
        if document is None
        else f"The document {URL} is neither a JWKS with a public key nor a certificate.",
    )


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


def test_length_of_url_is_limited() -> None:
    longest = CERTIFICATE_URL + "a" * (2_000 - len(CERTIFICATE_URL))
    assert parse_document_host(longest, "url") == "certs.example"
    with pytest.raises(InvalidSignature) as caught:
        parse_document_host(longest + "a", "url")
    assert (caught.value.part, str(caught.value)) == (
        "url",
        "The certificate's URL is malformed: it must be plain https, without user or port.",
    )


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


@pytest.mark.parametrize("days", [0, -1])
def test_certificate_is_valid_in_its_first_and_last_second(days: int) -> None:
    not_before = datetime.fromtimestamp(NOW, UTC) + timedelta(days)
    document = build_certificate(get_rsa_key(), not_before, not_before + timedelta(1))
    [(index, _)] = CERTIFICATES.find_keys(build_context(x_cert=CERTIFICATE_URL), {CERTIFICATE_URL: document})
    assert index == 0


@pytest.mark.usefixtures("local_time")
@pytest.mark.parametrize(
    ("not_before", "not_after", "message"),
    [
        (
            datetime(2023, 1, 1, tzinfo=UTC),
            datetime(2023, 11, 14, 20, tzinfo=UTC),
            "The certificate expired on 2023-11-14.",
        ),
        (
            datetime(2023, 11, 15, 20, tzinfo=UTC),
            datetime(2024, 1, 1, tzinfo=UTC),
            "The certificate is not valid before 2023-11-15.",
        ),
    ],
)
def test_certificate_must_be_valid_at_time_of_receipt(not_before: datetime, not_after: datetime, message: str) -> None:
    assert datetime.fromtimestamp(NOW, UTC) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    document = build_certificate(get_rsa_key(), not_before, not_after)
    with pytest.raises(InvalidSignature) as caught:
        CERTIFICATES.find_keys(build_context(x_cert=CERTIFICATE_URL), {CERTIFICATE_URL: document})
    assert (caught.value.part, str(caught.value)) == ("certificate", message)


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
