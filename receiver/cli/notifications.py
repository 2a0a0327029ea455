"""`receiver notification`: list, show and resend webhook notifications, and pause and resume all of them."""

import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, Unavailable, connect_service
from receiver.cli.formats import Json
from receiver.cli.messages import print_message, show_progress
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.output import build_status_field, build_time_field, print_fields, print_json, print_section
from receiver.cli.tables import ACTIONS, ATTEMPTS, NOTIFICATIONS, format_provider
from receiver.domain.notifications import NotificationStatus
from receiver.domain.status_symbols import StatusKind

_PAGE_SIZE = 500
_STATUS_ADVICE = {
    "failed": "The client never accepted it. `receiver notification resend ID` sends it again.",
    "rejected": "The client responded with 410: it does not want it. `receiver notification resend ID` sends it again.",
    "cancelled": "An operator cancelled it. `receiver notification resend ID` sends it after all.",
}


@click.group()
def notification() -> None:
    """Show, resend, pause and resume webhook notifications to clients.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


def _filter_options(command: Any) -> Any:
    """Add the filters of the list to a command."""
    add_status = click.option(
        "--status",
        type=click.Choice([status.value for status in NotificationStatus]),
        help="Only notifications with this status.",
    )
    add_provider = options.provider("Only about requests to this provider.")
    add_request = click.option(
        "--request", "request_id", type=click.UUID, metavar="ID", help="Only about this request."
    )
    return add_status(add_provider(options.account(add_request(time_range_options("created", "created")(command)))))


@notification.command("list")
@_filter_options
@list_options
def list_notifications(paging: Paging, **filters: Any) -> None:
    """List notifications, newest first.

    Example: receiver notification list --status failed --created-from 1d
    """
    paging.show("notifications", filters, NOTIFICATIONS)


@notification.command("show")
@click.argument("notification_id", metavar="ID", type=click.UUID)
@options.table_options
def show_notification(notification_id: UUID, as_json: bool) -> None:
    """Show a notification with its attempts and operators' actions."""
    options.print_result(connect_service().get("notifications", notification_id), as_json, _print_notification)


@notification.command("resend")
@click.argument("notification_id", metavar="[ID]", type=click.UUID, required=False)
@_filter_options
@click.option("--url", metavar="URL", help="Only notifications to this URL.")
@click.option("--dry-run", is_flag=True, help="Only count the notifications.")
@options.reason
@options.table_options
def resend_notification(
    notification_id: UUID | None, url: str | None, dry_run: bool, reason: str | None, as_json: bool, **filters: Any
) -> None:
    """Send notifications again, with the same webhook-id.

    Resends one notification, or all that match the options. Exits 1 if any could not be resent.

    Example: receiver notification resend --status failed --url https://shop.example/hook --created-from 3d
    """
    params = {name: value for name, value in {**filters, "url": url}.items() if value is not None}
    if (notification_id is not None) == bool(params):
        raise click.UsageError("Pass either an ID or filter options.")
    service = connect_service()
    if notification_id is None:
        _resend_many(service, filters, url, reason, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        raise click.UsageError("--dry-run counts the notifications that match filter options. Omit it with an ID.")
    else:
        document = service.act("notifications", notification_id, "resend", reason=reason)
        options.print_result(document, as_json, _print_notification)


@notification.command("pause")
@options.reason
@options.as_json
def pause_notifications(reason: str | None, as_json: bool) -> None:
    """Stop sending notifications; they stay queued.

    Example: receiver notification pause --reason "the shop is being moved"
    """
    options.print_result(connect_service().act("notifications", "pause", reason=reason), as_json, _print_state)


@notification.command("resume")
@options.reason
@options.as_json
def resume_notifications(reason: str | None, as_json: bool) -> None:
    """Resume sending notifications."""
    options.print_result(connect_service().act("notifications", "resume", reason=reason), as_json, _print_state)


def _resend_many(
    service: Service, filters: Mapping[str, Any], url: str | None, reason: str | None, *, dry_run: bool, as_json: bool
) -> None:
    """Resend all notifications that match the filters of the list and the URL, oldest first. Exit with 1 on failures.

    The whole list is read first, because sending a notification again changes which ones match.
    """
    pages = service.pages("notifications", query={**filters, "limit": _PAGE_SIZE})
    ids = [item["id"] for page in pages for item in page["items"] if url in {None, item["url"]}][::-1]
    resent, failed = 0, []
    with show_progress(f"0 of {len(ids)} resent") as update:
        for resend_id in () if dry_run else ids:
            try:
                service.act("notifications", resend_id, "resend", reason=reason)
            except ApiError as error:
                print_message(f"{resend_id}: {error.message}")
                failed.append({"id": resend_id, "reason": error.message})
                if isinstance(error, Unavailable):
                    break
            else:
                resent += 1
                update(f"{resent} of {len(ids)} resent")
    summary = {"found": len(ids), "resent": resent, "failed": failed}
    if as_json:
        print_json({**summary, "dry_run": dry_run})
    else:
        print_fields({"would be resent": len(ids)} if dry_run else {**summary, "failed": len(failed)})
    sys.exit(1 if failed else 0)


def _print_state(document: Json) -> None:
    print_fields(
        {
            "paused": "yes" if document["paused"] else "no",
            "since": build_time_field(document["paused_at"]),
            "reason": document["pause_reason"],
        }
    )


def _print_notification(document: Json) -> None:
    print_fields(
        {
            "notification": document["id"],
            "type": document["type"],
            "status": build_status_field(StatusKind.NOTIFICATION, document["status"]),
            "detail": document["detail"],
            "URL": document["url"],
            "request": document["request_id"],
            "provider": format_provider(document),
            "jobs": ", ".join(document["job_ids"]),
            "created": build_time_field(document["created_at"]),
            "next attempt": build_time_field(document["next_attempt_at"]),
            "finished": build_time_field(document["finished_at"]),
            "body": document["body"],
        }
    )
    if document["status"] in _STATUS_ADVICE:
        click.echo(f"\n{_STATUS_ADVICE[document['status']].replace('ID', document['id'])}")
    print_section("attempts", ATTEMPTS, document["attempts"])
    print_section("actions", ACTIONS, document["actions"])
