"""Checks that no handshake lets a stranger forge a callback, or has another URL called than the provider's.

`post-hmac` hashes what a signed delivery contains. `get-hmac` and `get-digest` hash what anybody sends, if under 200
characters of `A-Za-z0-9_.~:=-`. If its secret is one of the signature's as well (X, LinkedIn), then what is hashed must
never be what is signed for a callback that is read: the signature must be an HMAC over the raw body, and the body of a
kind that cannot consist of these characters, or is then read as no job.
"""

from collections.abc import Mapping
from typing import Any

from jmespath.exceptions import JMESPathError

from receiver.schemas.paths import compile_path
from receiver.signatures.base import CallbackAuth, Trust, fingerprint_secret
from receiver.signatures.coverage import CallbackDocument
from receiver.signatures.recipe import Recipe

_HASHING_KINDS = frozenset({"get-hmac", "get-digest"})
_SAFE_BODIES = frozenset({"json", "xml", "multipart"})
_ORACLE_ERROR = (
    "Must not be a secret of the signature: the response would be the signature of a callback that a stranger makes up."
)


def find_oracle_errors(auth: CallbackAuth, callback: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the errors of the handshakes in the table `callback`; keys that are missing from it are left out."""
    handshakes = callback.get("handshake") or []
    errors = {index: error for index, table in enumerate(handshakes) if (error := _find_errors(auth, callback, table))}
    return {"handshake": errors[0] if len(handshakes) == 1 else errors} if errors else {}


def _find_errors(auth: CallbackAuth, callback: Mapping[str, Any], handshake: Mapping[str, Any]) -> Mapping[str, Any]:
    coverage, kind = auth.coverage, handshake.get("kind")
    if coverage is None:
        return {}
    if kind == "post-hmac" and not coverage.covers_document(CallbackDocument("json")):
        message = "Not supported: the signature does not cover the body, so that we would sign what a stranger sends."
        return {"kind": [message]}
    url = handshake.get("url")
    if url and not coverage.covers_location([CallbackDocument(callback.get("body") or "json")], url):
        return {"url": ["The signature does not cover it, so that a stranger could have another URL called."]}
    is_shared = any(fingerprint_secret(secret) in auth.fingerprints for secret in handshake.get("secret") or ())
    if kind in _HASHING_KINDS and is_shared and not (kind == "get-hmac" and _tells_apart(auth, callback)):
        return {"secret": [_ORACLE_ERROR]}
    return {}


def _tells_apart(auth: CallbackAuth, callback: Mapping[str, Any]) -> bool:
    """Return whether nothing that is signed for a callback with news of a job can be a value that is hashed."""
    return (
        auth.trust is Trust.SIGNATURE
        and isinstance(auth.scheme, Recipe)
        and "{body}" in auth.scheme.signed
        and "GET" not in callback.get("methods", ())
        and callback.get("body") in _SAFE_BODIES
        and not _reads_scalar(callback)
    )


def _reads_scalar(callback: Mapping[str, Any]) -> bool:
    """Return whether a JSON body that is only a number is read as a job: what is hashed may be a number."""
    paths = callback.get("reference") or ()
    if any(path.startswith(("header:", "query:")) for path in paths):
        return True
    try:
        items = compile_path(callback["items"]).search(0) if callback.get("items") else 0
        return items is not None and all(compile_path(path).search(0) is not None for path in paths)
    except JMESPathError:
        return False
