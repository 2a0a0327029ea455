"""One job: what happened, in which order, and why its status is what it is; with its actions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Scope
from receiver.domain.accounts import join_account
from receiver.domain.errors import ReceiverError
from receiver.store.jobs import find_poll_time
from receiver.store.requests import find_requests
from receiver.web.admin.actions import act, respond_with_failure
from receiver.web.admin.blueprint import admin
from receiver.web.admin.bodies import Body, describe_body
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.lists import load_list
from receiver.web.admin.presentation import format_value
from receiver.web.admin.steps import choose_steps, list_event_steps, list_steps, shorten
from receiver.web.admin.timeline import draw_timeline
from receiver.web.context import current_context
from receiver.web.operations import current_caller

_MAX_RESPONSES, _MAX_CALLBACKS = 2, 3
_MAX_RAW_BYTES = 2_500
_MAX_CHOICES = 20
_MAX_METADATA, _MAX_VALUE_LENGTH = 20, 100


@dataclass(frozen=True, slots=True)
class RawExchange:
    """A response or a callback of a job, with its body.

    `number` is that of the attempt with the response, `callback_id` that of the callback.
    """

    body: Body
    number: int | None = None
    status: int | None = None
    callback_id: str | None = None
    received_at: str | None = None


@admin.get("/jobs/<uuid:job_id>")
def show_job(job_id: UUID) -> str:
    """Show a job with its timeline."""
    return _render(job_id)


@admin.get("/jobs/<uuid:job_id>/events")
def list_job_events(job_id: UUID) -> ResponseReturnValue:
    """Show all events of a job, newest first."""
    job, page = call("show_job", job_id=job_id), load_list("browse_job_events", job_id=job_id)
    steps = list_event_steps(page.items, job["explanation"])
    return render_template("job_events.html", job=job, page=page, steps=steps), page.status


@admin.post("/jobs/<uuid:job_id>/resolve")
def resolve_job(job_id: UUID) -> ResponseReturnValue:
    """Set a job's final status."""
    status = g.form.get("status", "")
    return act(
        "resolve_job",
        {"status": status, "reason": g.form.get("reason", "").strip()},
        done=f"You resolved the job as {status}.",
        target=url_for("admin.show_job", job_id=job_id),
        render=lambda failure: _render(job_id, failure, "resolve"),
        job_id=job_id,
    )


@admin.post("/jobs/<uuid:job_id>/poll")
def poll_job(job_id: UUID) -> ResponseReturnValue:
    """Schedule a poll of the job's provider for now."""
    return act(
        "poll_job",
        {"reason": g.form.get("reason", "").strip() or None},
        done="The provider is polled within seconds. Its answer shows here as an event, if it has a status.",
        target=url_for("admin.show_job", job_id=job_id),
        render=lambda failure: _render(job_id, failure, "poll"),
        job_id=job_id,
    )


@admin.post("/jobs/<uuid:job_id>/replay")
def replay_job_callback(job_id: UUID) -> ResponseReturnValue:
    """Process one of the job's callbacks again."""
    callback_id = g.form.get("callback_id", "")
    if callback_id not in _list_callbacks(call("show_job", job_id=job_id)):
        failure = Failure(400, "Choose a callback", "Choose one of the callbacks of this job.")
        return respond_with_failure(failure, lambda failure: _render(job_id, failure, "replay"))
    try:
        before = call("show_job", job_id=job_id)["status"]
        reason = g.form.get("reason", "").strip() or None
        callback = call("replay_callback", body={"reason": reason}, callback_id=UUID(callback_id))
        after = call("show_job", job_id=job_id)["status"]
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), lambda failure: _render(job_id, failure, "replay"))
    change = f"is {after} as before" if before == after else f"was {before} and is {after} now"
    flash(f"The callback was processed again. Its verdict is {callback['verdict']}; the job {change}.")
    return redirect(url_for("admin.show_job", job_id=job_id), 303)


def _render(job_id: UUID, failure: Failure | None = None, action: str | None = None) -> str:
    """Render the page; `action` is the form that failed."""
    job = call("show_job", job_id=job_id)
    request = _find_request(job)
    context = current_context()
    now = context.clock.now()
    steps = list_steps(job, request, _find_notifications(job, request), now)
    shown = choose_steps(steps, job["explanation"])
    name = join_account(job["provider"], job["account"])
    with context.database.connection() as connection:
        poll_time = find_poll_time(connection, job_id)
        requests = find_requests(connection, [UUID(request["id"])] if request else ())
    provider = context.providers.get(name)
    return render_template(
        "job.html",
        job=job,
        request_document=request,
        metadata=_list_metadata(request),
        client=next((item.client for item in requests), None),
        provider_name=name,
        can_poll=provider is not None and provider.poller is not None,
        is_poll_due=poll_time is not None and poll_time <= now,
        next_poll=poll_time.isoformat() if poll_time else None,
        steps=shown,
        is_partial=job["events_cursor"] is not None or sum(step.repeats + 1 for step in shown) < len(steps),
        picture=draw_timeline(shown, job["provider"]),
        exchanges=list(_list_exchanges(job, request)) if current_caller().has_scope(Scope.ADMIN) else None,
        callback_choices=list(_list_callbacks(job).values())[:_MAX_CHOICES],
        failure=failure,
        action=action,
        form=g.get("form", {}),
    )


def _find_request(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the request of a job; None if there is none, or the key that signed in may not see it."""
    if job["request_id"] is None or not can_call("show_request"):
        return None
    try:
        document: Mapping[str, Any] = call("show_request", request_id=UUID(job["request_id"]))
    except ReceiverError:
        return None
    return document


def _find_notifications(job: Mapping[str, Any], request: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    if request is None or request["notify_url"] is None or not can_call("browse_notifications"):
        return ()
    document = call("browse_notifications", {"request_id": job["request_id"], "limit": "20"})
    items: Sequence[Mapping[str, Any]] = document["items"]
    return items


def _list_exchanges(job: Mapping[str, Any], request: Mapping[str, Any] | None) -> Iterator[RawExchange]:
    """Yield the newest responses and callbacks of a job with their bodies, the callback that decides first."""
    decisive = ((job["explanation"] or {}).get("event") or {}).get("callback_id")
    callback_ids = sorted(_list_callbacks(job), key=lambda callback_id: callback_id != decisive)
    for callback_id in callback_ids[:_MAX_CALLBACKS]:
        callback = _find_callback(callback_id)
        if callback is not None and callback["body"] is not None:
            body = describe_body(callback["body"], callback["headers"], _MAX_RAW_BYTES)
            yield RawExchange(body, callback_id=callback_id, received_at=callback["received_at"])
    attempts = [] if request is None else [item for item in request["attempts"] if item["response_body"] is not None]
    for attempt in attempts[::-1][:_MAX_RESPONSES]:
        body = describe_body(attempt["response_body"], attempt["response_headers"] or {}, _MAX_RAW_BYTES)
        yield RawExchange(body, number=attempt["number"], status=attempt["response_status"])


def _list_metadata(request: Mapping[str, Any] | None) -> Sequence[tuple[str, str]]:
    """Return the metadata of a request as texts, the first of it."""
    items = list((request or {}).get("metadata", {}).items())[:_MAX_METADATA]
    texts = [(key, format_value(value)) for key, value in items]
    return [(shorten(key, _MAX_VALUE_LENGTH), shorten(text, _MAX_VALUE_LENGTH)) for key, text in texts]


def _find_callback(callback_id: str) -> Mapping[str, Any] | None:
    """Return a callback; None if it is not stored any more."""
    try:
        document: Mapping[str, Any] = call("show_callback", callback_id=UUID(callback_id))
    except ReceiverError:
        return None
    return document


def _list_callbacks(job: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return events of a job by their callback, newest first: its newest ones, and the one that decides."""
    events = [*job["events"][::-1], (job["explanation"] or {}).get("event") or {}]
    callbacks: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.get("callback_id"):
            callbacks.setdefault(event["callback_id"], event)
    return callbacks
