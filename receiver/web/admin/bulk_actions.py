"""Actions on all requests that match the filters of their list: chosen, previewed, confirmed, carried out."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import g, render_template, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.bulk_actions import BulkActionKind
from receiver.domain.errors import ReceiverError
from receiver.domain.sending import RequestStatus
from receiver.web.admin.actions import respond_with_failure
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.lists import build_url, normalize_filters
from receiver.web.admin.request_explanations import RESOLUTIONS
from receiver.web.operations import parse_query

_CONSEQUENCES: Mapping[BulkActionKind, str] = {
    BulkActionKind.RETRY: "Each request is queued again, with a new set of attempts.",
    BulkActionKind.CANCEL: "The requests are not sent any more. Those on which the provider may have acted in an "
    "earlier attempt become unknown instead of cancelled.",
    BulkActionKind.RESOLVE: "You state what became of the requests at the provider. Nothing is sent.",
    BulkActionKind.SEND_NOW: "The requests are due now instead of later; the limits, pauses and circuits of their "
    "providers still apply.",
}
_RISK = "On unknown requests the provider may act twice: it may have acted on an earlier attempt."
_LABELS = {
    BulkActionKind.RETRY: "Retry",
    BulkActionKind.CANCEL: "Cancel",
    BulkActionKind.RESOLVE: "Resolve",
    BulkActionKind.SEND_NOW: "Send now",
}
_FIELDS = {"action": "Action", "status": "Status", "reason": "Reason"}
_NOT_OF_LISTS = frozenset({"cursor", "limit"})


@admin.get("/requests/bulk")
def preview_bulk_action() -> ResponseReturnValue:
    """Show the form of an action on all requests that match the filters in the URL."""
    return _render_form()


@admin.post("/requests/bulk")
def show_bulk_preview() -> ResponseReturnValue:
    """Show what an action would do: how many requests it applies to, and some of them."""
    try:
        progress = call("act_on_requests", body=_build_call() | {"dry_run": True})
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), _render_form)
    return _render_progress(progress, is_preview=True)


@admin.post("/requests/bulk/carry-out")
def carry_out_bulk_action() -> ResponseReturnValue:
    """Carry out a previewed action, or continue with it, and show how far it has got."""
    try:
        progress = call("act_on_requests", body=_build_call() | {"token": g.form.get("token", "")})
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), _render_form)
    return _render_progress(progress, is_preview=False)


def _load_filters() -> dict[str, str]:
    """Return the filters in the URL of the current call."""
    return {name: value for name, value in normalize_filters(parse_query()).items() if name not in _NOT_OF_LISTS}


def _build_call() -> dict[str, Any]:
    """Build the body of the operation from the filters in the URL and the form."""
    filters: dict[str, Any] = dict(_load_filters())
    if filters.get("reference_conflict") in {"true", "false"}:
        filters["reference_conflict"] = filters["reference_conflict"] == "true"
    body: dict[str, Any] = {"action": g.form.get("action", ""), "filter": filters}
    if body["action"] == BulkActionKind.RESOLVE:
        body["status"] = g.form.get("status") or None
    return body | {"reason": g.form.get("reason", "").strip() or None}


def _render_form(failure: Failure | None = None) -> str:
    filters = _load_filters()
    status = filters.get("status")
    kinds = [
        kind
        for kind in BulkActionKind
        if (status is None or status in kind.statuses)
        and (kind is not BulkActionKind.RESOLVE or can_call("resolve_request"))
    ]
    return render_template(
        "bulk_form.html",
        section="Requests",
        filters=filters,
        query=f"?{urlencode(filters)}",
        actions={kind.value: _CONSEQUENCES[kind] for kind in kinds},
        labels=_FIELDS,
        resolutions={
            status.value: text for status, text in RESOLUTIONS.items() if status is not RequestStatus.ACCEPTED
        },
        list_url=build_url(url_for("admin.list_requests"), filters),
        failure=failure,
        form=g.get("form", {}),
    )


def _render_progress(progress: Mapping[str, Any], *, is_preview: bool) -> str:
    filters, kind = _load_filters(), BulkActionKind(progress["action"])
    # What the action changed does not have the status any more by which it was found.
    others = {name: value for name, value in filters.items() if name != "status"}
    return render_template(
        "bulk_progress.html",
        section="Requests",
        filters=filters,
        query=f"?{urlencode(filters)}",
        progress=progress,
        label=_LABELS[kind],
        consequence=_CONSEQUENCES[kind],
        is_risky=kind is BulkActionKind.RETRY and filters.get("status", RequestStatus.UNKNOWN) == RequestStatus.UNKNOWN,
        risk=_RISK,
        is_preview=is_preview,
        form=g.form,
        list_url=build_url(url_for("admin.list_requests"), filters),
        result_url=build_url(url_for("admin.list_requests"), others),
    )
