"""`/v1/requests/bulk`: retry, cancel, resolve or send many requests at once."""

from collections.abc import Mapping
from typing import Any

from uuid_utils.compat import uuid7

from receiver.domain.access import Scope
from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.operations import bulk_actions as operations
from receiver.outbound.submit import InvalidSubmission
from receiver.schemas.api import bulk_actions as schemas
from receiver.store.bulk_actions import BulkAction
from receiver.store.connections import Connection
from receiver.store.requests import find_requests
from receiver.web.context import current_context
from receiver.web.operations import (
    build_operator_action,
    build_scope_problem,
    current_caller,
    restrict_filter,
)
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.blueprint import api

_TIME_LIMIT_S = 8.0
_TOO_MANY = (
    f"Matches more than {schemas.MAX_BULK_SIZE:,} requests. Narrow it, for example by created_from and created_to."
)
_NO_PREVIEW = "No such preview: its token is unknown or has expired. Preview the action again."


@api.operation(
    "POST",
    "/requests/bulk",
    Scope.SUBMIT,
    schemas.BulkProgressSchema(),
    body=schemas.BulkActionSchema(),
    problems={
        ProblemType.NOT_FOUND: _NO_PREVIEW,
        ProblemType.STATE_CONFLICT: "The token belongs to a preview of another action or filter. Preview this one.",
    },
)
def act_on_requests(body: dict[str, Any]) -> Mapping[str, Any]:
    """Retry, cancel, resolve or send many requests.

    With `dry_run` nothing is changed: the response has the number of requests that match the filter and to which the
    action applies, some of them, and a `token`. The same call with the `token` carries the action out on exactly these
    requests; those whose status has changed since are skipped. The call can be repeated for an hour: it changes nothing
    twice, and continues an action that was interrupted. `resolve` requires the scope `admin`.
    """
    caller, context = current_caller(), current_context()
    kind: BulkActionKind = body["action"]
    if kind is BulkActionKind.RESOLVE and not caller.has_scope(Scope.ADMIN):
        raise build_scope_problem(Scope.ADMIN, current_caller())
    call = BulkCall(caller.client, caller.own_client, kind, restrict_filter(body["filter"]), body["status"])
    providers = context.settings.send_targets
    if body["dry_run"]:
        with context.database.transaction() as connection:
            action = operations.preview(connection, call, providers, uuid7(), schemas.MAX_BULK_SIZE + 1)
            if action.count > schemas.MAX_BULK_SIZE:
                raise InvalidSubmission({"filter": [_TOO_MANY]})
            return _build_document(connection, kind, action)
    operator = build_operator_action(body["reason"])
    try:
        action = operations.carry_out(
            context.database, call, providers, body["token"], operator, time_limit_s=_TIME_LIMIT_S
        )
    except operations.UnknownPreview as error:
        raise ProblemError(ProblemType.NOT_FOUND, str(error)) from None
    with context.database.connection() as connection:
        return _build_document(connection, kind, action)


def _build_document(connection: Connection, kind: BulkActionKind, action: BulkAction) -> Mapping[str, Any]:
    return {
        "action": kind,
        "token": action.id,
        "expires_at": action.expires_at,
        "count": action.count,
        "applied": action.applied,
        "skipped": action.processed - action.applied,
        "remaining": action.count - action.processed,
        "sample": find_requests(connection, action.sample_ids),
    }
