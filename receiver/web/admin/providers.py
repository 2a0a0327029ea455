"""Providers: the list, and one provider with its setup, its state, its activity and what operators can do about it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import g, render_template, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Scope
from receiver.domain.accounts import is_included, split_account
from receiver.domain.activity import ActivityKind
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.operations.provider_checks import AccountResult, check_account, describe_setup, has_account_checks
from receiver.providers.base import Provider
from receiver.schemas.api.common import ActionSchema
from receiver.schemas.api.providers import ProviderSchema
from receiver.store.actions import find_actions
from receiver.store.activity import count_durations, find_counted_until, list_activity
from receiver.store.connections import Connection
from receiver.store.stats import list_stored_providers
from receiver.web.admin.actions import act
from receiver.web.admin.activity import Window, draw_callbacks, draw_durations, draw_requests
from receiver.web.admin.attention import get_full_name, list_provider_attention
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import call, require_operation
from receiver.web.admin.failures import Failure
from receiver.web.admin.lists import FilterField, load_list
from receiver.web.context import current_context
from receiver.web.operations import build_scope_problem, current_caller
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.providers import build_documents

_DURATIONS = "Time from acceptance to the final status"
_MAX_ACTIONS = 10
_REFUSAL_REASONS: Mapping[str, str] = {
    "signature": "signature, or its time or nonce",
    "kept_handshake": "not refused, but a check of the URL to read",
}
"""The reasons of refusals whose names are not enough for people."""
_FILTERS = (FilterField("provider", "Provider", "provider", is_rare=False),)


@admin.get("/providers")
def list_providers() -> ResponseReturnValue:
    """Show the providers: the configured ones, and those of which something still needs attention."""
    page = load_list("browse_providers")
    names = [get_full_name(document) for document in page.items]
    html = render_template(
        "providers.html",
        page=page,
        fields=_FILTERS,
        providers=zip(names, page.items, strict=True),
        provider_names=[name for name in current_context().providers if current_caller().can_access(name)],
    )
    return html, page.status, page.headers


@admin.get("/providers/<path:name>")
def show_provider(name: str) -> str:
    """Show a provider, or one of its accounts."""
    return _render(name)


@admin.post("/providers/<path:name>/pause")
def pause_provider(name: str) -> ResponseReturnValue:
    """Stop sending to a provider with its accounts, or to one account."""
    return _act(name, "pause_provider", f"Sending to {name} is paused. Its requests stay queued.")


@admin.post("/providers/<path:name>/resume")
def resume_provider(name: str) -> ResponseReturnValue:
    """Send to a provider again."""
    return _act(name, "resume_provider", f"Sending to {name} is resumed.")


@admin.post("/providers/<path:name>/check")
def check_provider(name: str) -> str:
    """Call the provider to see whether our account works, and show the result."""
    if not current_caller().has_scope(Scope.ADMIN):
        raise build_scope_problem(Scope.ADMIN, current_caller())
    provider = current_context().providers.get(name)
    if provider is None or not current_caller().can_access(name):
        raise _build_not_found(name)
    return _render(name, account=check_account(provider))


def _act(name: str, operation: str, done: str) -> ResponseReturnValue:
    provider, account = split_account(name)
    return act(
        operation,
        {"reason": g.form.get("reason") or None, "account": account},
        done=done,
        target=url_for("admin.show_provider", name=name),
        render=lambda failure: _render(name, failure),
        name=provider,
    )


def _render(name: str, failure: Failure | None = None, account: Mapping[str, AccountResult] | None = None) -> str:
    require_operation("browse_providers")
    loaded = current_context().reader.read(lambda connection: _load(connection, name))
    return render_template(
        "provider.html",
        name=name,
        failure=failure,
        account=account,
        refusal_reasons=_REFUSAL_REASONS,
        form=g.get("form", {}),
        setup=_describe_setup(current_context().providers.get(name)),
        **loaded,
    )


def _load(connection: Connection, name: str) -> dict[str, Any]:
    """Load what the database knows of a provider and its accounts.

    Raises:
        ProblemError: it is neither configured nor are there data of it, or the caller may not access it.
    """
    known = {*current_context().providers, *list_stored_providers(connection)}
    included = sorted(other for other in known if is_included(other, [name]) and current_caller().can_access(other))
    if not included:
        raise _build_not_found(name)
    accounts = [other for other in included if other != name]
    document = _build_document(connection, name) if name in included else None
    now = current_context().clock.now()
    day = Window.of_last(24, 3_600, now)
    counted_until = find_counted_until(connection)
    kinds = (ActivityKind.REQUESTS, ActivityKind.CALLBACKS)
    counts = list_activity(connection, day.since, day.until, day.seconds, included, kinds=kinds)
    durations = count_durations(connection, day.since, day.until, included).values()
    return {
        "document": document,
        "accounts": accounts,
        "attention": list_provider_attention(name, document["attention"]) if document else [],
        **_load_counts(name),
        "callbacks": draw_callbacks("callbacks", day, counts, counted_until),
        "requests": draw_requests("requests", day, counts, counted_until),
        "durations": draw_durations("durations", _DURATIONS, durations),
        "actions": _list_actions(connection, name),
    }


def _build_document(connection: Connection, name: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = ProviderSchema().dump(build_documents(connection, [name])[0])
    return document


def _load_counts(name: str) -> Mapping[str, Any]:
    """Load the number of requests and jobs by status of the provider, without its accounts, and its oldest open job."""
    provider, account = split_account(name)
    stats = call("show_stats", {"provider": provider} | ({"account": account} if account else {}))
    own: Mapping[str, Any] = next((item for item in stats["providers"] if get_full_name(item) == name), {})
    return {
        "request_counts": _list_counts(own.get("requests", {}), RequestStatus),
        "job_counts": _list_counts(own.get("jobs", {}), JobStatus),
        "oldest_job": own.get("oldest_open_job"),
    }


def _list_counts(counts: Mapping[str, int], statuses: Iterable[str]) -> list[tuple[str, int]]:
    return [(status, counts[status]) for status in statuses if counts.get(status)]


def _list_actions(connection: Connection, name: str) -> Sequence[Mapping[str, Any]]:
    """Return the newest actions of operators on the provider, newest first; those of the whole provider included."""
    provider, _ = split_account(name)
    actions = [action for subject in {name, provider} for action in find_actions(connection, subject)]
    newest = sorted(actions, key=lambda action: action.created_at, reverse=True)[:_MAX_ACTIONS]
    documents: Sequence[Mapping[str, Any]] = ActionSchema(many=True).dump(newest)
    return documents


def _describe_setup(provider: Provider | None) -> Mapping[str, Any] | None:
    """Return what `receiver provider check` finds without calling the provider; None if it is not configured."""
    if provider is None:
        return None
    return {**describe_setup(current_context().settings, provider), "has_account_checks": has_account_checks(provider)}


def _build_not_found(name: str) -> ProblemError:
    return ProblemError(ProblemType.NOT_FOUND, f"No provider {name} is configured, and nothing of one is stored.")
