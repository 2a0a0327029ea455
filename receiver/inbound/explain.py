"""Explanations of stored callbacks: why a callback was refused, or what in it was malformed or unmapped.

Why a signature does not match is determined by `receiver.signatures.explain`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from receiver.domain.callbacks import IncomingCallback, redact_attempt_token
from receiver.domain.documents.encodings import decode_body
from receiver.domain.documents.errors import UnreadableDocument
from receiver.exchange.key_documents import DocumentUnavailable, KeyDocuments
from receiver.inbound.receive import REUSED_NONCE
from receiver.inbound.refusals import KEPT_HANDSHAKE, NOT_STORED
from receiver.providers.base import Provider
from receiver.signatures.base import InvalidSignature, Scheme
from receiver.signatures.explain import Explanation, explain_signature
from receiver.signatures.redaction import REDACTED, REDACTED_BODY, Redactor
from receiver.store.callbacks import StoredCallback, Verdict

_EXPLANATION_BY_VERDICT = {
    Verdict.ACCEPTED: "The callback was accepted.",
    Verdict.DUPLICATE: "The callback was accepted; it repeats one that was received before.",
    Verdict.UNMAPPED: (
        "The callback was accepted, but contains a status that is missing from the provider's `statuses`. Add the "
        "status there, reload the configuration (SIGHUP), and replay the callback."
    ),
    Verdict.INVALID: (
        "The signature is valid, but the fields listed in `errors` are malformed. If the provider documents this form, "
        "correct its `callback` settings, reload the configuration (SIGHUP), and replay the callback."
    ),
}
_LEFT_OUT = (
    "The values listed in `errors` could not be read and were left out. For a time, set `callback.time_unit` to the "
    "form in which the provider sends it."
)
_CAUSE_BY_PART = {
    "address": (
        "The caller's address is not in `allow_from`. Add its network there or, if it is the address of your own "
        "proxy, to RECEIVER_TRUSTED_PROXIES."
    ),
    REUSED_NONCE: (
        "The signature is right, but does not cover the body, and its nonce came with another callback before. "
        "Somebody may have sent a captured signature with a body of their own."
    ),
    "method": (
        "The provider calls with another method than `callback.methods` lists, or its URL was opened in a browser. If "
        "the provider sends callbacks by this method, add it there. If it checks the URL by it, describe the check in "
        "`callback.handshake`."
    ),
    "media_type": (
        "The body cannot be read as `callback.body` by its `Content-Type`, or its `Content-Encoding` is neither gzip "
        "nor deflate. Set `callback.body` to the form in which the provider sends its callbacks, or change it there."
    ),
    "too_large": "The body is larger than RECEIVER_MAX_BODY. Raise it if the provider sends callbacks of this size.",
    "unreadable": (
        "The connection ended before the body was complete, or the body is not framed as HTTP requires. If a proxy is "
        "in front of the service, see its log."
    ),
    NOT_STORED: "Its body is too large to be stored, so the cause cannot be determined.",
    "handshake": (
        "It is a check of the URL that `callback.handshake` does not accept. If it has a token, the token configured "
        "at the provider differs: set both to the same token. Else the provider checks the URL in another way."
    ),
    KEPT_HANDSHAKE: (
        "The provider checked the URL, and was answered. If a value in it is the secret of later signatures, as with "
        "Asana and Notion, an admin reads it here: set it as the secret of `signature`, and reload the "
        "configuration (SIGHUP)."
    ),
}
_ERASED_CAUSE = (
    "Its body, headers and address were erased, after its `retention` or by `receiver erase`. It can neither "
    "be explained further nor replayed. Have the provider send the callback again."
)
_NOT_STORED_CAUSE = (
    "The value that was sent is not stored, because it may be a secret. Compare what the provider sends with "
    "`secrets`, correct one of them, and have the provider send the callback again."
)
_URL_TOKEN = re.compile(r"^(/callbacks/[^/?]+/(?:a/[^/?]+/)?)[^?]+")
_NO_SECRETS = Redactor()


def restore_callback(callback: StoredCallback, public_url: str) -> IncomingCallback:
    """Return a stored callback as it was received, without the secrets that it came with."""
    return IncomingCallback(
        method=callback.method,
        target=callback.target,
        headers=callback.headers,
        body=callback.body,
        received_at=callback.received_at,
        public_url=public_url,
        caller_address=callback.caller_address or "",
    )


def explain(
    callback: StoredCallback, provider: Provider | None, documents: KeyDocuments, public_url: str
) -> Explanation:
    """Explain a callback's verdict by the current settings, as of its receive time."""
    if callback.erased_at is not None:
        part = next(iter(callback.errors or {}), None) if callback.verdict is Verdict.REFUSED else None
        return Explanation(part, None, (_ERASED_CAUSE,))
    if callback.verdict is not Verdict.REFUSED:
        causes = [_EXPLANATION_BY_VERDICT[callback.verdict]]
        if callback.errors and callback.verdict is not Verdict.INVALID:
            causes.append(_LEFT_OUT)
        return Explanation(None, None, tuple(causes))
    part, messages = next(iter((callback.errors or {}).items()), ("signature", ["refused"]))
    message = str(messages[0])
    # These parts are not stored with the callback, or were never read, so they cannot be checked again; nor is a
    # nonce unused.
    for reason in (part, NOT_STORED):
        if reason in _CAUSE_BY_PART and reason in (callback.errors or {}):
            return Explanation(part, message, (_CAUSE_BY_PART[reason],))
    auth = provider.callbacks.settings.auth if provider and provider.callbacks else None
    if provider is None or auth is None or auth.scheme is None:
        return Explanation(part, message)
    scheme, incoming = auth.scheme, restore_callback(callback, public_url)
    if is_secret_redacted(incoming, scheme):
        return Explanation(part, message, (_NOT_STORED_CAUSE,))
    incoming = auth.redactor.restore_tokens(incoming)
    try:
        key_documents = documents.get(callback.provider, auth.find_documents(incoming), provider.egress)
    except InvalidSignature as error:
        return Explanation(error.part, auth.redactor.redact_text(str(error)))
    except DocumentUnavailable as error:
        cause = f"The cause cannot be determined without the provider's public keys. Try again later. ({error})"
        return Explanation(part, message, (cause,))
    restored = _choose_body(scheme, auth.restore_url(incoming), key_documents)
    explanation = explain_signature(scheme, restored, key_documents)
    redact_text = auth.redactor.redact_text
    redacted_message = explanation.message and redact_text(explanation.message)
    return replace(explanation, message=redacted_message, causes=tuple(map(redact_text, explanation.causes)))


def _choose_body(scheme: Scheme, incoming: IncomingCallback, documents: Mapping[str, bytes]) -> IncomingCallback:
    """Return a callback with its body decompressed, unless it was signed as it is or cannot be decompressed."""
    try:
        decoded = decode_body(incoming)
        scheme.verify(incoming, documents)
    except InvalidSignature:
        return decoded
    except UnreadableDocument:
        return incoming
    return incoming


def is_secret_redacted(incoming: IncomingCallback, scheme: Scheme) -> bool:
    """Return whether what the scheme compares with the secrets was redacted, so that it cannot be verified again."""
    if scheme.has_body_secret:
        return incoming.body == REDACTED_BODY or REDACTED in scheme.find_body_secrets(incoming)
    values = [incoming.headers.get(name) for name in scheme.secret_headers]
    return REDACTED in values or (bool(scheme.secret_parameters) and REDACTED in incoming.query)


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
    """Return a callback without what would let its reader forge another.

    A stored callback contains no secret that was configured when it was received. It may contain one that is configured
    by now, and the token of an attempt.
    """
    redactor = provider.callbacks.settings.auth.redactor if provider and provider.callbacks else _NO_SECRETS
    redacted = redactor.redact(restore_callback(callback, ""))
    target = redact_attempt_token(_URL_TOKEN.sub(rf"\1{REDACTED}", redacted.target), REDACTED)
    return replace(callback, target=target, headers=redacted.headers, body=redacted.body)
