"""The table `[providers.NAME.signature]`: what it builds, and that every fault is told at its key without a secret."""

import tomllib
from base64 import b64encode
from ipaddress import ip_network
from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.signatures.base import CallbackAuth, Trust, fingerprint_secret
from receiver.signatures.fal import FalScheme
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.standard_webhooks import StandardWebhooks, decode_key
from receiver.signatures.twilio import Twilio
from receiver.signatures.vonage import VonageJWT
from tests.signers import SIGNERS

WHSEC = "whsec_" + b64encode(b"a secret of many bytes!!").decode()
TOKEN = "an-unguessable_token1"
URL = "https://callbacks.example"


def load(**given: Any) -> CallbackAuth:
    auth = SignatureSchema().load(given)
    assert isinstance(auth, CallbackAuth)
    return auth


def faults(**given: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        SignatureSchema().load(given)
    messages = caught.value.messages
    assert isinstance(messages, dict)
    return messages


def test_the_table_of_the_contract_is_a_recipe() -> None:
    given = tomllib.loads("""
        scheme = "hmac"
        algorithm = "sha256"
        header = "X-Acme-Signature"
        prefix = "sha256="
        encoding = "hex"
        signed = "{timestamp}.{body}"
        timestamp = "header:X-Acme-Timestamp"
        tolerance = 300
        secrets = ["new", "old"]
    """)
    auth = load(**given)
    assert auth.scheme == Recipe(
        source="header:X-Acme-Signature",
        secrets=("new", "old"),
        prefix="sha256=",
        signed="{timestamp}.{body}",
        timestamp="header:X-Acme-Timestamp",
        unit="s",
        tolerance=300.0,
    )
    assert auth.fingerprints == (fingerprint_secret("new"), fingerprint_secret("old"))
    assert (auth.tokens, auth.allow_from, auth.trust) == ((), (), Trust.WORD)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_secrets_alone(name: str) -> None:
    secrets = (SIGNERS[name].secret, SIGNERS[name].other)
    assert load(scheme=name, secrets=list(secrets)).scheme == PRESETS[name](secrets=secrets)


@pytest.mark.parametrize(
    ("given", "scheme"),
    [
        ({"scheme": "standard-webhooks"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "svix", "tolerance": 60}, StandardWebhooks([decode_key(WHSEC)], 60.0, "svix")),
        ({"scheme": "openai"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "replicate"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "twilio", "public_url": f"{URL}/in/"}, Twilio((WHSEC,), f"{URL}/in")),
        ({"scheme": "plivo-v3", "public_url": URL}, PlivoV3((WHSEC,), URL)),
        ({"scheme": "jwt"}, VonageJWT((WHSEC,))),
        ({"scheme": "vonage", "tolerance": 1}, VonageJWT((WHSEC,), 1.0)),
        ({"scheme": "rfc9421", "public_url": URL}, HTTPMessageSignatures((WHSEC,), public_url=URL)),
        ({"scheme": "stripe", "tolerance": 7}, PRESETS["stripe"](secrets=(WHSEC,), tolerance=7.0)),
        ({"scheme": "zoom", "tolerance": 7, "unit": "ms"}, PRESETS["zoom"](secrets=(WHSEC,), tolerance=7.0, unit="ms")),
        ({"scheme": "square", "public_url": f"{URL}/"}, PRESETS["square"](secrets=(WHSEC,), public_url=URL)),
        ({"scheme": "equals", "header": "X"}, Recipe(source="header:X", secrets=(WHSEC,), algorithm="equals")),
        (
            {"scheme": "hmac", "source": "query:s", "algorithm": "sha1", "key_encoding": "base64"},
            Recipe(source="query:s", secrets=(WHSEC,), algorithm="sha1", key_encoding="base64"),
        ),
    ],
)
def test_a_scheme_is_built_as_told(given: dict[str, Any], scheme: object) -> None:
    built = load(secrets=[WHSEC], **given).scheme
    assert type(built) is type(scheme)
    assert [repr(built), getattr(built, "secrets", ())] == [repr(scheme), getattr(scheme, "secrets", ())]


def test_fal_has_no_secrets() -> None:
    assert load(scheme="fal").scheme == FalScheme(300.0)
    assert faults(scheme="fal", secrets=["s"]) == {"secrets": ["does not go with scheme = fal"]}


def test_basic_needs_a_user_and_a_password() -> None:
    scheme = load(scheme="basic", secrets=["anna:pass"]).scheme
    assert scheme == Recipe(source="header:Authorization", secrets=("anna:pass",), algorithm="basic")
    assert faults(scheme="basic", secrets=["anna"]) == {"secrets": {0: ["must be user:password"]}}


def test_ed25519_takes_public_keys() -> None:
    assert load(scheme="ed25519", header="X", secrets=["ab" * 32]).scheme is not None
    assert faults(scheme="ed25519", header="X", secrets=["ab" * 32, "short"]).keys() == {"secrets"}


@pytest.mark.parametrize("given", [{"token": TOKEN}, {"token": [TOKEN]}, {"secrets": [TOKEN]}])
def test_an_unguessable_url_may_be_all_there_is(given: dict[str, Any]) -> None:
    auth = load(scheme="token", allow_from=["203.0.113.0/24"], trust="confirm", **given)
    assert auth == CallbackAuth(None, (TOKEN,), (ip_network("203.0.113.0/24"),), Trust.CONFIRM)


def test_an_unguessable_url_may_be_combined_with_a_scheme() -> None:
    auth = load(scheme="github", secrets=["s"], token=[TOKEN, TOKEN + "2"])
    assert auth.tokens == (TOKEN, TOKEN + "2")
    assert auth.scheme == PRESETS["github"](secrets=("s",))


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({}, "secrets"),
        ({"token": TOKEN, "secrets": [TOKEN]}, "secrets"),
        ({"secrets": ["sk-short"]}, "secrets"),
        ({"secrets": []}, "secrets"),
        ({"token": []}, "token"),
        ({"token": [TOKEN] * 11}, "token"),
        ({"token": "sk-short"}, "token"),
        ({"token": "sk-with spaces and more"}, "token"),
        ({"token": TOKEN + "\n"}, "token"),
        ({"token": 3}, "token"),
        ({"token": [TOKEN, None]}, "token"),
        ({"token": TOKEN, "header": "X"}, "header"),
        ({"token": TOKEN, "tolerance": 3}, "tolerance"),
    ],
)
def test_a_url_token_of_another_form_is_a_fault(given: dict[str, Any], at: str) -> None:
    told = faults(scheme="token", **given)
    assert told.keys() == {at}
    assert "sk-" not in str(told)


@pytest.mark.parametrize("scheme", ["", "carrier-pigeon", "GitHub"])
def test_an_unknown_scheme_is_answered_with_all_there_are(scheme: str) -> None:
    assert faults(scheme=scheme, secrets=["s"]) == {"scheme": [f"must be one of: {', '.join(SCHEMES)}"]}


@pytest.mark.parametrize("given", [{}, {"scheme": 3}, {"scheme": None}, {"scheme": ["hmac"]}])
def test_a_provider_without_a_scheme_is_a_fault(given: dict[str, Any]) -> None:
    assert faults(**given).keys() == {"scheme"}


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name not in {"fal", "token"}])
def test_secrets_are_needed(scheme: str) -> None:
    assert faults(scheme=scheme)["secrets"] == [f"is needed for scheme = {scheme}"]
    assert faults(scheme=scheme, secrets=[]).keys() >= {"secrets"}
    assert faults(scheme=scheme, secrets=["s"] * 11).keys() >= {"secrets"}
    assert faults(scheme=scheme, secrets=["", 3])["secrets"].keys() == {0, 1}
    assert faults(scheme=scheme, secrets="sk-text").keys() >= {"secrets"}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("key", ["header", "source", "encoding", "signed", "prefix", "format", "timestamp", "items"])
def test_what_a_preset_fixes_is_not_for_the_user(name: str, key: str) -> None:
    values = {"encoding": "hex", "format": "raw"}
    told = faults(scheme=name, secrets=[SIGNERS[name].secret], **{key: values.get(key, "x")})
    assert told == {key: [f"is fixed by scheme = {name}"]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scheme": "github", "tolerance": 3}, {"tolerance": ["is of no use: scheme = github signs no time"]}),
        ({"scheme": "github", "public_url": URL}, {"public_url": ["is of no use: scheme = github signs no URL"]}),
        ({"scheme": "slack", "unit": "s"}, {"unit": ["is fixed by scheme = slack"]}),
        ({"scheme": "zendesk", "tolerance": 3}, {"unit": ["is needed to compare the timestamp: s, ms, iso"]}),
        ({"scheme": "zendesk", "unit": "s"}, {"unit": ["goes with timestamp and tolerance"]}),
        ({"scheme": "svix", "header": "X"}, {"header": ["does not go with scheme = svix"]}),
        ({"scheme": "equals", "header": "X", "signed": "{body}"}, {"signed": ["does not go with scheme = equals"]}),
        (
            {"scheme": "hmac", "header": "X", "public_url": URL},
            {"public_url": ["is of use only where the URL is signed"]},
        ),
        ({"scheme": "hmac"}, {"header": ["either header or source must tell where the signature stands"]}),
        (
            {"scheme": "hmac", "header": "X", "source": "query:x"},
            {"header": ["either header or source must tell where the signature stands"]},
        ),
        (
            {"scheme": "hmac", "header": "X Y"},
            {"header": ["header: needs a name in ASCII without spaces or colons"]},
        ),
        (
            {"scheme": "hmac", "header": "X", "signed": "{timestamp}.{body}"},
            {"signed": ["{timestamp} needs timestamp to be set"]},
        ),
        (
            {"scheme": "hmac", "header": "X", "timestamp": "header:T"},
            {"timestamp": ["is covered by no token of signed, so anyone could change it"]},
        ),
        ({"scheme": "hmac", "header": "X", "tolerance": 3}, {"tolerance": ["needs timestamp to be set"]}),
        ({"scheme": "hmac", "header": "X", "format": "pairs"}, {"pair": ["goes with format = pairs, which needs it"]}),
    ],
)
def test_keys_that_do_not_go_together_are_faults(given: dict[str, Any], told: dict[str, Any]) -> None:
    assert faults(secrets=[WHSEC], **given) == told


def test_an_unknown_token_is_answered_with_those_that_are_known() -> None:
    [message] = faults(scheme="hmac", header="X", secrets=["s"], signed="{bodi}")["signed"]
    assert message.startswith("{bodi} is not known; known are {body} {url} ")


def test_every_fault_is_told_at_once() -> None:
    told = faults(
        scheme="hmac",
        header="X",
        secrets=["sk-not-hex", "00ff", 3],
        key_encoding="hex",
        algorithm="rot13",
        encoding="base32",
        format="prose",
        signed="{timestamp}{bodi}",
        timestamp=3,
        tolerance=-1,
        unit="days",
        nonce="header:",
        items="[",
        public_url="ftp://h",
        token="short",
        allow_from=["here"],
        trust="blind",
        colour="blue",
    )
    assert told["secrets"].keys() == {0, 2}
    assert told.keys() == {
        *("secrets", "algorithm", "encoding", "format", "signed", "timestamp", "tolerance", "unit", "nonce", "items"),
        *("public_url", "token", "allow_from", "trust", "colour"),
    }
    assert "sk-" not in str(told)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name not in {"fal", "token"}])
def test_no_fault_and_no_guard_shows_a_secret(scheme: str) -> None:
    assert "sk-\ud800secret" not in str(faults(scheme=scheme, secrets=["sk-\ud800secret"], colour=1))


@pytest.mark.parametrize(
    "url",
    ["callbacks.example", "https://", "https://h:0", "https://u:p@h", "https://h?a", "https://h//x", "https://[", 3],
)
def test_a_public_url_that_no_target_can_follow_is_a_fault(url: Any) -> None:
    assert faults(scheme="square", secrets=["s"], public_url=url).keys() == {"public_url"}


@pytest.mark.parametrize("networks", [[], "", ["203.0.113.1/24"], 3, ["x"]])
def test_an_address_list_that_lets_nobody_or_anybody_in_is_a_fault(networks: Any) -> None:
    assert faults(scheme="github", secrets=["s"], allow_from=networks).keys() == {"allow_from"}


@pytest.mark.parametrize("tolerance", [0, -1, float("inf"), float("nan"), 1e12, "long"])
def test_a_tolerance_is_a_bounded_time(tolerance: Any) -> None:
    assert faults(scheme="slack", secrets=["s"], tolerance=tolerance).keys() == {"tolerance"}
