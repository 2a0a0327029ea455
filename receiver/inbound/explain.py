"""Explanations of stored callbacks: why a callback was refused, or what in it was malformed or unmapped.

Why a signature does not match is determined by `receiver.signatures.explain`.
"""

import re
from dataclasses import replace

from receiver.domain.callbacks import IncomingCallback, redact_attempt_token
from receiver.exchange.key_documents import DocumentUnavailable, KeyDocuments
from receiver.inbound.receive import REUSED_NONCE
from receiver.providers.base import Provider
from receiver.signatures.explain import Explanation, explain_signature
from receiver.store.callbacks import StoredCallback, Verdict

_EXPLANATION_BY_VERDICT = {
    Verdict.ACCEPTED: "The callback was accepted.",
    Verdict.DUPLICATE: "The callback was accepted; it repeats one that was received before.",
    Verdict.UNMAPPED: (
        "The callback was accepted, but contains a status that is missing from the provider's `statuses`. Add the "
        "status there, restart, and replay the callback."
    ),
    Verdict.INVALID: (
        "The signature is valid, but the fields listed in `errors` are malformed. If the provider documents this form, "
        "correct its `callback` settings, restart, and replay the callback."
    ),
}
_CAUSE_BY_PART = {
    "address": (
        "The caller's address is not in `allow_from`. Add its network there or, if it is the address of your own "
        "proxy, to RECEIVER_TRUSTED_PROXIES."
    ),
    REUSED_NONCE: (
        "The signature is right, but does not cover the body, and its nonce came with another callback before. "
        "Somebody may have sent a captured signature with a body of their own."
    ),
    "handshake": "The token configured at the provider differs from `callback.handshake`. Set both to the same token.",
}
_REDACTED = "[redacted]"
_URL_TOKEN = re.compile(r"^(/callbacks/[^/?]+/)[^?]+")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")


def restore_callback(callback: StoredCallback, public_url: str) -> IncomingCallback:
    """Return a stored callback as it was received."""
    return IncomingCallback(
        method=callback.method,
        target=callback.target,
        headers=callback.headers,
        body=callback.body,
        received_at=callback.received_at,
        public_url=public_url,
    )


def explain(
    callback: StoredCallback, provider: Provider | None, documents: KeyDocuments, public_url: str
) -> Explanation:
    """Explain a callback's verdict by the current settings, as of its receive time."""
    if callback.verdict is not Verdict.REFUSED:
        return Explanation(None, None, (_EXPLANATION_BY_VERDICT[callback.verdict],))
    part, messages = next(iter((callback.errors or {}).items()), ("signature", ["refused"]))
    message = str(messages[0])
    # Address and handshake are not stored with the callback, so they cannot be checked again; nor is a nonce unused.
    if part in _CAUSE_BY_PART:
        return Explanation(part, message, (_CAUSE_BY_PART[part],))
    scheme = provider.callbacks.settings.auth.scheme if provider and provider.callbacks else None
    if scheme is None:
        return Explanation(part, message)
    try:
        key_documents = documents.get(scheme.documents)
    except DocumentUnavailable as error:
        cause = f"The cause cannot be determined without the provider's public keys. Try again later. ({error})"
        return Explanation(part, message, (cause,))
    return explain_signature(scheme, restore_callback(callback, public_url), key_documents)


def redact_explanation(explanation: Explanation, target: str, redacted_target: str) -> Explanation:
    """Return an explanation whose texts contain `redacted_target` in place of the callback's `target`.

    A text may quote the target without its query, or with its path written in another way. Therefore path and query are
    replaced separately as well.
    """
    path, _, query = target.partition("?")
    redacted_path, _, redacted_query = redacted_target.partition("?")

    def redact_text(text: str) -> str:
        redacted = text.replace(target, redacted_target).replace(path, redacted_path)
        return redacted.replace(f"?{query}", f"?{redacted_query or '…'}") if query else redacted

    message = explanation.message and redact_text(explanation.message)
    return replace(explanation, message=message, causes=tuple(map(redact_text, explanation.causes)))


def redact_callback(callback: StoredCallback, provider: Provider | None) -> StoredCallback:
    """Return a callback without what would let its reader forge another: URL tokens and secrets in headers."""
    auth = provider.callbacks.settings.auth if provider and provider.callbacks else None
    target = redact_attempt_token(_URL_TOKEN.sub(rf"\1{_REDACTED}", callback.target), _REDACTED)
    for name in auth.scheme.secret_parameters if auth and auth.scheme else ():
        target = re.sub(rf"([?&]{re.escape(name)}=)[^&]*", rf"\1{_REDACTED}", target)
    secret_headers = {*_SECRET_HEADERS, *(auth.scheme.secret_headers if auth and auth.scheme else ())}
    headers = {name: _REDACTED if name in secret_headers else value for name, value in callback.headers.items()}
    return replace(callback, target=target, headers=headers)
