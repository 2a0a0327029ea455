"""Schema of `[providers.NAME.signature]`: how callbacks prove their sender, as a guard. Unknown keys are mistakes.

`scheme` names a preset, a scheme that is code, or one of `hmac`, `ed25519`, `equals` and `basic`, which the other keys
describe (see `receiver.signatures.recipe.Recipe`); `token` is an unguessable path segment alone. All faults are told
together, each at its key, and none shows a secret.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.schemas.fields import DURATION, NetworkList, StrictSchema, http_url
from receiver.signatures.base import CallbackAuth, InvalidSecret, Scheme, Trust, fingerprint_secret
from receiver.signatures.checks import ENCODINGS, KEY_ENCODINGS
from receiver.signatures.fal import FalScheme
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import FORMATS, UNITS, InvalidRecipe, Recipe
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, StandardWebhooks, parse_key
from receiver.signatures.twilio import Twilio
from receiver.signatures.vonage import VonageJWT

HMAC_ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")
_TOKEN_FORM = "must be at least 16 of A-Z, a-z, 0-9, _ and -"  # noqa: S105  # a message
_COMMON = frozenset({"scheme", "token", "allow_from", "trust"})
_PLACES = frozenset({"secrets", "header", "source", "format", "prefix", "separator", "pair", "items", "key_encoding"})
_SIGNED = _PLACES | {"encoding", "signed", "timestamp", "unit", "tolerance", "id", "nonce", "public_url"}
_SOURCES = ("source", "timestamp", "id", "nonce")

Given = Mapping[str, Any]
Faults = dict[Any, Any]


@dataclass(frozen=True, slots=True)
class _SchemeBuilder:
    """A scheme on offer: the keys it takes beside those of all, and how it is made of secrets and these keys."""

    keys: frozenset[str]
    build: Callable[[Sequence[str], Given], Scheme]


def _standard_webhooks(prefix: str, secrets: Sequence[str], given: Given) -> Scheme:
    return StandardWebhooks([parse_key(secret) for secret in secrets], _tolerance(given), prefix)


def _preset(name: str, secrets: Sequence[str], given: Given) -> Scheme:
    options = {key: given[key] for key in ("tolerance", "unit", "public_url") if key in given}
    return PRESETS[name](secrets=secrets, **options)


def _described(algorithm: str, secrets: Sequence[str], given: Given) -> Scheme:
    """Build the recipe that the keys describe; a timestamp is in seconds and compared unless they say otherwise."""
    not_of_recipe = _COMMON | {"secrets", "header"}
    options = {key: value for key, value in given.items() if key not in not_of_recipe}
    if "header" in given:
        options["source"] = f"header:{given['header']}"
    if "timestamp" in given:
        options = {"unit": "s", "tolerance": DEFAULT_TOLERANCE} | options
    return Recipe(secrets=secrets, **{"algorithm": algorithm} | options)


def _tolerance(given: Given) -> float:
    return float(given.get("tolerance", DEFAULT_TOLERANCE))


def _keys_of(preset: partial[Recipe]) -> frozenset[str]:
    """Give what a preset leaves open: never more than the tolerance, a unit its vendor does not tell, our URL."""
    keys = {"secrets"}
    if preset.keywords.get("timestamp"):
        keys.add("tolerance")
        if not preset.keywords.get("unit"):
            keys.add("unit")
    if preset(secrets=()).signs_url:
        keys.add("public_url")
    return frozenset(keys)


_AGED = frozenset({"secrets", "tolerance"})
_AT_URL = frozenset({"secrets", "public_url"})
_OFFERS: Mapping[str, _SchemeBuilder] = {
    "hmac": _SchemeBuilder(_SIGNED | {"algorithm"}, partial(_described, "sha256")),
    "ed25519": _SchemeBuilder(_SIGNED, partial(_described, "ed25519")),
    "equals": _SchemeBuilder(_PLACES, partial(_described, "equals")),
    "basic": _SchemeBuilder(
        frozenset({"secrets"}),
        lambda secrets, _: Recipe(source="header:Authorization", secrets=secrets, algorithm="basic"),
    ),
    "jwt": _SchemeBuilder(_AGED, lambda secrets, given: VonageJWT(secrets, _tolerance(given))),
    "standard-webhooks": _SchemeBuilder(_AGED, partial(_standard_webhooks, "webhook")),
    "svix": _SchemeBuilder(_AGED, partial(_standard_webhooks, "svix")),
    "openai": _SchemeBuilder(_AGED, partial(_standard_webhooks, "webhook")),
    "replicate": _SchemeBuilder(_AGED, partial(_standard_webhooks, "webhook")),
    "twilio": _SchemeBuilder(_AT_URL, lambda secrets, given: Twilio(secrets, given.get("public_url"))),
    "plivo-v3": _SchemeBuilder(_AT_URL, lambda secrets, given: PlivoV3(secrets, given.get("public_url"))),
    "vonage": _SchemeBuilder(_AGED, lambda secrets, given: VonageJWT(secrets, _tolerance(given))),
    "fal": _SchemeBuilder(frozenset({"tolerance"}), lambda _, given: FalScheme(_tolerance(given))),
    "rfc9421": _SchemeBuilder(
        _AGED | _AT_URL,
        lambda secrets, given: HTTPMessageSignatures(secrets, _tolerance(given), public_url=given.get("public_url")),
    ),
    **{name: _SchemeBuilder(_keys_of(preset), partial(_preset, name)) for name, preset in PRESETS.items()},
}
SCHEMES = ("token", *_OFFERS)
"""All that `scheme` may name."""


def _token_faults(tokens: Sequence[Any]) -> Faults:
    return {
        index: [_TOKEN_FORM]
        for index, token in enumerate(tokens)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token)
    }


class UrlTokens(fields.Field[tuple[str, ...]]):
    """One URL token or a list of them, of which the first is handed out."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            if _token_faults([value]):
                raise ValidationError(_TOKEN_FORM)
            return (value,)
        if not 1 <= len(value) <= 10:
            raise ValidationError("must be 1 to 10 tokens")
        if faults := _token_faults(value):
            raise ValidationError(faults)
        return tuple(value)


class SignatureSchema(StrictSchema):
    """How callbacks prove their sender; loads to a `CallbackAuth`. Any of the secrets may match."""

    scheme = fields.String(
        required=True, validate=validate.OneOf(SCHEMES, error=f"must be one of: {', '.join(SCHEMES)}")
    )
    secrets = fields.List(fields.String(), validate=validate.Length(min=1, max=10))
    token = UrlTokens()
    allow_from = NetworkList(validate=validate.Length(min=1))
    trust = fields.Enum(Trust, by_value=True)
    algorithm = fields.String(validate=validate.OneOf(HMAC_ALGORITHMS))
    header = fields.String()
    source = fields.String(validate=validate.Length(min=1))
    format = fields.String(validate=validate.OneOf(FORMATS))
    prefix = fields.String()
    separator = fields.String(validate=validate.Length(min=1))
    pair = fields.String(validate=validate.Length(min=1))
    items = fields.String(validate=validate.Length(min=1))
    encoding = fields.String(validate=validate.OneOf(ENCODINGS))
    key_encoding = fields.String(validate=validate.OneOf(KEY_ENCODINGS))
    signed = fields.String()
    timestamp = fields.String(validate=validate.Length(min=1))
    unit = fields.String(validate=validate.OneOf(UNITS))
    tolerance = fields.Float(validate=DURATION)
    id = fields.String(validate=validate.Length(min=1))
    nonce = fields.String(validate=validate.Length(min=1))
    public_url = fields.String(validate=http_url)

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _whole(self, data: dict[str, Any], original: Any, **_: Any) -> None:
        scheme = data.get("scheme")
        if scheme is None or not isinstance(original, Mapping):
            return
        faults = _token_scheme_faults(original) if scheme == "token" else _scheme_faults(scheme, data, original)
        if faults:
            raise ValidationError(faults)

    @post_load
    def _guard(self, data: dict[str, Any], **_: Any) -> CallbackAuth:
        secrets, tokens = tuple(data.get("secrets", ())), data.get("token", ())
        allow_from, trust = data.get("allow_from", ()), data.get("trust", Trust.WORD)
        if data["scheme"] == "token":
            return CallbackAuth(None, tokens or secrets, allow_from, trust)
        scheme = _OFFERS[data["scheme"]].build(secrets, _bare(data))
        return CallbackAuth(scheme, tokens, allow_from, trust, tuple(map(fingerprint_secret, secrets)), data["scheme"])


def _bare(data: Given) -> Given:
    """Give the keys with `public_url` as that to which a target is appended."""
    return dict(data) | ({"public_url": data["public_url"].rstrip("/")} if "public_url" in data else {})


def _foreign(scheme: str, keys: frozenset[str], original: Given) -> Faults:
    """Tell which of the known keys do not belong to the scheme."""
    known = SignatureSchema._declared_fields.keys()  # noqa: SLF001  # marshmallow has no other name for a class's fields
    return {key: [_why_foreign(scheme, key)] for key in original if key in known and key not in keys | _COMMON}


def _why_foreign(scheme: str, key: str) -> str:
    if scheme not in PRESETS:
        return f"does not go with scheme = {scheme}"
    if key == "public_url":
        return f"is of no use: scheme = {scheme} signs no URL"
    if key in {"tolerance", "unit"} and "timestamp" not in PRESETS[scheme].keywords:
        return f"is of no use: scheme = {scheme} signs no time"
    return f"is fixed by scheme = {scheme}"


def _token_scheme_faults(original: Given) -> Faults:
    faults = _foreign("token", frozenset({"secrets"}), original)
    secrets = original.get("secrets")
    if ("secrets" in original) == ("token" in original):
        faults["secrets"] = ["needs the URL tokens, here or in token, not in both"]
    elif isinstance(secrets, list) and (wrong := _token_faults(secrets)):
        faults["secrets"] = wrong
    return faults


def _scheme_faults(scheme: str, data: Given, original: Given) -> Faults:
    offer = _OFFERS[scheme]
    faults = _foreign(scheme, offer.keys, original)
    if "secrets" in offer.keys and "secrets" not in original:
        faults["secrets"] = [f"is needed for scheme = {scheme}"]
    if "source" in offer.keys and ("header" in original) == ("source" in original):
        faults["header"] = ["either header or source must tell where the signature stands"]
    if "unit" in original and not {"timestamp", "tolerance"} & original.keys():
        faults.setdefault("unit", ["goes with timestamp and tolerance"])
    # What a key's own fault keeps from us is replaced, so that it makes no second fault of another key.
    stand_in = {key: "header:x" for key in _SOURCES if key in original and key not in data}
    if not {"header", "source"} & data.keys():
        stand_in["source"] = "header:x"
    sound = {key: value for key, value in data.items() if key in offer.keys}
    sound = {key: value for key, value in stand_in.items() if key in offer.keys} | sound
    if "header" in sound:
        sound.pop("source", None)
    return _recipe_faults(offer, sound, original) | _secret_faults(offer, sound, original) | faults


def _recipe_faults(offer: _SchemeBuilder, sound: Given, original: Given) -> Faults:
    """Tell what does not go together, with no secrets."""
    try:
        scheme = offer.build((), sound)
    except InvalidRecipe as error:
        place = "header" if "header" in original else "source"
        return {place if key == "source" else key: [message] for key, message in error.faults.items()}
    if "public_url" in original and isinstance(scheme, Recipe) and not scheme.signs_url:
        return {"public_url": ["is of use only where the URL is signed"]}
    return {}


def _secret_faults(offer: _SchemeBuilder, sound: Given, original: Given) -> Faults:
    """Tell which secrets are not of the form that the scheme demands; one by one, as they stand in the file."""
    secrets = original.get("secrets")
    if not isinstance(secrets, list) or "secrets" not in offer.keys:
        return {}
    form = {key: sound[key] for key in ("algorithm", "key_encoding") if key in sound} | {"source": "header:x"}
    wrong: Faults = {}
    for index, secret in enumerate(secrets):
        try:
            if isinstance(secret, str):
                offer.build([secret], form)
        except InvalidSecret as error:
            wrong[index] = [str(error)]
        except InvalidRecipe:
            return {}  # the key encoding itself is wrong and told
    return {"secrets": wrong} if wrong else {}
