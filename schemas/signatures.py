"""Schema of `[providers.NAME.signature]`, which loads to a `CallbackAuth`. Unknown keys are errors.

`scheme` is a preset, a scheme with its own class, or one of `hmac`, `digest`, `rsa`, `ecdsa`, `ed25519`, `jws`,
`equals` and `basic`, which the other keys describe (see `receiver.signatures.recipe.Recipe`). Public keys and JWTs are
in `receiver.schemas.public_key_signatures`. `token` means that a secret path segment of the URL is the only
authentication. All errors are reported together, each under its key, and none shows a secret.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.times import UNITS
from receiver.schemas.fields import DURATION_RANGE, Choice, NetworkList, check_http_url, find_secret_error
from receiver.schemas.public_key_signatures import (
    JWT_KEYS,
    SOURCE_KEYS,
    PublicKeySchema,
    build_detached_signatures,
    build_jwt,
    build_messagebird,
    build_paypal,
    build_public_keys,
    build_sns,
    build_vonage,
    find_jwt_errors,
    find_key_errors,
)
from receiver.schemas.signature_fields import HeaderNames, ParameterTableSchema, UrlTokens, check_tokens
from receiver.signatures.base import CallbackAuth, InvalidSecret, Scheme, Trust, fingerprint_secret
from receiver.signatures.checks import HASHES, KEY_ENCODINGS
from receiver.signatures.encodings import ENCODINGS
from receiver.signatures.fal import FalScheme
from receiver.signatures.formats import FORMATS
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.recipe_compiler import InvalidRecipe
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, StandardWebhooks, parse_key
from receiver.signatures.twilio import Twilio

_COMMON_KEYS = frozenset({"scheme", "token", "allow_from", "trust"})
_LOCATION_KEYS = frozenset(
    {"secrets", "header", "source", "format", "prefix", "separator", "pair", "items", "key_encoding"}
)
_RECIPE_KEYS = (
    _LOCATION_KEYS
    | {"set_separator", "encoding", "signed", "params", "decode_url", "timestamp", "unit", "tolerance", "id", "nonce"}
    | {"public_url"}
)
_HASH_KEYS = frozenset({"algorithm", "algorithm_header", "algorithm_names"})
_PUBLIC_RECIPE_KEYS = (_RECIPE_KEYS - {"secrets", "key_encoding", "set_separator"}) | SOURCE_KEYS
_PUBLIC_KEY_OPTIONS = SOURCE_KEYS | {"padding", "signature_format", "algorithms"}
_SOURCE_KEYS = ("source", "timestamp", "id", "nonce")

Options = Mapping[str, Any]
Errors = dict[Any, Any]


@dataclass(frozen=True, slots=True)
class _SchemeBuilder:
    """The keys that a scheme accepts in addition to the common ones, and the function that builds it.

    `required` are those without which it means nothing. `has_default_location` is whether it is documented where the
    signature is.
    """

    keys: frozenset[str]
    build: Callable[[Sequence[str], Options], Scheme]
    required: tuple[str, ...] = ()
    has_default_location: bool = False


def _build_standard_webhooks(prefix: str, secrets: Sequence[str], options: Options) -> Scheme:
    return StandardWebhooks([parse_key(secret) for secret in secrets], _get_tolerance(options), prefix)


def _build_preset(name: str, secrets: Sequence[str], options: Options) -> Scheme:
    settings = {key: options[key] for key in ("tolerance", "unit", "public_url") if key in options}
    return PRESETS[name](secrets=secrets, **settings)


def _build_recipe(algorithm: str, secrets: Sequence[str], options: Options) -> Scheme:
    """Build a recipe from the keys; by default a timestamp is in seconds and its age is checked."""
    excluded = _COMMON_KEYS | {"secrets", "header", "params"} | _PUBLIC_KEY_OPTIONS
    settings = {key: value for key, value in options.items() if key not in excluded}
    if "header" in options:
        first, *others = options["header"]
        settings |= {"source": f"header:{first}", "other_headers": tuple(others)}
    if "params" in options:
        settings["parameters"] = options["params"]
    if "timestamp" in options:
        settings = {"unit": "s", "tolerance": DEFAULT_TOLERANCE} | settings
    return Recipe(secrets=secrets, **{"algorithm": algorithm} | settings)


def _build_digest(secrets: Sequence[str], options: Options) -> Scheme:
    return _build_recipe("sha256", secrets, {"signed": "{body}{secret}"} | dict(options) | {"is_digest": True})


def _build_public_recipe(scheme: str, secrets: Sequence[str], options: Options) -> Scheme:
    """Build a recipe whose signatures are verified by public keys; `ed25519` may have them as secrets."""
    if scheme == "jws":
        return _build_recipe("jws", (), {**options, "public_keys": build_detached_signatures(options)})
    settings = {key: value for key, value in options.items() if key != "algorithm"}
    if scheme == "ed25519" and SOURCE_KEYS.isdisjoint(options):
        return _build_recipe(scheme, secrets, settings)
    defaults = {"encoding": "hex" if scheme == "ed25519" else "base64"}
    return _build_recipe(scheme, (), defaults | settings | {"public_keys": build_public_keys(scheme, options)})


def _get_tolerance(options: Options) -> float:
    return float(options.get("tolerance", DEFAULT_TOLERANCE))


def _find_preset_keys(preset: partial[Recipe]) -> frozenset[str]:
    """Return the keys that a preset accepts: secrets, and what applies of tolerance, undocumented unit, public URL."""
    keys = {"secrets"}
    if preset.keywords.get("timestamp"):
        keys.add("tolerance")
        if not preset.keywords.get("unit"):
            keys.add("unit")
    if preset(secrets=()).signs_url:
        keys.add("public_url")
    return frozenset(keys)


_TIMED_KEYS = frozenset({"secrets", "tolerance"})
_URL_KEYS = frozenset({"secrets", "public_url"})
_BUILDERS: Mapping[str, _SchemeBuilder] = {
    "hmac": _SchemeBuilder(_RECIPE_KEYS | _HASH_KEYS, partial(_build_recipe, "sha256")),
    "digest": _SchemeBuilder(_RECIPE_KEYS | _HASH_KEYS, _build_digest),
    "rsa": _SchemeBuilder(_PUBLIC_RECIPE_KEYS | {"algorithm", "padding"}, partial(_build_public_recipe, "rsa")),
    "ecdsa": _SchemeBuilder(
        _PUBLIC_RECIPE_KEYS | {"algorithm", "signature_format"}, partial(_build_public_recipe, "ecdsa")
    ),
    "ed25519": _SchemeBuilder(_RECIPE_KEYS | SOURCE_KEYS, partial(_build_public_recipe, "ed25519")),
    "jws": _SchemeBuilder((_PUBLIC_RECIPE_KEYS - {"encoding"}) | {"algorithms"}, partial(_build_public_recipe, "jws")),
    "equals": _SchemeBuilder(_LOCATION_KEYS, partial(_build_recipe, "equals")),
    "basic": _SchemeBuilder(
        frozenset({"secrets"}),
        lambda secrets, _: Recipe(source="header:Authorization", secrets=secrets, algorithm="basic"),
    ),
    "jwt": _SchemeBuilder(JWT_KEYS, build_jwt, has_default_location=True),
    "sns": _SchemeBuilder(frozenset({"topic_arn", "tolerance"}), build_sns, required=("topic_arn",)),
    "paypal": _SchemeBuilder(frozenset({"webhook_id", "tolerance"}), build_paypal, required=("webhook_id",)),
    "standard-webhooks": _SchemeBuilder(_TIMED_KEYS, partial(_build_standard_webhooks, "webhook")),
    "svix": _SchemeBuilder(_TIMED_KEYS, partial(_build_standard_webhooks, "svix")),
    "openai": _SchemeBuilder(_TIMED_KEYS, partial(_build_standard_webhooks, "webhook")),
    "replicate": _SchemeBuilder(_TIMED_KEYS, partial(_build_standard_webhooks, "webhook")),
    "twilio": _SchemeBuilder(_URL_KEYS, lambda secrets, options: Twilio(secrets, options.get("public_url"))),
    "plivo-v3": _SchemeBuilder(_URL_KEYS, lambda secrets, options: PlivoV3(secrets, options.get("public_url"))),
    "vonage": _SchemeBuilder(_TIMED_KEYS, build_vonage),
    "messagebird": _SchemeBuilder(_TIMED_KEYS | _URL_KEYS, build_messagebird),
    "fal": _SchemeBuilder(
        frozenset({"tolerance", "user_id"}),
        lambda _, options: FalScheme(_get_tolerance(options), options.get("user_id", "")),
    ),
    "rfc9421": _SchemeBuilder(
        _TIMED_KEYS | _URL_KEYS,
        lambda secrets, options: HTTPMessageSignatures(
            secrets, _get_tolerance(options), public_url=options.get("public_url")
        ),
    ),
    **{
        name: _SchemeBuilder(_find_preset_keys(preset), partial(_build_preset, name))
        for name, preset in PRESETS.items()
    },
}
SCHEMES = ("token", *_BUILDERS)
"""The valid values of `scheme`."""


class SignatureSchema(PublicKeySchema):
    """The authentication of a provider's callbacks; loads to a `CallbackAuth`. Any of the secrets may match."""

    scheme = fields.String(required=True, validate=Choice(SCHEMES))
    secrets = fields.List(fields.String(), validate=validate.Length(min=1, max=10))
    token = UrlTokens()
    allow_from = NetworkList(validate=validate.Length(min=1))
    trust = fields.Enum(Trust, by_value=True)
    algorithm = fields.String(validate=Choice(HASHES))
    algorithm_header = fields.String(validate=validate.Length(min=1))
    algorithm_names = fields.Dict(
        keys=fields.String(validate=validate.Length(min=1)),
        values=fields.String(validate=Choice(HASHES)),
        validate=validate.Length(min=1),
    )
    header = HeaderNames()
    source = fields.String(validate=validate.Length(min=1))
    format = fields.String(validate=Choice(FORMATS))
    prefix = fields.String()
    separator = fields.String(validate=validate.Length(min=1))
    set_separator = fields.String(validate=validate.Length(min=1))
    pair = fields.String(validate=validate.Length(min=1))
    items = fields.String(validate=validate.Length(min=1))
    encoding = fields.String(validate=Choice(ENCODINGS))
    key_encoding = fields.String(validate=Choice(KEY_ENCODINGS))
    signed = fields.String()
    params = fields.Nested(ParameterTableSchema)
    decode_url = fields.Boolean()
    timestamp = fields.String(validate=validate.Length(min=1))
    unit = fields.String(validate=Choice(list(UNITS)))
    tolerance = fields.Float(validate=DURATION_RANGE)
    id = fields.String(validate=validate.Length(min=1))
    nonce = fields.String(validate=validate.Length(min=1))
    public_url = fields.String(validate=check_http_url)
    user_id = fields.String(validate=validate.Length(min=1))

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_scheme(self, data: dict[str, Any], original: Any, **_: Any) -> None:
        scheme = data.get("scheme")
        if scheme is None or not isinstance(original, Mapping):
            return
        errors = _check_token_scheme(original) if scheme == "token" else _check_scheme_keys(scheme, data, original)
        if data.get("trust") is Trust.SIGNATURE and not errors and _signs_nothing(scheme, data):
            errors["trust"] = ["Must be sender or confirm: callbacks carry the secret itself, and nothing is signed."]
        if errors:
            raise ValidationError(errors)

    @post_load
    def _build_auth(self, data: dict[str, Any], **_: Any) -> CallbackAuth:
        secrets, tokens = tuple(data.get("secrets", ())), data.get("token", ())
        allow_from, trust = data.get("allow_from", ()), data.get("trust", Trust.SIGNATURE)
        if data["scheme"] == "token":
            return CallbackAuth(None, tokens or secrets, allow_from, trust)
        scheme = _BUILDERS[data["scheme"]].build(secrets, _strip_public_url(data))
        fingerprints = tuple(map(fingerprint_secret, secrets or data.get("keys", ())))
        return CallbackAuth(scheme, tokens, allow_from, trust, fingerprints, data["scheme"])


def _signs_nothing(scheme: str, data: Options) -> bool:
    return scheme == "token" or _BUILDERS[scheme].build((), data).is_bearer


def _strip_public_url(data: Options) -> Options:
    """Return the options with a `public_url` without a slash at its end, since a callback's target starts with one."""
    return dict(data) | ({"public_url": data["public_url"].rstrip("/")} if "public_url" in data else {})


def _check_foreign_keys(scheme: str, keys: frozenset[str], original: Options) -> Errors:
    """Return the errors of keys that exist, but are not keys of this scheme."""
    declared = SignatureSchema._declared_fields.keys()  # noqa: SLF001  # marshmallow has no public name for these
    foreign = [key for key in original if key in declared and key not in keys | _COMMON_KEYS]
    return {key: [_format_foreign_key(scheme, key)] for key in foreign}


def _format_foreign_key(scheme: str, key: str) -> str:
    if scheme not in PRESETS:
        return f"Not supported by scheme = {scheme}."
    if key == "public_url":
        return f"Not supported: scheme = {scheme} does not sign the URL."
    if key in {"tolerance", "unit"} and "timestamp" not in PRESETS[scheme].keywords:
        return f"Not supported: scheme = {scheme} does not sign a timestamp."
    return f"Cannot be set: it is fixed by scheme = {scheme}."


def _check_token_scheme(original: Options) -> Errors:
    errors = _check_foreign_keys("token", frozenset({"secrets"}), original)
    secrets = original.get("secrets")
    if ("secrets" in original) == ("token" in original):
        errors["secrets"] = ["Set the URL tokens in exactly one of secrets and token."]
    elif isinstance(secrets, list) and (token_errors := check_tokens(secrets)):
        errors["secrets"] = token_errors
    return errors


def _check_scheme_keys(scheme: str, data: Options, original: Options) -> Errors:
    builder = _BUILDERS[scheme]
    errors = _check_foreign_keys(scheme, builder.keys, original)
    required = ("secrets",) if "secrets" in builder.keys and "keys" not in builder.keys else builder.required
    for key in required:
        if key not in original:
            errors[key] = [f"Missing data for required field: scheme = {scheme} needs {key}."]
    location_keys = [key for key in ("header", "source") if key in original]
    if "source" in builder.keys and len(location_keys) != 1 and (location_keys or not builder.has_default_location):
        errors["header"] = ["Set exactly one of header and source: the location of the signature."]
    if "unit" in original and not {"timestamp", "tolerance"} & original.keys():
        errors.setdefault("unit", ["Requires timestamp or tolerance."])
    # Keys that are invalid by themselves get placeholders, so that they do not cause further errors of other keys.
    placeholders = {key: "header:x" for key in _SOURCE_KEYS if key in original and key not in data}
    if not {"header", "source"} & data.keys():
        placeholders["source"] = "header:x"
    valid = {key: value for key, value in data.items() if key in builder.keys}
    if isinstance(valid.get("params"), dict):  # not built, since it has errors
        del valid["params"]
    valid = {key: value for key, value in placeholders.items() if key in builder.keys} | valid
    if "header" in valid:
        valid.pop("source", None)
    if "keys" in builder.keys:
        key_errors = find_key_errors(scheme, data, original, takes_secrets="secrets" in builder.keys)
        jwt_errors = find_jwt_errors(data, original) if scheme == "jwt" else {}
        invalid = jwt_errors.keys() | key_errors.keys() | (SOURCE_KEYS if key_errors else frozenset())
        valid = {key: value for key, value in valid.items() if key not in invalid}
        errors |= jwt_errors | key_errors
    return _check_recipe(builder, valid, original) | _check_secrets(builder, valid, original) | errors


def _check_recipe(builder: _SchemeBuilder, valid: Options, original: Options) -> Errors:
    """Return the errors of keys that contradict each other, by building the scheme without secrets."""
    try:
        scheme = builder.build((), valid)
    except InvalidRecipe as error:
        names = {
            "source": "header" if "header" in original else "source",
            "other_headers": "header",
            "parameters": "params",
        }
        return {names.get(key, key): [message] for key, message in error.errors.items()}
    return _check_unused_keys(scheme, original) if isinstance(scheme, Recipe) else {}


def _check_unused_keys(recipe: Recipe, original: Options) -> Errors:
    """Return the errors of keys that have no effect on a recipe."""
    errors: Errors = {}
    if not recipe.signs_url:
        message = "Not supported: the URL is not part of signed."
        errors |= {key: [message] for key in ("public_url", "decode_url") if key in original}
    if "params" in original and not recipe.signs_parameters:
        errors["params"] = ["Not supported: {sorted_params} is not part of signed."]
    if "algorithm" in original and recipe.algorithm_header:
        errors["algorithm"] = ["Cannot be combined with algorithm_header: that header names the algorithm."]
    return errors


def _check_secrets(builder: _SchemeBuilder, valid: Options, original: Options) -> Errors:
    """Return the errors of secrets without the format that the scheme requires, by their index in the file."""
    secrets = original.get("secrets")
    if not isinstance(secrets, list) or "secrets" not in builder.keys:
        return {}
    options = {key: valid[key] for key in ("algorithm", "key_encoding") if key in valid} | {"source": "header:x"}
    errors: Errors = {}
    for index, secret in enumerate(secrets):
        if isinstance(secret, str) and (secret_error := find_secret_error(secret)):
            errors[index] = [secret_error]
            continue
        try:
            if isinstance(secret, str):
                builder.build([secret], options)
        except InvalidSecret as error:
            errors[index] = [str(error)]
        except InvalidRecipe:
            return {}  # the key encoding itself is invalid, which `_check_recipe` reports
    return {"secrets": errors} if errors else {}
