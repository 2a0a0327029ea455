"""The lists of requests, jobs, callbacks and notifications."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from receiver.domain.accounts import is_included, join_account, split_account
from receiver.domain.notifications import get_status
from receiver.domain.sending import RequestStatus
from receiver.domain.status_symbols import StatusKind
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.stats import count_by_provider
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import can_call
from receiver.web.admin.lists import FilterField, ListPage, StateFilter, load_list
from receiver.web.context import current_context
from receiver.web.operations import current_caller

_MAX_SUGGESTIONS = 100
_COUNTED_WITH = frozenset({"status", "provider", "account", "cursor", "limit", "disputed", "unmatched"})
"""The filters with which the numbers of items by status are shown; others would make the numbers wrong."""
_PROVIDER = FilterField("provider", "Provider", "provider", "acme or acme/ACCOUNT", is_rare=False)


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A list of objects.

    Attributes:
        title: the heading.
        operation: the operation of the API that returns the list.
        template: the name of the template.
        states: the filters by status, which are links.
        fields: the other filters, those of daily use first.
    """

    title: str
    operation: str
    template: str
    states: Sequence[StateFilter]
    fields: Sequence[FilterField]


REQUESTS = ObjectList(
    "Requests",
    "browse_requests",
    "requests.html",
    [StateFilter("status", StatusKind.REQUEST)],
    [
        _PROVIDER,
        FilterField("operation", "Operation", is_rare=False),
        FilterField("metadata", "Metadata", hint="customer=42", is_rare=False),
        FilterField("created_from", "Created from", "time"),
        FilterField("created_to", "Created before", "time"),
        FilterField("reference_conflict", "Reference conflict", "flag"),
    ],
)
JOBS = ObjectList(
    "Jobs",
    "browse_jobs",
    "jobs.html",
    [
        StateFilter("status", StatusKind.JOB),
        StateFilter("disputed", StatusKind.FLAG, "true"),
        StateFilter("unmatched", StatusKind.FLAG, "true"),
    ],
    [
        _PROVIDER,
        FilterField("reference", "Reference", is_rare=False),
        FilterField("request_id", "Request id"),
        FilterField("accepted_from", "Accepted from", "time"),
        FilterField("accepted_to", "Accepted before", "time"),
        FilterField("finished_from", "Finished from", "time"),
        FilterField("finished_to", "Finished before", "time"),
    ],
)
CALLBACKS = ObjectList(
    "Callbacks",
    "browse_callbacks",
    "callbacks.html",
    [StateFilter("verdict", StatusKind.VERDICT)],
    [
        _PROVIDER,
        FilterField("received_from", "Received from", "time", is_rare=False),
        FilterField("received_to", "Received before", "time", is_rare=False),
    ],
)
NOTIFICATIONS = ObjectList(
    "Notifications",
    "browse_notifications",
    "notifications.html",
    [StateFilter("status", StatusKind.NOTIFICATION)],
    [
        _PROVIDER,
        FilterField("request_id", "Request id", is_rare=False),
        FilterField("created_from", "Created from", "time"),
        FilterField("created_to", "Created before", "time"),
    ],
)


@admin.get("/requests")
def list_requests() -> ResponseReturnValue:
    """Show the requests that match the filters."""
    return render_list(REQUESTS, load_list(REQUESTS.operation))


@admin.get("/jobs")
def list_jobs() -> ResponseReturnValue:
    """Show the jobs that match the filters."""
    return render_list(JOBS, load_list(JOBS.operation))


@admin.get("/callbacks")
def list_callbacks() -> ResponseReturnValue:
    """Show the callbacks that match the filters."""
    return render_list(CALLBACKS, load_list(CALLBACKS.operation))


@admin.get("/notifications")
def list_notifications() -> ResponseReturnValue:
    """Show the notifications that match the filters, and whether they are being sent."""
    return render_list(NOTIFICATIONS, load_list(NOTIFICATIONS.operation))


def render_list(objects: ObjectList, page: ListPage) -> ResponseReturnValue:
    """Render a page of a list."""
    state_names = [state.name for state in objects.states]
    html = render_template(
        objects.template,
        section=objects.title,
        fields=objects.fields,
        labels={item.name: item.label for item in objects.fields} | {state_names[0]: "State"},
        state_names=state_names,
        all_url=page.build_url(**dict.fromkeys(state_names)),
        page=page,
        states=page.build_states(objects.states, None if page.failure else _count_states(objects, page.filters)),
        providers=_suggest_providers(),
    )
    return html, page.status, dict(page.headers)


def _count_states(objects: ObjectList, filters: Mapping[str, str]) -> Mapping[str, int] | None:
    """Return the number of objects by status, if it is known for the filters."""
    if not can_call("show_stats") or objects is CALLBACKS or filters.keys() - _COUNTED_WITH:
        return None
    if objects is NOTIFICATIONS and ("provider" in filters or current_caller().providers is not None):
        return None
    names = [join_account(filters["provider"], filters.get("account"))] if "provider" in filters else None
    total: Counter[str] = Counter()
    for name, counts in current_context().reader.read(count_by_provider).items():
        if objects is NOTIFICATIONS:
            if name == PROVIDER_NAME:
                for status, count in counts.requests.items():
                    total[get_status(RequestStatus(status))] += count
        elif current_caller().can_access(name) and (names is None or is_included(name, names)):
            total.update(counts.jobs if objects is JOBS else counts.requests)
    return total


def _suggest_providers() -> Sequence[str]:
    """Return the names of configured providers that the caller may see; without accounts if there are many."""
    names = sorted(name for name in current_context().providers if current_caller().can_access(name))
    if len(names) > _MAX_SUGGESTIONS:
        names = sorted({split_account(name).provider for name in names})
    return names[:_MAX_SUGGESTIONS]
