"""Prints a request as text: its status, what to do about it, and its attempts, jobs and actions."""

import click

from receiver.cli.output import Json, format_time, print_fields, print_section
from receiver.cli.tables import ACTIONS, ATTEMPTS, JOBS, format_provider

_STATUS_ADVICE = {
    "unknown": "It was sent, but no response arrived: the provider may have acted on it, and could act twice if it is "
    "sent again. Look it up at the provider. If it did not arrive: `receiver request retry ID`. If it did: `receiver "
    "request resolve ID --status accepted --reference REFERENCE --reason TEXT`, or another status.",
    "rejected": "The provider rejected it permanently. Fix what `detail` names, then `receiver request retry ID`.",
    "failed": "Its attempts are used up, or its deadline passed. `receiver request retry ID` sends it again.",
    "cancelled": "It was cancelled before it was sent. `receiver request retry ID` sends it after all.",
}


def print_request(document: Json) -> None:
    """Print a request of the API as text."""
    print_fields(
        {
            "request": document["id"],
            "status": document["status"],
            "detail": document["detail"],
            "provider": format_provider(document),
            "operation": document["operation"],
            "created": format_time(document["created_at"]),
            "due": "" if document["finished_at"] else format_time(document["due_at"]),
            "deadline": "" if document["finished_at"] else format_time(document["deadline_at"]),
            "finished": format_time(document["finished_at"]),
            "priority": document["priority"],
            "notify URL": document["notify_url"],
            "metadata": document["metadata"],
            "payload": document["payload"],
        }
    )
    if document["status"] in _STATUS_ADVICE:
        click.echo(f"\n{_STATUS_ADVICE[document['status']].replace('ID', document['id'])}")
    print_section("attempts", ATTEMPTS, document.get("attempts", ()))
    print_section("jobs", JOBS, document.get("jobs", ()))
    print_section("actions", ACTIONS, document.get("actions", ()))
