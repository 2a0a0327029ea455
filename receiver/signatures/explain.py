"""Why a delivery was refused: the part of the recipe that failed and, where one is known, the likely cause.

Causes are not guessed: each is tried. A delivery that would prove its sender if its body had not been encoded anew, if
it had been sent to another URL, or had another secret been meant, shows what is wrong by exactly that.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, InvalidSecret, Scheme, SignatureRefused
from receiver.signatures.checks import ENCODINGS, KEY_ENCODINGS
from receiver.signatures.recipe import InvalidRecipe, Recipe
from receiver.signatures.standard_webhooks import StandardWebhooks

Trial = tuple[str, Scheme, IncomingCallback]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong with a delivery; `part` and `message` are None when it proves its sender."""

    part: str | None
    message: str | None
    causes: tuple[str, ...] = ()


def explain_signature(
    scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS
) -> Explanation:
    """Explain a delivery by the time at which it was received; pure, and never raises on what may be delivered."""
    try:
        scheme.verify(callback, documents)
    except SignatureRefused as refusal:
        error = refusal
    else:
        return Explanation(None, None, ("it proves its sender by the settings of now, and can be sent again",))
    return Explanation(error.part, str(error), tuple(_causes(scheme, callback, documents)) or _otherwise(error))


def _causes(scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes]) -> Iterator[str]:
    patient = _patient(scheme)
    trials = [
        ("the signature is right, but its time is not: a clock is off, or it was sent again late", patient, callback),
        *_bodies(patient, callback),
        *_urls(patient, callback),
        *_readings(patient, callback),
    ]
    for cause, tried, as_if in trials:
        if _verifies(tried, as_if, documents):
            yield cause
            return


def _verifies(scheme: Scheme, callback: IncomingCallback, documents: Mapping[str, bytes]) -> bool:
    try:
        scheme.verify(callback, documents)
    except SignatureRefused:
        return False
    return True


def _otherwise(error: SignatureRefused) -> tuple[str, ...]:
    message = str(error)
    if "missing" in message:
        return ("the provider does not sign what it sends here, or a proxy on the way drops the header",)
    if "match" in message:
        return ("it was made with another secret than those configured, or the body was changed on its way",)
    return ()


def _has(scheme: Scheme, name: str) -> bool:
    return is_dataclass(scheme) and name in {field.name for field in fields(scheme)}


def _variant(scheme: Scheme, **changes: Any) -> Scheme | None:
    """Give a scheme with other settings, or None when they do not fit it."""
    try:
        return replace(scheme, **changes)  # type: ignore[type-var]  # every scheme with these fields is a dataclass
    except (InvalidRecipe, InvalidSecret):
        return None


def _patient(scheme: Scheme) -> Scheme:
    return (_variant(scheme, tolerance=math.inf) if _has(scheme, "tolerance") else None) or scheme


def _bodies(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Try the body as it may have been before a proxy or framework read and wrote it."""
    body = callback.body
    candidates = {
        "without the white space around it": body.strip(),
        "with a line end after it": body + b"\n",
        "with other line ends": body.replace(b"\r\n", b"\n"),
        "with other line ends than these": body.replace(b"\n", b"\r\n"),
    }
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if document is not None:
        for ascii_only in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                text = json.dumps(document, ensure_ascii=ascii_only, separators=separators)
                how = f"as JSON written with {separators!r}{' in ASCII' if ascii_only else ''}"
                candidates[how] = text.encode("utf-8", "replace")
    changed = "the body was changed on its way, as by a proxy that encodes it anew: it was signed"
    for how, candidate in candidates.items():
        if candidate != body:
            yield f"{changed} {how}", scheme, replace(callback, body=candidate)


def _urls(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Try the URLs under which the provider may have called."""
    if not (_has(scheme, "public_url")):
        return
    known = getattr(scheme, "public_url", None) or callback.public_url
    headers = callback.headers
    hosts = {headers.get("x-forwarded-host"), headers.get("host"), urlsplit(known).netloc} - {None, ""}
    path, _, query = callback.target.partition("?")
    targets = {callback.target, path, path.rstrip("/"), f"{path}/", f"{path}/?{query}" if query else f"{path}/"}
    for host in sorted(str(host) for host in hosts):
        for origin in (f"https://{host}", f"http://{host}"):
            tried = _variant(scheme, public_url=origin) or scheme
            for target in sorted(targets):
                cause = f"it was signed for {origin}{target}: set public_url so that it matches what the provider calls"
                yield cause, tried, replace(callback, target=target, public_url=origin)


def _readings(scheme: Scheme, callback: IncomingCallback) -> Iterator[Trial]:
    """Try other readings of the signature and of the secrets."""
    if isinstance(scheme, StandardWebhooks):
        texts = [b64encode(key) for key in scheme.keys if isinstance(key, bytes)]
        taken = replace(scheme, keys=[*texts, *(b"whsec_" + text for text in texts)])
        yield "the signer took the secret's text as its key, without decoding its base64", taken, callback
    if not isinstance(scheme, Recipe):
        return
    kind, _, name = scheme.source.partition(":")
    value = callback.headers.get(name.lower(), "") if kind == "header" else ""
    if scheme.prefix and value and not value.startswith(scheme.prefix):
        prefixed = {**callback.headers, name.lower(): f"{scheme.prefix}{value}"}
        yield f"the signature lacks its prefix {scheme.prefix}", scheme, replace(callback, headers=prefixed)
    changes: dict[str, dict[str, Any]] = {
        "a secret has white space around it": {"secrets": [secret.strip() for secret in scheme.secrets]},
        **{f"the secrets are to be read as {encoding}": {"key_encoding": encoding} for encoding in KEY_ENCODINGS},
        **{f"the signature is in {encoding}": {"encoding": encoding} for encoding in ENCODINGS},
        **{f"the algorithm is {algorithm}": {"algorithm": algorithm} for algorithm in ("sha1", "sha256", "sha512")},
        "the prefix is not sent": {"prefix": ""},
    }
    for cause, change in changes.items():
        if tried := _variant(scheme, **change):
            yield cause, tried, callback
