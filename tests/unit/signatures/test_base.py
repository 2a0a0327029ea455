"""The authentication settings of one provider: URL tokens, networks, and what identifies a secret."""

from ipaddress import ip_network

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import CallbackAuth, InvalidSignature, fingerprint_secret, format_age_error
from receiver.signatures.presets import PRESETS
from tests.support.factories import NOON

TOKEN, OLD_TOKEN = "an-unguessable-token", "the-token-before-it"
NEAR = CallbackAuth(None, (TOKEN,), (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")))


def test_auth_needs_scheme_or_token() -> None:
    with pytest.raises(ValueError, match="scheme or a token"):
        CallbackAuth(None)


def test_any_live_token_is_accepted() -> None:
    auth = CallbackAuth(None, (TOKEN, OLD_TOKEN))
    assert auth.accepts_token(TOKEN)
    assert auth.accepts_token(OLD_TOKEN)


@pytest.mark.parametrize("token", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é\udcff"])
def test_other_token_is_not_accepted(token: str) -> None:
    assert not CallbackAuth(None, (TOKEN,)).accepts_token(token)


def test_url_without_token_is_accepted_if_none_is_configured() -> None:
    auth = CallbackAuth(PRESETS["github"](secrets=("s",)))
    assert auth.accepts_token("")
    assert not auth.accepts_token(TOKEN)


@pytest.mark.parametrize("address", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"])
def test_address_in_allowed_network_is_accepted(address: str) -> None:
    NEAR.check_address(address)


@pytest.mark.parametrize("address", ["203.0.114.7", "::ffff:198.51.100.1", "2001:db9::1", "unknown", ""])
def test_other_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        NEAR.check_address(address)
    assert caught.value.part == "address"


def test_any_address_is_accepted_without_networks() -> None:
    CallbackAuth(None, (TOKEN,)).check_address("unknown")


def test_token_alone_verifies_without_a_secret() -> None:
    incoming = IncomingCallback("POST", "/callbacks/acme", {}, b"", NOON)
    assert NEAR.verify(incoming) is None
    with pytest.raises(InvalidSignature):
        CallbackAuth(PRESETS["github"](secrets=("s",))).verify(incoming)


def test_fingerprint_is_the_start_of_the_hash() -> None:
    assert fingerprint_secret("secret") == "2bb80d53"
    assert fingerprint_secret("secret\udcff") != fingerprint_secret("secret")


def test_age_error_names_direction_and_tolerance() -> None:
    assert format_age_error(412.4, 300.0) == "Signed 412 s ago; the tolerance is 300 s."
    assert format_age_error(-412.4, 300.0) == "Signed 412 s in the future; the tolerance is 300 s."


def test_repr_hides_tokens() -> None:
    assert TOKEN not in repr(NEAR)
