"""The algorithms of tokens, the kind of key that each needs, and what is wrong with a malformed token."""

import pytest

from receiver.signatures.base import InvalidSignature
from receiver.signatures.jose import JoseHeader, decode_part, find_algorithm_errors, parse_header, parse_object
from tests.support.signing_keys import encode_base64url

NOT_CANONICAL = "The token is not canonical base64url."
NO_OBJECT = "A part of the token is not a JSON object without repeated names."


@pytest.mark.parametrize(
    ("algorithms", "has_secrets", "errors"),
    [
        (["HS256", "HS512"], True, []),
        (["RS256", "HS256", "EdDSA"], True, ["RS256, EdDSA: Requires keys, jwks_url or certificate_url."]),
        (["RS256", "EdDSA"], False, []),
        (["HS256", "RS256", "HS512"], False, ["HS256, HS512: Requires secrets."]),
    ],
)
def test_algorithm_of_another_kind_of_key_is_refused(
    algorithms: list[str], *, has_secrets: bool, errors: list[str]
) -> None:
    assert find_algorithm_errors(algorithms, has_secrets=has_secrets) == errors


@pytest.mark.parametrize("encoded", [b"AA==", b"AB", b"A", b"+/+/", b"A\nAA", b"A\xff"])
def test_part_that_is_not_canonical_base64url_is_refused(encoded: bytes) -> None:
    for decode in (decode_part, parse_object):
        with pytest.raises(InvalidSignature) as caught:
            decode(encoded, "claims")
        assert (caught.value.part, str(caught.value)) == ("claims", NOT_CANONICAL)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"a":NaN}', b'{"a":-1e999}', b"\xff"]
)
def test_part_that_is_no_plain_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidSignature) as caught:
        parse_object(encode_base64url(text).encode(), "claims")
    assert (caught.value.part, str(caught.value)) == ("claims", NO_OBJECT)


def test_header_has_defaults_for_what_it_leaves_out() -> None:
    whole = b'{"alg":"ES256","kid":"1","jku":"https://keys.example/","b64":false,"crit":["b64"]}'
    for text, header in (
        (b'{"alg":"ES256"}', JoseHeader("ES256")),
        (b'{"alg":"ES256","kid":1,"jku":null}', JoseHeader("ES256", "", "", b64=True)),
        (whole, JoseHeader("ES256", "1", "https://keys.example/", b64=False)),
    ):
        assert parse_header(encode_base64url(text).encode(), allows_b64=True) == header


@pytest.mark.parametrize(
    ("header", "part", "message"),
    [
        (b'{"typ":"JWT"}', "alg", "The token names no algorithm."),
        (b'{"alg":["ES256"]}', "alg", "The token names no algorithm."),
        (b'{"alg":"ES256","b64":true}', "crit", "The token has critical extensions, which are not supported."),
        (b"{}}", "alg", NO_OBJECT),
    ],
)
def test_refused_header_is_explained(header: bytes, part: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        parse_header(encode_base64url(header).encode(), allows_b64=True)
    assert (caught.value.part, str(caught.value)) == (part, message)
