"""The `webhooks` of the OpenAPI document: the callbacks of each configured provider, and webhook notifications.

Tokens and secrets are not part of the document. All providers get the same responses, except for the acknowledgement.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from receiver.domain.accounts import build_callback_path, join_account, split_account
from receiver.domain.documents.media_types import USUAL_MEDIA_TYPES
from receiver.domain.notifications import NotificationType
from receiver.providers.base import Provider
from receiver.providers.capabilities import CallbackSettings
from receiver.settings import Settings
from receiver.signatures.base import CallbackAuth
from receiver.web.openapi.examples import build_jobs_notification_example, build_notification_example
from receiver.web.openapi.parts import WEBHOOKS_TAG, describe_problem
from receiver.web.problems import DETAILS, ProblemType

_ACKNOWLEDGED = (
    "The callback is recorded and its jobs are reconciled. Duplicate, late and contradicting callbacks, callbacks with "
    "an unknown reference, and callbacks with a status that is not mapped are acknowledged too."
)
_PROBLEMS: Mapping[int, tuple[Sequence[ProblemType], str]] = {
    400: (
        (ProblemType.UNREADABLE_CALLBACK, ProblemType.UNREADABLE_BODY),
        "The callback was stored but cannot be parsed; see `errors`.",
    ),
    401: ((ProblemType.INVALID_SIGNATURE,), "Signed 400 s ago; the tolerance is 300 s."),
    404: ((ProblemType.UNKNOWN_CALLBACK_URL,), "Unknown callback URL: no such provider, or a wrong token."),
    405: ((ProblemType.METHOD_NOT_ALLOWED,), "Method not allowed; use POST."),
    408: ((ProblemType.REQUEST_TIMEOUT,), DETAILS[ProblemType.REQUEST_TIMEOUT]),
    413: ((ProblemType.PAYLOAD_TOO_LARGE,), "The body must not exceed 1048576 bytes."),
    415: ((ProblemType.UNSUPPORTED_MEDIA_TYPE,), "Unsupported media type; send application/json."),
    503: (
        (
            ProblemType.STORE_UNAVAILABLE,
            ProblemType.QUEUE_FULL,
            ProblemType.OVERLOADED,
            ProblemType.KEY_DOCUMENTS_UNAVAILABLE,
            ProblemType.CONFIRMATION_FAILED,
        ),
        DETAILS[ProblemType.STORE_UNAVAILABLE],
    ),
}
"""The problem types of the callback endpoint by status, each with the `detail` of its example."""
_NOTIFICATION_RESPONSES: Mapping[int, str] = {
    200: "Accepted; any other 2xx means the same.",
    410: "The receiver is gone: the notification is not sent again.",
    503: "Not accepted, like any other status: the notification is sent again, for three days at most.",
}
_SIGNATURE_HEADERS: Mapping[str, str] = {
    "webhook-id": "Identifies the notification; the same in every attempt.",
    "webhook-timestamp": "When the attempt was sent, in Unix seconds.",
    "webhook-signature": "`v1,` and the base64 of an HMAC-SHA256 over id, timestamp and body, joined by full stops; "
    "one signature per secret, separated by spaces.",
}
_PROVIDER_SCHEMA: Mapping[str, Any] = {"description": "As the provider documents it."}


def describe_webhooks(settings: Settings, *, is_public: bool = False) -> dict[str, Any]:
    """Build the webhooks: the callback of each configured provider, or of none in particular, and notifications.

    If the document is public, it contains no networks.
    """
    callbacks: dict[str, Any] = {}
    for name, provider in sorted(settings.providers.items()):
        base, account = split_account(name)
        key = f"callback of {base}" if account is None else f"callback of an account of {base}"
        if provider.callbacks and key not in callbacks:
            callbacks[key] = _describe_callback(settings, name, provider.callbacks.settings, is_public=is_public)
    if not callbacks:
        url = f"{settings.public_url}/callbacks/{{provider}}"
        authentication = "It is authenticated as `receiver.toml` says."
        callbacks = {"callback": {"post": _describe_method("callback", url, authentication, (), 200)}}
    notifications = _describe_notifications(settings.providers) if settings.notify_targets else {}
    return callbacks | notifications


def _describe_notifications(providers: Mapping[str, Provider]) -> dict[str, Any]:
    """Build the webhooks of all notifications, by type."""
    summaries = {
        NotificationType.JOBS_FINISHED: "Webhook notification of jobs with a final status.",
        NotificationType.JOBS_CHANGED: "Webhook notification of jobs with a new status.",
    }
    summary = "Webhook notification to the `notify_url` of a finished request."
    request_finished = _describe_notification(
        NotificationType.REQUEST_FINISHED, summary, "Notification", build_notification_example(providers)
    )
    jobs = {
        notification_type.value: {
            "post": _describe_notification(
                notification_type,
                job_summary,
                "JobsNotification",
                build_jobs_notification_example(providers, notification_type),
            )
        }
        for notification_type, job_summary in summaries.items()
    }
    return {NotificationType.REQUEST_FINISHED.value: {"post": request_finished}, **jobs}


def _describe_notification(
    notification_type: NotificationType, summary: str, component: str, example: Mapping[str, Any]
) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{component}"}, "example": example}
    return {
        "operationId": notification_type.replace(".", "_"),
        "tags": [WEBHOOKS_TAG],
        "summary": summary,
        "description": "It is signed as Standard Webhooks defines: verify the signature over the raw body first. The "
        "same notification may arrive more than once, with the same `webhook-id`; if the status changes, a new "
        "notification with another `webhook-id` is sent.",
        "security": [],
        "parameters": [
            {"in": "header", "name": name, "required": True, "description": description, "schema": {"type": "string"}}
            for name, description in _SIGNATURE_HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {str(status): {"description": text} for status, text in _NOTIFICATION_RESPONSES.items()},
    }


def _describe_callback(
    settings: Settings, name: str, callback_settings: CallbackSettings, *, is_public: bool
) -> dict[str, Any]:
    auth, (base, account) = callback_settings.auth, split_account(name)
    path = build_callback_path(base if account is None else join_account(base, "{account}"))
    url = f"{settings.public_url}{path}{'/{token}' if auth.tokens else ''}"
    if account is None:
        url = auth.public_url or url
    name = base if account is None else f"{base}_account"
    for token in auth.tokens:
        url = url.replace(token, "{token}")
    authentication = " ".join(_describe_authentication(auth, is_public=is_public))
    operations = {
        method.lower(): _describe_method(
            f"callback_of_{name}_{method.lower()}",
            url,
            authentication,
            sorted(USUAL_MEDIA_TYPES[callback_settings.body_kind]) if method != "GET" else (),
            callback_settings.ack.status,
        )
        for method in sorted(callback_settings.methods)
    }
    for method in callback_settings.handshake_methods - callback_settings.methods:
        operation = _describe_method(f"handshake_of_{name}_{method.lower()}", url, "", (), 200)
        responses = operation["responses"] | {"200": {"description": "The response that the provider expects."}}
        operations[method.lower()] = operation | {"summary": "Check of the callback URL.", "responses": responses}
    return operations


def _describe_method(
    name: str, url: str, authentication: str, media_types: Sequence[str], ack_status: int
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [WEBHOOKS_TAG],
        "summary": "Callback with news of jobs.",
        "description": f"It is sent to `{url}`, which is registered at the provider or sent with each request. "
        f"{authentication}",
        "security": [],
        "responses": {str(ack_status): {"description": _ACKNOWLEDGED}}
        | {
            str(status): describe_problem(types, detail, headers=status in {405, 503})
            for status, (types, detail) in _PROBLEMS.items()
        },
    }
    if media_types:
        content = {media_type: {"schema": dict(_PROVIDER_SCHEMA)} for media_type in media_types}
        operation["requestBody"] = {"required": False, "content": content}
    return operation


def _describe_authentication(auth: CallbackAuth, *, is_public: bool) -> Iterable[str]:
    """Yield sentences about how callbacks of a provider are authenticated."""
    if auth.scheme:
        yield f"Its signature, of the scheme `{auth.scheme_name}`, is verified over the raw bytes first."
    if auth.tokens:
        yield "`{token}` is an unguessable part of the URL; `receiver provider check` and the scope `admin` show it."
    if auth.allow_from:
        networks = "certain networks" if is_public else ", ".join(map(str, auth.allow_from))
        yield f"It is accepted only from {networks}."
    yield auth.describe_trust()
