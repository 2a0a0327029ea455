"""One notification: what is sent to whom, its attempts, resending it; and pausing the sending of all of them."""

from uuid import UUID

import orjson
from flask import g, render_template, request, url_for
from flask.typing import ResponseReturnValue

from receiver.web.admin.actions import act
from receiver.web.admin.blueprint import admin
from receiver.web.admin.bodies import describe_body
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.failures import Failure

_MAX_ATTEMPTS = 30
_DONE = {
    "pause": "Notifications are paused: none is sent until somebody resumes them.",
    "resume": "Notifications are being sent again.",
}


@admin.get("/notifications/<uuid:notification_id>")
def show_notification(notification_id: UUID) -> str:
    """Show a notification."""
    return _render(notification_id)


@admin.route("/notifications/<uuid:notification_id>/resend", methods=["GET", "POST"])
def resend_notification(notification_id: UUID) -> ResponseReturnValue:
    """Show what resending a notification would do, with its form; perform it if the form was sent."""
    if request.method == "GET":
        return _render(notification_id, is_resending=True)
    return act(
        "resend_notification",
        {"reason": g.form.get("reason", "").strip() or None},
        done="The notification is queued and will be sent again.",
        target=url_for("admin.show_notification", notification_id=notification_id),
        render=lambda failure: _render(notification_id, failure, is_resending=True),
        notification_id=notification_id,
    )


@admin.route("/notifications/<any('pause', 'resume'):action>", methods=["GET", "POST"])
def switch_notifications(action: str) -> ResponseReturnValue:
    """Show what pausing or resuming all notifications does, with its form; perform it if the form was sent."""
    if request.method == "GET":
        return _render_switch(action)
    return act(
        f"{action}_notifications",
        {"reason": g.form.get("reason", "").strip() or None},
        done=_DONE[action],
        target=url_for("admin.list_notifications"),
        render=lambda failure: _render_switch(action, failure),
    )


def _render_switch(action: str, failure: Failure | None = None) -> str:
    return render_template(
        "notifications_switch.html", section="Notifications", action=action, failure=failure, form=g.get("form", {})
    )


def _render(notification_id: UUID, failure: Failure | None = None, *, is_resending: bool = False) -> str:
    document = call("show_notification", notification_id=notification_id)
    return render_template(
        "notification.html",
        section="Notifications",
        item=document,
        attempts=document["attempts"][-_MAX_ATTEMPTS:],
        body=describe_body(orjson.dumps(document["body"]).decode(), {}) if document["body"] else None,
        is_resending=is_resending and can_call("resend_notification"),
        failure=failure,
        form=g.get("form", {}),
    )
