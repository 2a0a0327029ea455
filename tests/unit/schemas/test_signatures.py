"""The table `[providers.NAME.signature]`: what it builds, and that errors are under their key and hide secrets."""

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
from receiver.signatures.jwt import Jwt
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.standard_webhooks import StandardWebhooks, decode_key
from receiver.signatures.twilio import Twilio
from tests.support.signers import SIGNERS

WHSEC = "whsec_" + b64encode(b"a secret of many bytes!!").decode()
TOKEN = "an-unguessable_token1"
URL = "https://callbacks.example"
WITHOUT_SECRETS = {"fal", "token", "rsa", "ecdsa", "jws", "sns", "paypal"}
WITH_SECRETS = [name for name in SCHEMES if name not in WITHOUT_SECRETS]


ENCODING_ERROR = "Must be one of: hex, base64, base64url, base64-hex."
SEPARATOR_ERROR = "Unknown field. Did you mean separator?"
PARAMS_ERROR = "Not supported: {sorted_params} is not part of signed."


def load(**settings: Any) -> CallbackAuth:
    auth = SignatureSchema().load(settings)
    assert isinstance(auth, CallbackAuth)
    return auth


def find_errors(**settings: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        SignatureSchema().load(settings)
    messages = caught.value.messages
    assert isinstance(messages, dict)
    return messages


def test_table_of_contract_builds_recipe() -> None:
    settings = tomllib.loads("""
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
    auth = load(**settings)
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
    assert (auth.tokens, auth.allow_from, auth.trust) == ((), (), Trust.SIGNATURE)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_needs_only_secrets(name: str) -> None:
    secrets = (SIGNERS[name].secret, SIGNERS[name].other_secret)
    assert load(scheme=name, secrets=list(secrets)).scheme == PRESETS[name](secrets=secrets)


@pytest.mark.parametrize(
    ("settings", "scheme"),
    [
        ({"scheme": "standard-webhooks"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "svix", "tolerance": 60}, StandardWebhooks([decode_key(WHSEC)], 60.0, "svix")),
        ({"scheme": "openai"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "replicate"}, StandardWebhooks([decode_key(WHSEC)], 300.0)),
        ({"scheme": "twilio", "public_url": f"{URL}/in/"}, Twilio((WHSEC,), f"{URL}/in")),
        ({"scheme": "plivo-v3", "public_url": URL}, PlivoV3((WHSEC,), URL)),
        ({"scheme": "jwt"}, Jwt((WHSEC,), body_hash="payload_hash")),
        (
            {"scheme": "vonage", "tolerance": 1},
            Jwt((WHSEC,), algorithms=("HS256",), body_hash="payload_hash", tolerance=1.0),
        ),
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
def test_scheme_is_built_from_settings(settings: dict[str, Any], scheme: object) -> None:
    built = load(secrets=[WHSEC], **settings).scheme
    assert type(built) is type(scheme)
    assert [repr(built), getattr(built, "secrets", ())] == [repr(scheme), getattr(scheme, "secrets", ())]


def test_fal_has_no_secrets() -> None:
    assert load(scheme="fal").scheme == FalScheme(300.0)
    assert load(scheme="fal", user_id="u-1").scheme == FalScheme(300.0, "u-1")
    assert find_errors(scheme="fal", secrets=["s"]) == {"secrets": ["Not supported by scheme = fal."]}


def test_basic_requires_user_and_password() -> None:
    scheme = load(scheme="basic", secrets=["anna:pass"]).scheme
    assert scheme == Recipe(source="header:Authorization", secrets=("anna:pass",), algorithm="basic")
    assert find_errors(scheme="basic", secrets=["anna"]) == {"secrets": {0: ["Must be user:password."]}}


def test_ed25519_accepts_public_keys() -> None:
    assert load(scheme="ed25519", header="X", secrets=["ab" * 32]).scheme is not None
    assert find_errors(scheme="ed25519", header="X", secrets=["ab" * 32, "short"]).keys() == {"secrets"}


@pytest.mark.parametrize("settings", [{"token": TOKEN}, {"token": [TOKEN]}, {"secrets": [TOKEN]}])
def test_url_token_may_be_only_authentication(settings: dict[str, Any]) -> None:
    auth = load(scheme="token", allow_from=["203.0.113.0/24"], trust="confirm", **settings)
    assert auth == CallbackAuth(None, (TOKEN,), (ip_network("203.0.113.0/24"),), Trust.CONFIRM)


def test_url_token_can_be_combined_with_scheme() -> None:
    auth = load(scheme="github", secrets=["s"], token=[TOKEN, TOKEN + "2"])
    assert auth.tokens == (TOKEN, TOKEN + "2")
    assert auth.scheme == PRESETS["github"](secrets=("s",))


@pytest.mark.parametrize(
    ("settings", "key"),
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
def test_invalid_url_token_is_rejected(settings: dict[str, Any], key: str) -> None:
    errors = find_errors(scheme="token", **settings)
    assert errors.keys() == {key}
    assert "sk-" not in str(errors)


@pytest.mark.parametrize(
    ("scheme", "suggestion"),
    [("", ""), ("carrier-pigeon", ""), ("GitHub", " Did you mean github?"), ("hmca", " Did you mean hmac?")],
)
def test_unknown_scheme_error_lists_valid_schemes(scheme: str, suggestion: str) -> None:
    message = f"Must be one of: {', '.join(SCHEMES)}.{suggestion}"
    assert find_errors(scheme=scheme, secrets=["s"]) == {"scheme": [message]}


@pytest.mark.parametrize("settings", [{}, {"scheme": 3}, {"scheme": None}, {"scheme": ["hmac"]}])
def test_scheme_is_required(settings: dict[str, Any]) -> None:
    assert find_errors(**settings).keys() == {"scheme"}


@pytest.mark.parametrize("scheme", [name for name in WITH_SECRETS if name not in {"ed25519", "jwt"}])
def test_secrets_are_required(scheme: str) -> None:
    assert find_errors(scheme=scheme)["secrets"] == [
        f"Missing data for required field: scheme = {scheme} needs secrets."
    ]
    assert find_errors(scheme=scheme, secrets=[]).keys() >= {"secrets"}
    assert find_errors(scheme=scheme, secrets=["s"] * 11).keys() >= {"secrets"}
    assert find_errors(scheme=scheme, secrets=["", 3])["secrets"].keys() == {0, 1}
    assert find_errors(scheme=scheme, secrets="sk-text").keys() >= {"secrets"}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("key", ["header", "source", "encoding", "signed", "prefix", "format", "timestamp", "items"])
def test_fixed_keys_of_preset_cannot_be_set(name: str, key: str) -> None:
    values = {"encoding": "hex", "format": "raw"}
    errors = find_errors(scheme=name, secrets=[SIGNERS[name].secret], **{key: values.get(key, "x")})
    assert errors == {key: [f"Cannot be set: it is fixed by scheme = {name}."]}


@pytest.mark.parametrize(
    ("settings", "errors"),
    [
        (
            {"scheme": "github", "tolerance": 3},
            {"tolerance": ["Not supported: scheme = github does not sign a timestamp."]},
        ),
        (
            {"scheme": "github", "public_url": URL},
            {"public_url": ["Not supported: scheme = github does not sign the URL."]},
        ),
        ({"scheme": "slack", "unit": "s"}, {"unit": ["Cannot be set: it is fixed by scheme = slack."]}),
        (
            {"scheme": "zendesk", "tolerance": 3},
            {"unit": ["Required to compare the timestamp. Must be one of: s, ms, us, iso."]},
        ),
        ({"scheme": "zendesk", "unit": "s"}, {"unit": ["Requires timestamp or tolerance."]}),
        ({"scheme": "svix", "header": "X"}, {"header": ["Not supported by scheme = svix."]}),
        ({"scheme": "equals", "header": "X", "signed": "{body}"}, {"signed": ["Not supported by scheme = equals."]}),
        (
            {"scheme": "hmac", "header": "X", "public_url": URL},
            {"public_url": ["Not supported: the URL is not part of signed."]},
        ),
        ({"scheme": "hmac"}, {"header": ["Set exactly one of header and source: the location of the signature."]}),
        (
            {"scheme": "hmac", "header": "X", "source": "query:x"},
            {"header": ["Set exactly one of header and source: the location of the signature."]},
        ),
        (
            {"scheme": "hmac", "header": "X Y"},
            {"header": ["Must be header: followed by a name in ASCII without spaces or colons."]},
        ),
        (
            {"scheme": "hmac", "header": "X", "signed": "{timestamp}.{body}"},
            {"signed": ["{timestamp} requires timestamp to be set."]},
        ),
        (
            {"scheme": "hmac", "header": "X", "timestamp": "header:T"},
            {"timestamp": ["Not covered by any token of signed, so anyone could change it."]},
        ),
        ({"scheme": "hmac", "header": "X", "tolerance": 3}, {"tolerance": ["Requires timestamp."]}),
        ({"scheme": "hmac", "header": "X", "format": "pairs"}, {"pair": ["Required for format = pairs."]}),
    ],
)
def test_contradicting_keys_are_rejected(settings: dict[str, Any], errors: dict[str, Any]) -> None:
    assert find_errors(secrets=[WHSEC], **settings) == errors


def test_unknown_token_error_lists_valid_tokens() -> None:
    [message] = find_errors(scheme="hmac", header="X", secrets=["s"], signed="{bodi}")["signed"]
    assert message.startswith("Unknown token {bodi}. Must be one of: {body}, {url}, ")


@pytest.mark.parametrize(
    ("settings", "recipe"),
    [
        (
            {"scheme": "hmac", "header": ["X-1", "X-2", "X-3"]},
            Recipe(source="header:X-1", other_headers=("X-2", "X-3"), secrets=("s",)),
        ),
        (
            {"scheme": "equals", "header": ["X-1", "X-2"]},
            Recipe(source="header:X-1", other_headers=("X-2",), secrets=("s",), algorithm="equals"),
        ),
        (
            {"scheme": "digest", "header": "X", "algorithm": "sha1", "signed": "{secret}{body}"},
            Recipe(source="header:X", secrets=("s",), algorithm="sha1", is_digest=True, signed="{secret}{body}"),
        ),
        (
            {"scheme": "digest", "header": "X"},
            Recipe(source="header:X", secrets=("s",), is_digest=True, signed="{body}{secret}"),
        ),
        (
            {"scheme": "hmac", "header": "X", "format": "pairs", "pair": "v1", "set_separator": " "},
            Recipe(source="header:X", secrets=("s",), format="pairs", pair="v1", set_separator=" "),
        ),
        (
            {"scheme": "hmac", "header": "X", "algorithm_header": "X-Alg", "algorithm_names": {"A": "sha512"}},
            Recipe(source="header:X", secrets=("s",), algorithm_header="X-Alg", algorithm_names={"A": "sha512"}),
        ),
        (
            {
                "scheme": "hmac",
                "header": "X",
                "signed": "{url}{sorted_params}",
                "decode_url": True,
                "params": {"source": "json", "assignment": "=", "separator": "&", "exclude": ["a"], "skip_empty": True},
            },
            Recipe(
                source="header:X",
                secrets=("s",),
                signed="{url}{sorted_params}",
                decode_url=True,
                parameters=SortedParameters("json", "=", "&", ("a",), skip_empty=True),
            ),
        ),
    ],
)
def test_recipe_is_built_from_settings(settings: dict[str, Any], recipe: Recipe) -> None:
    assert load(secrets=["s"], **settings).scheme == recipe


@pytest.mark.parametrize(
    ("settings", "errors"),
    [
        ({"header": []}, {"header": ["Must be a list of 1 to 16 names."]}),
        ({"header": ["X"] * 17}, {"header": ["Must be a list of 1 to 16 names."]}),
        ({"header": 3}, {"header": ["Must be the name of a header or a list of names."]}),
        ({"header": ["X", 3]}, {"header": ["Must be the name of a header or a list of names."]}),
        (
            {"header": ["X", "Y Z"]},
            {"header": ["Must be header: followed by a name in ASCII without spaces or colons."]},
        ),
        ({"header": "X", "encoding": "base46"}, {"encoding": [f"{ENCODING_ERROR} Did you mean base64?"]}),
        (
            {"header": "X", "signed": "{sorted_params}", "params": {"seperator": "&"}},
            {"params": {"seperator": [SEPARATOR_ERROR]}},
        ),
        ({"header": "X", "params": {"assignment": "="}}, {"params": [PARAMS_ERROR]}),
        ({"header": "X", "decode_url": True}, {"decode_url": ["Not supported: the URL is not part of signed."]}),
        (
            {"header": "X", "algorithm_header": "A", "algorithm": "sha1", "algorithm_names": {"a": "sha256"}},
            {"algorithm": ["Cannot be combined with algorithm_header: that header names the algorithm."]},
        ),
    ],
)
def test_invalid_keys_of_recipe_are_refused(settings: dict[str, Any], errors: dict[str, Any]) -> None:
    assert find_errors(scheme="hmac", secrets=["s"], **settings) == errors


def test_all_errors_are_reported_together() -> None:
    errors = find_errors(
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
    assert errors["secrets"].keys() == {0, 2}
    assert errors.keys() == {
        *("secrets", "algorithm", "encoding", "format", "signed", "timestamp", "tolerance", "unit", "nonce", "items"),
        *("public_url", "token", "allow_from", "trust", "colour"),
    }
    assert "sk-" not in str(errors)


@pytest.mark.parametrize("scheme", WITH_SECRETS)
def test_errors_hide_secrets(scheme: str) -> None:
    assert "sk-\ud800secret" not in str(find_errors(scheme=scheme, secrets=["sk-\ud800secret"], colour=1))


@pytest.mark.parametrize(
    "url",
    ["callbacks.example", "https://", "https://h:0", "https://u:p@h", "https://h?a", "https://h//x", "https://[", 3],
)
def test_invalid_public_url_is_rejected(url: Any) -> None:
    assert find_errors(scheme="square", secrets=["s"], public_url=url).keys() == {"public_url"}


@pytest.mark.parametrize("networks", [[], "", ["203.0.113.1/24"], 3, ["x"]])
def test_invalid_allow_from_is_rejected(networks: Any) -> None:
    assert find_errors(scheme="github", secrets=["s"], allow_from=networks).keys() == {"allow_from"}


@pytest.mark.parametrize("tolerance", [0, -1, float("inf"), float("nan"), 1e12, "long"])
def test_tolerance_must_be_bounded_duration(tolerance: Any) -> None:
    assert find_errors(scheme="slack", secrets=["s"], tolerance=tolerance).keys() == {"tolerance"}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"header": "X_Sig"}, "header"),
        ({"source": "header:X_Sig"}, "source"),
        ({"header": "X-Sig", "signed": "{body}{header:X_Id}"}, "signed"),
        ({"header": "X-Sig", "signed": "{body}{timestamp}", "timestamp": "header:X_Time"}, "timestamp"),
        ({"header": "X-Sig", "signed": "{body}{nonce}", "nonce": "header:X_Nonce"}, "nonce"),
        ({"header": "X-Sig", "signed": "{body}{id}", "id": "header:X_Id"}, "id"),
    ],
)
def test_header_with_underscore_is_refused(settings: dict[str, Any], key: str) -> None:
    errors = find_errors(scheme="hmac", secrets=["s"], **settings)
    assert errors.keys() == {key}
    assert "underscore" in str(errors)
    assert load(scheme="hmac", secrets=["s"], source="query:my_sig")


@pytest.mark.parametrize("secret", [" ", "\n", "secret\n", " secret", "secret ", "\tsecret", "secret\r\n"])
@pytest.mark.parametrize("scheme", WITH_SECRETS)
def test_secret_with_white_space_at_its_ends_is_refused(scheme: str, secret: str) -> None:
    errors = find_errors(scheme=scheme, secrets=[secret])
    assert errors["secrets"] == {0: ["Must not be blank, or begin or end with white space or a line break."]}


def test_white_space_within_a_secret_is_accepted() -> None:
    assert load(scheme="github", secrets=["It's a Secret to Everybody"]).scheme is not None
