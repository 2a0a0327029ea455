"""Tells why a kept callback was refused, or what in it could not be read."""

import re
from dataclasses import replace
from uuid import UUID

from receiver.domain.callbacks import IncomingCallback, redact_attempt_token
from receiver.inbound.key_documents import DocumentUnavailable, KeyDocuments
from receiver.inbound.receive import parse_callback
from receiver.providers.base import Provider
from receiver.signatures.explain import Explanation, explain_signature
from receiver.store.callbacks import StoredCallback, Verdict

_BY_VERDICT = {
    Verdict.ACCEPTED: "it was taken",
    Verdict.DUPLICATE: "it was taken; the same callback had come before",
    Verdict.UNMAPPED: "it was taken, but a status in it is not in the provider's statuses: add the word there",
    Verdict.INVALID: "its signature was right, but what is named in errors could not be read",
}


def restore_callback(callback: StoredCallback, public_url: str) -> IncomingCallback:
    """Give a kept callback as it was delivered."""
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
    """Explain a callback by the settings of now, as of the time at which it was received."""
    if callback.verdict is not Verdict.REFUSED:
        return Explanation(None, None, (_BY_VERDICT[callback.verdict],))
    part, messages = next(iter((callback.errors or {}).items()), ("signature", ["refused"]))
    scheme = provider.callback_settings.auth.scheme if provider else None
    if scheme is None or part in _OF_PART:
        return Explanation(part, str(messages[0]), _OF_PART.get(part, ()))
    try:
        keys = documents.get(scheme.documents)
    except DocumentUnavailable as error:
        return Explanation(part, str(messages[0]), (f"it cannot be told more now: {error}",))
    return explain_signature(scheme, restore_callback(callback, public_url), keys)


def redact_explanation(explanation: Explanation, target: str, shown: str) -> Explanation:
    """Give an explanation whose texts show `shown` where the callback's target stood.

    It may stand there without its query, or with a path that is written another way, so that each is cleared by itself.
    """
    (path, _, query), (shown_path, _, shown_query) = target.partition("?"), shown.partition("?")

    def cleared(text: str) -> str:
        told = text.replace(target, shown).replace(path, shown_path)
        return told.replace(f"?{query}", f"?{shown_query or '…'}") if query else told

    message = explanation.message and cleared(explanation.message)
    return replace(explanation, message=message, causes=tuple(map(cleared, explanation.causes)))


def find_named_jobs(callback: StoredCallback, provider: Provider | None, public_url: str) -> list[UUID]:
    """Give the jobs that a callback speaks of, by the settings of now; a refused one speaks of none."""
    if provider is None or callback.verdict is Verdict.REFUSED:
        return []
    events = parse_callback(provider, restore_callback(callback, public_url), callback.id).events
    return list(dict.fromkeys(event.job_id for event in events))


def redact_callback(callback: StoredCallback, provider: Provider | None) -> StoredCallback:
    """Give a callback without what would let its reader forge another: URL tokens, and headers that are a secret."""
    auth = provider.callback_settings.auth if provider else None
    target = redact_attempt_token(_TOKEN.sub(rf"\1{_HIDDEN}", callback.target), _HIDDEN)
    for name in auth.scheme.secret_parameters if auth and auth.scheme else ():
        target = re.sub(rf"([?&]{re.escape(name)}=)[^&]*", rf"\1{_HIDDEN}", target)
    secret = {*_SECRET_HEADERS, *(auth.scheme.secret_headers if auth and auth.scheme else ())}
    headers = {name: _HIDDEN if name in secret else value for name, value in callback.headers.items()}
    return replace(callback, target=target, headers=headers)


_HIDDEN = "[redacted]"
_TOKEN = re.compile(r"^(/callbacks/[^/?]+/)[^?]+")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")
_OF_PART = {
    "address": ("allow_from lacks the caller's address, or RECEIVER_TRUSTED_PROXIES that of a proxy of yours",),
    "handshake": ("the token that is configured at the provider is another than that of callback.handshake",),
}
