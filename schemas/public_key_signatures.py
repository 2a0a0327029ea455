"""The keys of `[providers.NAME.signature]` for public keys, JWTs and the schemes with certificates.

`find_key_errors` and `find_option_errors` return what is wrong, by key; the `build_…` functions build schemes from
options without errors.
"""

import math
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

from receiver.domain.targets import normalize_host_pattern
from receiver.schemas.fields import Choice, StrictSchema
from receiver.signatures.base import InvalidSecret, Scheme
from receiver.signatures.jose import ALGORITHMS, find_algorithm_errors
from receiver.signatures.jwt import AUTHORIZATION, BODY_HASH, HASH_ALGORITHMS, HASH_ENCODINGS, Jwt
from receiver.signatures.key_checks import DetachedSignatures, PlainSignatures
from receiver.signatures.key_sources import ConfiguredKeys, KeyDocument, KeySource, NamedCertificate
from receiver.signatures.public_keys import ECDSA, ED25519, HASHES, PADDINGS, RSA, SIGNATURE_FORMATS, parse_public_key
from receiver.signatures.recipe import Recipe
from receiver.signatures.sns import TOPIC_ARN, Sns
from receiver.signatures.sources import ValueSource, parse_source
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE

SOURCE_KEYS = frozenset({"keys", "jwks_url", "certificate_url", "allowed_hosts", "key_id"})
"""The keys that state where public keys come from."""
JWT_KEYS = SOURCE_KEYS | {
    "secrets",
    "header",
    "source",
    "algorithms",
    "audience",
    "issuer",
    "claims",
    "body_hash",
    "body_hash_algorithm",
    "body_hash_encoding",
    "url_hash",
    "tolerance",
    "public_url",
}
_KEY_LOCATIONS = ("keys", "jwks_url", "certificate_url")
_VISIBLE = re.compile(r"[!-~]+")
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_-]+")
_PAYPAL_PATH = "/v1/notifications/certs/"
_PAYPAL_HOSTS = ("api.paypal.com", "api.sandbox.paypal.com")

Options = Mapping[str, Any]
Errors = dict[Any, Any]


class TextList(fields.Field[tuple[str, ...]]):
    """One text or a list of them, none of them empty."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else [value]
        if not 1 <= len(texts) <= 100 or not all(isinstance(text, str) and text for text in texts):
            raise ValidationError("Must be a text or a list of 1 to 100 texts.")
        return tuple(texts)


def _check_topic(topics: Sequence[str]) -> None:
    if not all(TOPIC_ARN.fullmatch(topic) for topic in topics):
        raise ValidationError("Must be the ARN of a topic such as arn:aws:sns:us-east-1:123456789012:name.")


class PublicKeySchema(StrictSchema):
    """The keys that the table has for public keys, JWTs and the schemes with certificates."""

    keys = fields.List(fields.String(), validate=validate.Length(min=1, max=10))
    jwks_url = fields.String()
    certificate_url = fields.String(validate=validate.Length(min=1))
    allowed_hosts = TextList()
    key_id = fields.String(validate=validate.Length(min=1))
    padding = fields.String(validate=Choice(PADDINGS))
    signature_format = fields.String(validate=Choice(SIGNATURE_FORMATS))
    algorithms = fields.List(fields.String(validate=Choice(ALGORITHMS)), validate=validate.Length(min=1))
    audience = TextList()
    issuer = TextList()
    claims = fields.Dict(keys=fields.String(), values=fields.Raw())
    body_hash = fields.String()
    body_hash_algorithm = fields.String(validate=Choice(HASH_ALGORITHMS))
    body_hash_encoding = fields.String(validate=Choice(tuple(HASH_ENCODINGS)))
    url_hash = fields.String(validate=validate.Length(min=1))
    topic_arn = TextList(validate=_check_topic)
    webhook_id = fields.String(validate=validate.Regexp(_WEBHOOK_ID, error="Must be the id of a webhook."))


def find_key_errors(scheme: str, options: Options, original: Options, *, takes_secrets: bool) -> Errors:
    """Return the errors of the keys that state where the public keys of a scheme come from.

    Args:
        scheme: its name, which is the type of its keys if that is fixed.
        options: the values that are valid by themselves.
        original: the table as it is in the file.
        takes_secrets: whether there may be secrets in place of public keys.
    """
    locations = ("secrets", *_KEY_LOCATIONS) if takes_secrets else _KEY_LOCATIONS
    present = [name for name in locations if name in original]
    if not present:
        names = ", ".join(locations)
        return {locations[0]: [f"Missing data for required field: scheme = {scheme} needs one of {names}."]}
    errors = _find_url_errors(options, original)
    if len(present) > 1:
        errors[present[1]] = [f"Set only one of {', '.join(locations)}."]
    if scheme in {RSA, ECDSA} and options.get("algorithm", "sha256") not in HASHES:
        errors["algorithm"] = [f"Must be one of: {', '.join(HASHES)}."]
    if key_errors := _find_configured_key_errors(scheme, options.get("keys", ())):
        errors["keys"] = key_errors
    if "key_id" in options and (message := _find_source_error(options["key_id"])):
        errors["key_id"] = [message]
    elif "key_id" in options and "keys" not in errors and not _have_ids(options):
        errors["key_id"] = ["Requires jwks_url, or keys that are JWKs with a kid: no other key has an id."]
    return errors


def _have_ids(options: Options) -> bool:
    return "certificate_url" not in options and all(parse_public_key(key).key_id for key in options.get("keys", ()))


def find_jwt_errors(options: Options, original: Options) -> Errors:
    """Return the errors of the other keys of `scheme = "jwt"`."""
    errors: Errors = {}
    if not {"secrets", "keys"} & original.keys():
        reason = "Required for fetched keys: the same keys sign tokens for others."
        errors |= {name: [reason] for name in ("audience", "issuer") if name not in original}
    if "body_hash" in options and not options["body_hash"]:
        errors |= {
            name: ["Requires body_hash."] for name in ("body_hash_algorithm", "body_hash_encoding") if name in original
        }
    algorithm_errors = find_algorithm_errors(options.get("algorithms", ()), has_secrets="secrets" in original)
    if algorithm_errors:
        errors["algorithms"] = algorithm_errors
    if "public_url" in original and "url_hash" not in original:
        errors["public_url"] = ["Requires url_hash."]
    source = options.get("source")
    if source is not None and (message := _find_source_error(source)):
        errors["source"] = [message]
    headers = options.get("header", ())
    if len(headers) > 1:
        errors["header"] = ["Must be one name: a callback has one token."]
    elif headers and (message := _find_source_error(f"header:{headers[0]}")):
        errors["header"] = [message]
    return errors


def build_key_source(options: Options) -> KeySource:
    """Build where the public keys of a scheme come from."""
    key_id = parse_source(options["key_id"]) if "key_id" in options else None
    if "jwks_url" in options:
        return KeyDocument(key_id, options["jwks_url"])
    location = options.get("certificate_url")
    if location is None:
        return ConfiguredKeys(key_id, tuple(map(parse_public_key, options.get("keys", ()))))
    if location.startswith("https://"):
        return KeyDocument(key_id, location)
    return NamedCertificate(key_id, parse_source(location), tuple(map(str.lower, options.get("allowed_hosts", ()))))


def build_public_keys(kind: str, options: Options) -> PlainSignatures:
    """Build how signatures of one type of key are verified; the keys of the table that are not its own are ignored."""
    return PlainSignatures(
        build_key_source(options),
        kind,
        options.get("algorithm", ""),
        options.get("padding", "pkcs1v15"),
        options.get("signature_format", "der"),
    )


def build_detached_signatures(options: Options) -> DetachedSignatures:
    """Build how detached JWSs are verified."""
    return DetachedSignatures(build_key_source(options), tuple(options.get("algorithms", ())))


def build_jwt(secrets: Sequence[str], options: Options) -> Scheme:
    """Build `scheme = "jwt"`; with secrets, the token is expected to hash the body."""
    has_keys = not SOURCE_KEYS.isdisjoint(options)
    source = f"header:{options['header'][0]}" if "header" in options else options.get("source", AUTHORIZATION)
    return Jwt(
        secrets,
        build_key_source(options) if has_keys else None,
        source,
        tuple(options.get("algorithms", ())),
        options.get("audience", ()),
        options.get("issuer", ()),
        options.get("claims", {}),
        options.get("body_hash", "" if has_keys else BODY_HASH),
        options.get("body_hash_algorithm", "sha256"),
        options.get("body_hash_encoding", "hex"),
        options.get("url_hash", ""),
        float(options.get("tolerance", DEFAULT_TOLERANCE)),
        options.get("public_url", ""),
    )


def build_vonage(secrets: Sequence[str], options: Options) -> Scheme:
    """Build the scheme of Vonage, as its documentation states it."""
    tolerance = float(options.get("tolerance", DEFAULT_TOLERANCE))
    return Jwt(secrets, algorithms=("HS256",), body_hash=BODY_HASH, tolerance=tolerance)


def build_messagebird(secrets: Sequence[str], options: Options) -> Scheme:
    """Build the scheme of MessageBird, as its documentation and libraries state it."""
    return Jwt(
        secrets,
        source="header:MessageBird-Signature-JWT",
        issuer=("MessageBird",),
        body_hash=BODY_HASH,
        url_hash="url_hash",
        tolerance=float(options.get("tolerance", DEFAULT_TOLERANCE)),
        public_url=options.get("public_url", ""),
    )


def build_sns(_: Sequence[str], options: Options) -> Scheme:
    """Build the scheme of Amazon SNS."""
    return Sns(tuple(options.get("topic_arn", ())), options.get("tolerance"))


def build_paypal(_: Sequence[str], options: Options) -> Scheme:
    """Build the scheme of PayPal, as its documentation states it: the signature covers only a CRC of the body."""
    certificate = NamedCertificate(None, parse_source("header:PAYPAL-CERT-URL"), _PAYPAL_HOSTS, _PAYPAL_PATH)
    return Recipe(
        source="header:PAYPAL-TRANSMISSION-SIG",
        secrets=(),
        algorithm=RSA,
        encoding="base64",
        signed=f"{{nonce}}|{{timestamp}}|{options.get('webhook_id', '')}|{{crc32}}",
        timestamp="header:PAYPAL-TRANSMISSION-TIME",
        unit="iso",
        tolerance=float(options.get("tolerance", math.inf)),
        nonce="header:PAYPAL-TRANSMISSION-ID",
        public_keys=PlainSignatures(certificate, RSA, "sha256"),
    )


def _find_url_errors(options: Options, original: Options) -> Errors:
    errors: Errors = {}
    if "jwks_url" in options and not _is_document_url(options["jwks_url"]):
        errors["jwks_url"] = ["Must be an https URL without a user or a fragment; http only for this machine."]
    location = options.get("certificate_url", "")
    is_fixed = location.startswith("https://")
    if is_fixed and not _is_document_url(location):
        errors["certificate_url"] = ["Must be an https URL without a user or a fragment, or a location of one."]
    if location and not is_fixed and (message := _find_source_error(location)):
        errors["certificate_url"] = [message]
    if ("certificate_url" in original and not is_fixed) != ("allowed_hosts" in original):
        errors["allowed_hosts"] = ["Required for a certificate_url that is in the callback, and only for that."]
    elif "allowed_hosts" in options and not all(map(_is_host_pattern, options["allowed_hosts"])):
        errors["allowed_hosts"] = ["Must be host names, or *.NAME for all names below NAME."]
    return errors


def _find_configured_key_errors(scheme: str, keys: Sequence[str]) -> Errors:
    errors: Errors = {}
    for index, text in enumerate(keys):
        try:
            key = parse_public_key(text)
        except InvalidSecret as error:
            errors[index] = [str(error)]
            continue
        if scheme in {RSA, ECDSA, ED25519} and key.kind != scheme:
            errors[index] = [f"This is a key of {key.kind}; scheme = {scheme} needs one of its own."]
    return errors


def _find_source_error(text: str) -> str | None:
    try:
        source: ValueSource = parse_source(text)
    except ValueError as error:
        return str(error)
    return "pair:KEY is not supported here." if source.kind == "pair" else None


def _is_document_url(url: str) -> bool:
    """Return whether keys may be fetched from a URL: by https, or by http from this machine."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = bool(_VISIBLE.fullmatch(url)) and "@" not in parts.netloc and "#" not in url
    return is_valid and is_plain and (parts.scheme == "https" or (parts.scheme == "http" and _is_local(parts.hostname)))


def _is_local(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _is_host_pattern(text: str) -> bool:
    try:
        normalize_host_pattern(text)
    except ValueError:
        return False
    return True
