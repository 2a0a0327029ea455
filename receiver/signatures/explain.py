"""Explain why a callback was rejected: the part that failed and, if it can be found, the likely cause.

Causes are not guessed, but tried: variants of the callback or of the settings are verified, for example with the body
as it may have been before a proxy encoded it again, with another URL or with another encoding of the secrets. The first
variant that verifies shows the cause.
"""

import json
import math
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.times import UNITS, parse_unix_time
from receiver.signatures.base import MAX_SIGNATURES, NO_DOCUMENTS, InvalidSecret, InvalidSignature, Scheme
from receiver.signatures.checks import HASHES, KEY_ENCODINGS
from receiver.signatures.key_checks import PlainSignatures
from receiver.signatures.public_keys import HASHES as PUBLIC_KEY_HASHES
from receiver.signatures.public_keys import PADDINGS, RSA, SIGNATURE_FORMATS
from receiver.signatures.recipe import Recipe
from receiver.signatures.recipe_compiler import InvalidRecipe
from receiver.signatures.standard_webhooks import StandardWebhooks

_MISSING_CAUSE = (
    "The provider does not sign these callbacks, a proxy in between removes the header, or its name has underscores in "
    "place of hyphens: web servers drop such headers."
)
_MISSING_VALUE = re.compile(r"The (field|query|pair) (.+) is missing\.", re.DOTALL)
_MAX_HEADERS = 100
_PAIR_ROLES = frozenset({"timestamp", "id", "nonce"})
_ENCODINGS = ("hex", "base64", "base64-hex")
_MAX_SIGNATURE_CHARS = 1_000
# A header that is sent twice arrives as one, joined by commas; each value of Standard Webhooks contains a comma itself.
_JOINED_HEADERS = re.compile(r",(?!\S)|(?<!v1)(?<!v1a),(?=\S)")
Trial = tuple[str, Scheme, IncomingCallback]
"""A cause, with the scheme and the callback that verify if it applies."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The error of a callback and its likely causes; `part` and `message` are None if the callback is valid."""

    part: str | None
    message: str | None
    causes: tuple[str, ...] = ()


def explain_signature(
    scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS
) -> Explanation:
    """Explain a callback relative to its receive time; never raises on the content of a callback."""
    try:
        scheme.verify(callback, documents)
    except InvalidSignature as caught:
        error = caught
    else:
        return Explanation(None, None, ("The signature is valid with the current settings. Replay the callback.",))
    causes = tuple(_find_causes(scheme, callback, documents)) or _get_general_causes(scheme, error)
    return Explanation(error.part, str(error), causes)


def _find_causes(scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes]) -> Iterator[str]:
    ageless = _remove_tolerance(scheme)
    trials = [
        *_vary_unit(scheme, callback),
        (_explain_timestamp(scheme, callback), ageless, callback),
        *_vary_signature(ageless, callback),
        *_vary_secrets(ageless, callback),
        *_vary_body(ageless, callback),
        *_vary_url(ageless, callback),
        *_vary_settings(ageless, callback),
        *_vary_public_keys(ageless, callback),
    ]
    for cause, trial_scheme, trial_callback in trials:
        if _verifies(trial_scheme, trial_callback, documents):
            yield cause
            return


def _verifies(scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes]) -> bool:
    try:
        scheme.verify(callback, documents)
    except InvalidSignature:
        return False
    return True


def _get_general_causes(scheme: Scheme, error: InvalidSignature) -> tuple[str, ...]:
    message = str(error)
    if missing := _MISSING_VALUE.fullmatch(message):
        return (_explain_missing_value(scheme, error.part, missing[1], missing[2]),)
    if "missing" in message and message.startswith(("The field", "The member")):
        return ("The body does not have the form that `signature` expects: see which form the provider signs.",)
    if "missing" in message:
        return (_MISSING_CAUSE,)
    if "match" in message:
        key = "key" if "public key" in message else "secret"
        cause = (
            f"The callback may be forged. If it is the provider's, it was signed with a {key} that is not configured, "
            "or its body was modified in transit."
        )
        return (cause,)
    return ()


def _explain_missing_value(scheme: Scheme, part: str, kind: str, name: str) -> str:
    """Explain why a value that is not in a header of its own is missing: mostly it is configured in the wrong place."""
    if kind == "query":
        return f"The URL that was called has no parameter `{name}`. Does `signature` name the right one?"
    if kind == "pair":
        header = _find_signature_header(scheme)
        place = f" in the header `{header}`" if header else ""
        return f"The signature{place} has no pair `{name}`. Does `signature` name the right one?"
    meaning = "where `timestamp` of `signature` says that the time is"
    text = f"The body has no `{name}`, {meaning if part == 'timestamp' else 'which `signature` reads'}."
    if not isinstance(scheme, Recipe) or scheme.format != "pairs" or part not in _PAIR_ROLES:
        return text
    hint = f'write `{part} = "pair:{name}"`'
    return f"{text} If it is in the signature header, as in `{name}=…,{scheme.pair}=…`, {hint}."


def _has_setting(scheme: Scheme, name: str) -> bool:
    return is_dataclass(scheme) and name in {field.name for field in fields(scheme)}


def _replace_settings(scheme: Scheme, **changes: Any) -> Scheme | None:
    """Return the scheme with other settings, or None if these are invalid for it."""
    try:
        return replace(scheme, **changes)  # type: ignore[type-var]  # every scheme with these fields is a dataclass
    except (InvalidRecipe, InvalidSecret):
        return None


def _remove_tolerance(scheme: Scheme) -> Scheme:
    return (_replace_settings(scheme, tolerance=math.inf) if _has_setting(scheme, "tolerance") else None) or scheme


def _vary_unit(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield other units of the timestamp, in which its age is checked as well."""
    if isinstance(scheme, Recipe) and scheme.tolerance != math.inf:
        for unit in UNITS:
            if unit != scheme.unit and (variant := _replace_settings(scheme, unit=unit)):
                yield f"The timestamp is in another unit: set unit = {unit}.", variant, callback


def _explain_timestamp(scheme: Scheme, callback: IncomingCallback) -> str:
    """Return the cause of an error in the timestamp of a callback whose signature is right."""
    if isinstance(scheme, Recipe) and scheme.unit:
        timestamp = scheme.read_timestamp(callback)
        if parse_unix_time(timestamp, scheme.unit) is None:
            return f"The signature is right, but the timestamp cannot be read as unit = {scheme.unit}."
    return "The signature is right, but the timestamp is not: a clock is wrong, or the callback was sent again late."


def _vary_signature(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield other places of the signature."""
    header = _find_signature_header(scheme)
    value = callback.headers.get(header, "")
    parts = [part.strip() for part in _JOINED_HEADERS.split(value)][: MAX_SIGNATURES + 1]
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            cause = (
                f"The header {header} was sent several times, and our signature is in number {number}. Have the "
                "provider send one signature, or set format = list with a comma as separator."
            )
            yield cause, scheme, replace(callback, headers={**callback.headers, header: part})
    if not isinstance(scheme, Recipe):
        return
    for name in sorted(callback.headers)[:_MAX_HEADERS]:
        is_candidate = name != header and len(callback.headers[name]) <= _MAX_SIGNATURE_CHARS
        if is_candidate and (variant := _replace_settings(scheme, source=f"header:{name}")):
            yield f"The signature is in the header {name}: set header to it.", variant, callback


def _find_signature_header(scheme: Scheme) -> str:
    """Return the name of the header with the signature; "" if it is not in a header."""
    if isinstance(scheme, StandardWebhooks):
        return f"{scheme.prefix}-signature"
    if not isinstance(scheme, Recipe) or not scheme.source.startswith("header:"):
        return ""
    return scheme.source.removeprefix("header:").lower()


def _vary_secrets(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield the secrets with blanks and line breaks at their ends, or without."""
    name = "secrets" if _has_setting(scheme, "secrets") else "auth_tokens"
    secrets: Sequence[str] = getattr(scheme, name, ())
    changes = {
        "A configured secret has white space around it, which is not part of the provider's.": str.strip,
        "The provider signs with a secret that ends with a line break. Enter it there again.": lambda text: f"{text}\n",
        "The provider signs with a secret that ends with CR and LF. Enter it there again.": lambda text: f"{text}\r\n",
        "The provider signs with a secret that ends with a blank. Enter it there again.": lambda text: f"{text} ",
        "The provider signs with a secret that begins with a blank. Enter it there again.": lambda text: f" {text}",
    }
    for cause, change in changes.items():
        if secrets and (variant := _replace_settings(scheme, **{name: tuple(map(change, secrets))})):
            yield cause, variant, callback


def _vary_body(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield the body as it may have been before a proxy or framework parsed it and encoded it again."""
    body = callback.body
    candidates = {
        "without the surrounding white space": body.strip(),
        "with a line break at its end": body + b"\n",
        "with LF line breaks": body.replace(b"\r\n", b"\n"),
        "with CRLF line breaks": body.replace(b"\n", b"\r\n"),
    }
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if document is not None:
        for ascii_only in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                text = json.dumps(document, ensure_ascii=ascii_only, separators=separators)
                variant = f"as JSON with the separators {separators!r}{' in ASCII' if ascii_only else ''}"
                candidates[variant] = text.encode("utf-8", "replace")
    modified = "The body was modified in transit, for example by a proxy that encodes it again"
    for variant, candidate in candidates.items():
        if candidate != body:
            yield f"{modified}: it was signed {variant}.", scheme, replace(callback, body=candidate)


def _vary_url(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield the URLs that the provider may have called."""
    if not _has_setting(scheme, "public_url"):
        return
    public_url = getattr(scheme, "public_url", None) or callback.public_url
    headers = callback.headers
    hosts = {headers.get("x-forwarded-host"), headers.get("host"), urlsplit(public_url).netloc}
    path, mark, query = callback.target.partition("?")
    targets = {
        f"{spelling}{suffix}" for spelling in (path, path.rstrip("/"), f"{path}/") for suffix in ("", f"{mark}{query}")
    }
    origins = [f"{protocol}://{host}" for host in sorted(filter(None, hosts)) for protocol in ("https", "http")]
    for origin in origins:
        if variant := _replace_settings(scheme, public_url=origin):
            for target in sorted(targets):
                cause = (
                    f"The callback was signed for {origin}{target}: set public_url to the URL that the provider calls."
                )
                yield cause, variant, replace(callback, target=target)


def _vary_settings(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield other ways to decode the signature and the secrets."""
    if isinstance(scheme, StandardWebhooks):
        texts = [b64encode(key) for key in scheme.keys if isinstance(key, bytes)]
        variant = replace(scheme, keys=[*texts, *(b"whsec_" + text for text in texts)])
        yield "The signer used the text of the secret as its key, without decoding the base64.", variant, callback
    if not isinstance(scheme, Recipe):
        return
    header = _find_signature_header(scheme)
    value = callback.headers.get(header, "")
    if value and not value.startswith(scheme.prefix):
        headers = {**callback.headers, header: f"{scheme.prefix}{value}"}
        yield f"The signature lacks its prefix {scheme.prefix}.", scheme, replace(callback, headers=headers)
    changes: dict[str, dict[str, Any]] = {
        **{f"The secrets must be decoded as {encoding}.": {"key_encoding": encoding} for encoding in KEY_ENCODINGS},
        **{f"The signature is encoded in {encoding}.": {"encoding": encoding} for encoding in _ENCODINGS},
        **{f"The algorithm is {algorithm}.": {"algorithm": algorithm} for algorithm in HASHES},
        "The provider does not send the prefix.": {"prefix": ""},
        "The query of the URL was signed decoded: set decode_url = true.": {"decode_url": True},
        **{
            f"The signature is a plain hash: set scheme = digest and signed = {signed}.": {
                "is_digest": True,
                "signed": signed,
            }
            for signed in (f"{scheme.signed}{{secret}}", f"{{secret}}{scheme.signed}")
        },
    }
    for cause, change in changes.items():
        if variant_recipe := _replace_settings(scheme, **change):
            yield cause, variant_recipe, callback


def _vary_public_keys(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Yield other ways to verify by the same public keys."""
    if not isinstance(scheme, Recipe) or not isinstance(scheme.public_keys, PlainSignatures):
        return
    for padding in PADDINGS:
        for signature_format in SIGNATURE_FORMATS:
            for hash_name in ("", *PUBLIC_KEY_HASHES):
                public_keys = replace(
                    scheme.public_keys, hash_name=hash_name, padding=padding, signature_format=signature_format
                )
                variant = replace(scheme, public_keys=public_keys)
                cause = f"padding = {padding}" if variant.algorithm == RSA else f"signature_format = {signature_format}"
                algorithm = f"algorithm = {hash_name} and " if hash_name else ""
                yield f"The signature is of another form: set {algorithm}{cause}.", variant, callback
