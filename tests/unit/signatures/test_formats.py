"""How signatures are written at their location: several headers, lists, pairs and sets of pairs."""

from dataclasses import replace
from typing import Any

import pytest

from receiver.signatures.recipe import Recipe
from tests.support.recipes import BODY, NOW, build_callback, build_recipe, compute_mac, expect_rejection

HEADERS = ("X-Sig-2", "X-Sig-3")


def sign_at(time: int, key: bytes = "sécret".encode()) -> str:
    return compute_mac(f"{time}.".encode() + BODY, key=key)


def build_set_recipe(**options: Any) -> Recipe:
    pairs = {"format": "pairs", "pair": "v1", "signed": "{timestamp}.{body}", "timestamp": "pair:t"}
    return build_recipe(**pairs, unit="s", tolerance=300, **{"set_separator": " "} | options)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-sig": compute_mac(BODY)},
        {"x-sig": "0" * 64, "x-sig-3": compute_mac(BODY)},
        {"x-sig": "", "x-sig-2": "zz", "x-sig-3": compute_mac(BODY).upper()},
        {"x-sig-2": compute_mac(BODY), "x-sig-3": "0" * 64},
    ],
)
def test_signature_in_any_of_several_headers_may_match(headers: dict[str, str]) -> None:
    assert build_recipe(other_headers=HEADERS).verify(build_callback(headers)) == 0


def test_no_signature_in_any_of_several_headers_is_rejected() -> None:
    scheme = build_recipe(other_headers=HEADERS)
    missing = expect_rejection(scheme, build_callback({"x-sig-4": compute_mac(BODY)}))
    assert (missing.part, str(missing)) == ("x-sig", "The header x-sig is missing.")
    wrong = expect_rejection(scheme, build_callback({"x-sig": "0" * 64, "x-sig-3": "1" * 64}))
    assert str(wrong) == "The signature in x-sig or x-sig-2 or x-sig-3 does not match any configured secret."
    assert "malformed" in str(expect_rejection(scheme, build_callback({"x-sig-3": "zz"})))


def test_headers_together_have_a_limit_of_signatures() -> None:
    scheme = build_recipe(format="list", other_headers=HEADERS)
    value = " ".join(["0" * 64] * 8)
    assert "match" in str(expect_rejection(scheme, build_callback({"x-sig": value, "x-sig-2": value})))
    callback = build_callback({"x-sig": value, "x-sig-2": value, "x-sig-3": compute_mac(BODY)})
    assert "more than 16 signatures" in str(expect_rejection(scheme, callback))


def test_headers_that_hold_signatures_or_secrets_are_known() -> None:
    signing = build_recipe(other_headers=HEADERS)
    assert (signing.signature_headers, signing.secret_headers) == (["x-sig", "x-sig-2", "x-sig-3"], ())
    bearing = build_recipe(other_headers=HEADERS, algorithm="equals")
    assert (bearing.signature_headers, bearing.secret_headers) == ((), ["x-sig", "x-sig-2", "x-sig-3"])
    for scheme in (signing, bearing):
        assert scheme.carries_signature(build_callback({"x-sig-3": "x"}))
        assert not scheme.carries_signature(build_callback({"x-sig-4": "x"}))


@pytest.mark.parametrize(
    "value",
    [
        f"t={NOW},v1={sign_at(NOW)}",
        f"t={NOW},v1={sign_at(NOW)} t={NOW - 9},v1={'0' * 64}",
        f"t={NOW - 9},v1={'0' * 64} t={NOW},v1={sign_at(NOW)}",
        f"t={NOW - 9000},v1={sign_at(NOW - 9000)} t={NOW},v1={sign_at(NOW)}",
        f"t={NOW},v2=x t={NOW},v0=y,v1={sign_at(NOW)}",
        f"t=soon,v1={'0' * 64} t={NOW},v1={sign_at(NOW)}",
    ],
)
def test_any_of_several_sets_may_match(value: str) -> None:
    assert build_set_recipe().verify(build_callback({"x-sig": value})) == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"t={NOW - 9},v1={sign_at(NOW)} t={NOW},v1={'0' * 64}", "does not match"),
        (f"v1={sign_at(NOW)} t={NOW}", "pair t is missing"),
        (f"t={NOW - 9000},v1={sign_at(NOW - 9000)} t={NOW},v1={'0' * 64}", "9000 s ago"),
        (f"t={NOW},v2=a t={NOW},v2=b", "has no v1="),
        (f"t={NOW},v1=0  t={NOW},v1={sign_at(NOW)}", "not a list of key=value"),
        (" ".join([f"t={NOW},v1={sign_at(NOW)}"] * 5), "there are more than 4 sets"),
        (" ".join([f"t={NOW}" + ",v1=0" * 6] * 3), "more than 16 signatures"),
    ],
)
def test_set_is_verified_with_its_own_pairs(value: str, message: str) -> None:
    assert message in str(expect_rejection(build_set_recipe(), build_callback({"x-sig": value})))


def test_id_and_nonce_are_those_of_the_set_that_verifies() -> None:
    options: dict[str, Any] = {"format": "pairs", "pair": "s", "separator": ";", "set_separator": ","}
    scheme = build_recipe(**options, signed="{nonce}{id}", nonce="pair:n", id="pair:i")
    forged, signed = "s=00;n=x;i=y", f"s={compute_mac(b'ab')};n=a;i=b"
    for value in (f"{forged},{signed}", f"{signed},{forged}"):
        callback = build_callback({"x-sig": value})
        assert scheme.verify(callback) == 0
        assert (scheme.message_id(callback), scheme.find_nonces(callback)) == ("b", ["a"])


def test_sets_of_pairs_may_be_in_several_headers() -> None:
    scheme = build_set_recipe(set_separator="", other_headers=HEADERS)
    headers = {"x-sig": f"t={NOW - 9},v1={'0' * 64}", "x-sig-2": f"t={NOW},v1={sign_at(NOW)}"}
    assert scheme.verify(build_callback(headers)) == 0
    headers = {"x-sig": f"t={NOW - 9},v1={sign_at(NOW)}", "x-sig-2": f"t={NOW},v1={'0' * 64}"}
    expect_rejection(scheme, build_callback(headers))
    many = build_set_recipe(other_headers=HEADERS)
    value = " ".join([f"t={NOW},v1={'0' * 64}"] * 2)
    headers = {"x-sig": value, "x-sig-2": value, "x-sig-3": f"t={NOW},v1={sign_at(NOW)}"}
    assert "there are more than 4 sets" in str(expect_rejection(many, build_callback(headers)))


@pytest.mark.parametrize("header", ["Authorization", "Proxy-Authorization"])
def test_scheme_of_credentials_is_case_insensitive(header: str) -> None:
    scheme = build_recipe(source=f"header:{header}", algorithm="equals", prefix="Bearer ", secrets=["Secret"])
    for value in ("Bearer Secret", "bearer Secret", "BEARER Secret"):
        assert scheme.verify(build_callback({header.lower(): value})) == 0
    for value in ("Bearer secret", "BearerSecret", "Bearer  Secret", "Basic Secret", "Secret"):
        expect_rejection(scheme, build_callback({header.lower(): value}))
    listed = replace(scheme, format="list", separator=",")
    assert listed.verify(build_callback({header.lower(): "Bearer x, bearer Secret"})) == 0
    exact = build_recipe(algorithm="equals", prefix="Bearer ", secrets=["Secret"])
    expect_rejection(exact, build_callback({"x-sig": "bearer Secret"}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Bearer dTpw", "The header authorization is malformed: it does not start with Basic."),
        ("Basic dT pw", "The header authorization is malformed: its credentials are not base64."),
        ("Basic dTpw\n", "The header authorization is malformed: its credentials are not base64."),
        ("Basic XdTpwX", "The header authorization is malformed: its credentials are not base64."),
    ],
)
def test_message_of_malformed_credentials_says_what_is_wrong(value: str, message: str) -> None:
    scheme = build_recipe(source="header:Authorization", secrets=["u:p"], algorithm="basic")
    assert str(expect_rejection(scheme, build_callback({"authorization": value}))) == message
    assert scheme.verify(build_callback({"authorization": "Basic  dTpw "})) == 0
