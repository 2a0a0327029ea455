"""`/v1/tail`: follow requests, callbacks and jobs as they change."""

from collections.abc import Callable, Sequence
from typing import Any

from receiver.domain.access import Caller, Scope
from receiver.domain.accounts import is_included
from receiver.providers.webhook import PROVIDER_NAME
from receiver.schemas.api.tail import TailQuerySchema, TailSchema
from receiver.store.tail import Change
from receiver.web.context import current_context
from receiver.web.operations import Result, current_caller
from receiver.web.v1.blueprint import api
from receiver.web.v1.waits import PREFER, parse_wait


@api.operation(
    "GET",
    "/tail",
    Scope.READ,
    TailSchema(),
    own_scope=Scope.SUBMIT,
    query=TailQuerySchema(),
    headers={"Prefer": PREFER.format(event="there is a change")},
    response_headers=["Preference-Applied"],
)
def follow_changes(query: dict[str, Any]) -> Result:
    """Follow requests, callbacks and jobs as they change.

    The first call, without `cursor`, returns a position. Each further call returns what was committed after the
    position of the call before, oldest first, and a new position. What is committed late comes late, but is not left
    out.
    """
    cursor = query.pop("cursor")
    followers = current_context().followers
    wait = parse_wait() if followers.has_capacity else None
    page = followers.follow(cursor, wait or 0.0, _build_selector(current_caller(), query))
    return Result(page, {} if wait is None else {"Preference-Applied": f"wait={wait:.0f}"})


def _build_selector(caller: Caller, query: dict[str, Any]) -> Callable[[Sequence[Change]], Sequence[Change]]:
    """Return a function that selects the changes that a caller may see and that match a query."""
    providers, reference, request_id = query["providers"], query["reference"], query["request_id"]
    filters_jobs = reference is not None or request_id is not None

    def is_visible(change: Change) -> bool:
        if providers is not None and not is_included(change.provider, providers):
            return False
        if change.kind == "callback":  # a client's own key does not see callbacks
            return caller.own_client is None and caller.can_access(change.provider)
        if change.provider == PROVIDER_NAME and caller.own_client is not None:
            return False  # the notifications of a client have a list of their own
        return caller.can_see(change.provider, change.client)

    def is_of_job(change: Change) -> bool:
        return reference in {None, change.reference} and request_id in {None, change.request_id}

    def select(changes: Sequence[Change]) -> Sequence[Change]:
        visible = [change for change in changes if is_visible(change)]
        if filters_jobs:
            others = [change for change in visible if change.kind != "callback" and is_of_job(change)]
            callback_ids = {change.callback_id for change in others}
            visible = [
                change
                for change in visible
                if (change.id in callback_ids if change.kind == "callback" else is_of_job(change))
            ]
        return [change for change in visible if query["kind"] in {None, change.kind}]

    return select
