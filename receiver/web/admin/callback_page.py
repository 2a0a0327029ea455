"""One callback: whether it is genuine, what it says, what became of it, and if nothing, why; with its replay."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flask import flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Scope
from receiver.domain.accounts import join_account
from receiver.domain.callbacks import VERDICT_MEANINGS
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import compute_effects
from receiver.domain.paging import PageRequest
from receiver.domain.status_explanations import mark_replaced
from receiver.store.events import find_newest_events
from receiver.web.admin.actions import respond_with_failure
from receiver.web.admin.blueprint import admin
from receiver.web.admin.bodies import describe_body, limit_fields, list_fields
from receiver.web.admin.calls import call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.steps import shorten
from receiver.web.context import current_context
from receiver.web.operations import current_caller

_MAX_EVENTS, _MAX_EVENTS_PER_JOB, _MAX_ERRORS = 30, 20, 20
_MAX_TEXT_LENGTH = 500
_MAX_HEADER_BYTES = 6_000
_PLAIN_VERDICTS = frozenset({"accepted", "duplicate"})
"""The verdicts of which the first cause of the explanation says no more than the sentence above."""
_REFUSED_REMEDY = (
    "If it is from the provider: correct the cause in `receiver.toml`, reload the configuration (SIGHUP), and replay "
    "the callback."
)
_REPLAYS: Mapping[str, str] = {
    "accepted": "It is read again with the configuration of today, as of the time when it was received. Statuses that "
    "are recorded already stay. A status that is mapped in another way now is added, and may change or dispute a job.",
    "duplicate": "Its first delivery is read again with the configuration of today, as of the time when that was "
    "received. Statuses that are recorded already stay; new ones may change a job.",
    "unmapped": "It is read again with the configuration of today, as of the time when it was received. A status that "
    "is mapped by now is recorded, and may finish a job and notify its client.",
    "invalid": "It is read again with the configuration of today, as of the time when it was received. If it can be "
    "read by now, its statuses are recorded, and may finish a job and notify its client.",
    "refused": "Its sender is authenticated again with the secrets and rules of today, as of the time when it was "
    "received. If it still fails, nothing changes. Otherwise its statuses are recorded, and may finish a job and "
    "notify its client.",
}


@admin.get("/callbacks/<uuid:callback_id>")
def show_callback(callback_id: UUID) -> str:
    """Show a callback with its explanation."""
    return _render(callback_id)


@admin.post("/callbacks/<uuid:callback_id>/replay")
def replay_callback(callback_id: UUID) -> ResponseReturnValue:
    """Process a callback again."""
    try:
        before = call("show_callback", callback_id=callback_id)["verdict"]
        reason = g.form.get("reason", "").strip() or None
        callback = call("replay_callback", body={"reason": reason}, callback_id=callback_id)
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), lambda failure: _render(callback_id, failure))
    after = callback["verdict"]
    if callback["id"] != str(callback_id):
        flash("The first delivery of the callback, which is shown here, was processed again.")
    elif after == before:
        flash(f"The callback was processed again. Its verdict is {after} as before.")
    else:
        flash(f"The callback was processed again. Its verdict was {before} and is {after} now.")
    return redirect(url_for("admin.show_callback", callback_id=callback["id"]), 303)


def _render(callback_id: UUID, failure: Failure | None = None) -> str:
    callback = call("show_callback", callback_id=callback_id)
    events = call("browse_callback_events", {"limit": str(_MAX_EVENTS)}, callback_id=callback_id)
    name = join_account(callback["provider"], callback["account"])
    provider = current_context().providers.get(name)
    callbacks = provider.callbacks if provider else None
    target, causes = callback["target"] or "", callback["explanation"]["causes"]
    return render_template(
        "callback.html",
        callback=callback,
        provider_name=name,
        verdict=VERDICT_MEANINGS[callback["verdict"]],
        causes=causes[1:] if callback["verdict"] in _PLAIN_VERDICTS and not callback["erased_at"] else causes,
        errors=_list_errors(callback["errors"] or {}),
        proof=callbacks.settings.auth.describe_trust() if callbacks else None,
        next_step=_REFUSED_REMEDY if callback["verdict"] == "refused" else None,
        replay=_REPLAYS[callback["verdict"]],
        target=shorten(target, _MAX_TEXT_LENGTH),
        body=None if callback["body"] is None else describe_body(callback["body"], callback["headers"]),
        query=list_fields(target.partition("?")[2], _MAX_HEADER_BYTES),
        headers=limit_fields((callback["headers"] or {}).items(), _MAX_HEADER_BYTES),
        events=_add_effects(events["items"]),
        has_more_events=events["next_cursor"] is not None,
        is_admin=current_caller().has_scope(Scope.ADMIN),
        failure=failure,
        form=g.get("form", {}),
    )


def _add_effects(events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return events of a callback with their effects, if they are among the newest events of their jobs."""
    job_ids = {UUID(event["job_id"]) for event in events}
    with current_context().database.connection() as connection:
        newest = find_newest_events(connection, job_ids, PageRequest(limit=_MAX_EVENTS_PER_JOB))
    effects = {
        (str(event.job_id), str(event.callback_id), event.position, event.status): effect
        for job_events in newest.values()
        for event, effect in compute_effects(job_events.events, job_events.preceding)
    }
    names = ("job_id", "callback_id", "position", "status")
    return mark_replaced([{**event, "effect": effects.get(tuple(event[name] for name in names))} for event in events])


def _list_errors(errors: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the parts of a callback that are wrong, with their messages; the first of them."""
    listed = []
    for part, messages in list(errors.items())[:_MAX_ERRORS]:
        text = " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
        listed.append((shorten(part, _MAX_TEXT_LENGTH), shorten(text, _MAX_TEXT_LENGTH)))
    return listed
