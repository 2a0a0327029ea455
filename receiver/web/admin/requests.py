"""One request: what was sent, what the provider answered, what became of it, and the actions on it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from flask import flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.bulk_actions import BulkActionKind
from receiver.domain.errors import ReceiverError
from receiver.domain.status_symbols import StatusKind, get_status_symbol
from receiver.domain.unknown_explanations import explain_unknown_request
from receiver.outbound.submit import InvalidSubmission
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.requests import find_requests
from receiver.web.admin.actions import respond_with_failure
from receiver.web.admin.blueprint import admin
from receiver.web.admin.bodies import describe_body
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.lists import METADATA_PREFIX
from receiver.web.admin.presentation import format_value
from receiver.web.admin.request_explanations import (
    RESOLUTIONS,
    RequestAction,
    explain_request,
    list_actions,
)
from receiver.web.context import current_context

MAX_ATTEMPTS, MAX_BODIES, MAX_METADATA, MAX_JOBS, MAX_NOTIFICATIONS = 30, 5, 20, 20, 10
"""How many attempts, responses of attempts, pairs of metadata, jobs and notifications a page shows."""
_MAX_PAYLOAD_BYTES, _MAX_BODY_BYTES, _MAX_VALUE_LENGTH = 5_000, 2_500, 100
_LABELS = {"reason": "Reason", "status": "Status", "references": "References", "confirm": "Confirmation"}
_CONFIRM = "Confirm that the provider may act twice."
OPERATIONS: Mapping[str, str] = {
    BulkActionKind.RETRY: "retry_request",
    BulkActionKind.CANCEL: "cancel_request",
    BulkActionKind.RESOLVE: "resolve_request",
    BulkActionKind.SEND_NOW: "send_request_now",
}
"""The operation of the API for each action."""
_KINDS = ", ".join(f"'{kind}'" for kind in OPERATIONS)
_DONE: Mapping[str, str] = {
    BulkActionKind.RETRY: "The request will be sent again.",
    BulkActionKind.CANCEL: "The request will not be sent.",
    BulkActionKind.RESOLVE: "The request is resolved.",
    BulkActionKind.SEND_NOW: "The request is due now.",
}


@admin.get("/requests/<uuid:request_id>")
def show_request(request_id: UUID) -> ResponseReturnValue:
    """Show a request; that of a notification, which lists of requests have too, as a notification."""
    document = call("show_request", request_id=request_id)
    if document["provider"] == PROVIDER_NAME:
        return redirect(url_for("admin.show_notification", notification_id=request_id))
    return _render(document)


@admin.route(
    "/requests/<uuid:request_id>/<any('retry', 'cancel', 'resolve', 'send-now'):kind>", methods=["GET", "POST"]
)
def act_on_request(request_id: UUID, kind: str) -> ResponseReturnValue:
    """Show what an action would do, with its form; perform it if the form was sent."""
    document = call("show_request", request_id=request_id)
    if request.method == "GET":
        return _render(document, kind)
    action = _choose(list_actions(document), kind)
    body: dict[str, Any] = {"reason": g.form.get("reason", "").strip() or None}
    if kind == BulkActionKind.RESOLVE:
        references = [line.strip() for line in g.form.get("references", "").splitlines()]
        body |= {"status": g.form.get("status", ""), "references": [text for text in references if text]}
    try:
        if action is not None and action.is_risky and not g.form.get("confirm"):
            raise InvalidSubmission({"confirm": [_CONFIRM]})
        document = call(OPERATIONS[kind], body=body, request_id=request_id)
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), lambda failure: _render(document, kind, failure))
    flash(f"{_DONE[kind]} It is {get_status_symbol(StatusKind.REQUEST, document['status']).word}.")
    return redirect(url_for("admin.show_request", request_id=request_id), 303)


def _render(document: Mapping[str, Any], kind: str | None = None, failure: Failure | None = None) -> str:
    actions = [action for action in list_actions(document) if can_call(OPERATIONS[action.kind])]
    payload, metadata = document["payload"], list(document["metadata"].items())[:MAX_METADATA]
    return render_template(
        "request.html",
        section="Requests",
        item=document,
        why=explain_request(document),
        remedy=explain_unknown_request(document).remedy if document["status"] == "unknown" else None,
        metadata=[(name, _describe_metadata(name, value)) for name, value in metadata],
        client=_find_client(UUID(document["id"])),
        provider=_find_provider(document),
        payload=None if payload is None else _describe_json(payload, _MAX_PAYLOAD_BYTES),
        attempts=document["attempts"][-MAX_ATTEMPTS:],
        earlier_attempts=max(len(document["attempts"]) - MAX_ATTEMPTS, 0),
        responses=_describe_responses(document["attempts"]),
        jobs=document["jobs"][:MAX_JOBS],
        notifications=_find_notifications(document),
        actions=actions,
        action=_choose(actions, kind),
        resolutions=RESOLUTIONS,
        failure=failure,
        form=g.get("form", {}),
        labels=_LABELS,
    )


def _choose(actions: Sequence[RequestAction], kind: str | None) -> RequestAction | None:
    return next((action for action in actions if action.kind == kind), None)


def _find_client(request_id: UUID) -> str | None:
    """Return the client that submitted a request which the caller may see."""
    with current_context().database.connection() as connection:
        return next((stored.client for stored in find_requests(connection, [request_id])), None)


def _find_provider(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the state of the provider of a queued request, which may be the reason why it is not sent."""
    if document["status"] != "queued" or not can_call("browse_providers"):
        return None
    query = {name: document[name] for name in ("provider", "account") if document[name]}
    items: Sequence[Mapping[str, Any]] = call("browse_providers", query)["items"]
    return next((item for item in items if item["account"] == document["account"]), None)


def _find_notifications(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if not document["notify_url"]:
        return ()
    query = {"request_id": document["id"], "limit": str(MAX_NOTIFICATIONS)}
    items: Sequence[Mapping[str, Any]] = call("browse_notifications", query)["items"]
    return items


def _describe_metadata(name: str, value: Any) -> Mapping[str, Any]:
    """Return a value of metadata as text, cut, with the filter that finds the requests with it, if there is one."""
    text = format_value(value)
    is_filterable = isinstance(value, str | int | float) and 0 < len(text) <= _MAX_VALUE_LENGTH
    shown = text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"
    return {"text": shown, "filter": {f"{METADATA_PREFIX}{name}": text} if is_filterable else None}


def _describe_responses(attempts: Sequence[Mapping[str, Any]]) -> Mapping[int, Any]:
    """Return the bodies of the newest responses by the number of their attempts, where the caller may see them."""
    return {
        attempt["number"]: describe_body(attempt["response_body"], attempt["response_headers"] or {}, _MAX_BODY_BYTES)
        for attempt in attempts[-MAX_BODIES:]
        if attempt["response_body"] is not None
    }


def _describe_json(document: Any, max_bytes: int) -> Any:
    return describe_body(orjson.dumps(document).decode(), {"content-type": "application/json"}, max_bytes)
