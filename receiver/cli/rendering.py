"""Prints requests and jobs as text: their status, what to do about it, and all that belongs to them."""

import click

from receiver.cli.formats import Json
from receiver.cli.output import build_status_field, build_time_field, print_fields, print_section, print_text
from receiver.cli.tables import ACTIONS, ATTEMPTS, CALLBACKS_OF_JOB, EVENTS, JOBS, format_flags, format_provider
from receiver.domain.plurals import format_count
from receiver.domain.status_explanations import mark_replaced
from receiver.domain.status_symbols import StatusKind
from receiver.domain.unknown_explanations import explain_unknown_request

_MAX_BODY_CHARS = 2_000
_REQUEST_STATUS_ADVICE = {
    "rejected": "The provider rejected it permanently. Fix what `detail` names, then `receiver request retry ID`.",
    "failed": "Its attempts are used up, or its deadline passed. `receiver request retry ID` sends it again.",
    "cancelled": "It was cancelled before it was sent. `receiver request retry ID` sends it after all.",
}
_JOB_STATUS_ADVICE = {
    "accepted": "The provider accepted it and has not reported a final status. `receiver job poll ID` polls it now, "
    "if the provider has a `poll`.",
    "in_progress": "The provider is working on it. `receiver job poll ID` polls it now, if the provider has a `poll`.",
    "unresolved": "Its deadline passed without a final status. A late callback still counts; `receiver job poll ID` "
    "polls the provider, if it has a `poll`. If you know the outcome: `receiver job resolve ID --status "
    "succeeded|failed --reason TEXT`.",
}
_DISPUTED_ADVICE = (
    "The provider reported contradicting final statuses. The first one stands until `receiver job resolve ID --status "
    "succeeded|failed --reason TEXT` decides."
)
_UNMATCHED_ADVICE = (
    "It belongs to no request of this service: another system sent it, or the response to our request is still to come."
)


def print_request(document: Json, *, with_response: bool = False) -> None:
    """Print a request of the API as text, if wanted with the provider's last response."""
    print_fields(
        {
            "request": document["id"],
            "status": build_status_field(StatusKind.REQUEST, document["status"]),
            "detail": document["detail"],
            "provider": format_provider(document),
            "operation": document["operation"],
            "created": build_time_field(document["created_at"]),
            "due": "" if document["finished_at"] else build_time_field(document["due_at"]),
            "deadline": "" if document["finished_at"] else build_time_field(document["deadline_at"]),
            "finished": build_time_field(document["finished_at"]),
            "priority": document["priority"],
            "notify URL": document["notify_url"],
            "notified of": ", ".join(document["notify_events"] or ()),
            "metadata": document["metadata"],
            "payload": document["payload"],
            "erased": build_time_field(document.get("erased_at")),
        }
    )
    if document["status"] == "unknown":
        explanation = explain_unknown_request(document)
        print_text(f"\n{explanation.reason} {explanation.remedy}")
    elif document["status"] in _REQUEST_STATUS_ADVICE:
        click.echo(f"\n{_REQUEST_STATUS_ADVICE[document['status']].replace('ID', document['id'])}")
    print_section("attempts", ATTEMPTS, document.get("attempts", ()))
    if with_response:
        _print_last_response(document)
    print_section("jobs", JOBS, document.get("jobs", ()))
    print_section("actions", ACTIONS, document.get("actions", ()))


def print_job_with_events(document: Json) -> None:
    """Print a job of the API with its newest events as text."""
    print_job(document)
    print_events(document)


def print_events(document: Json) -> None:
    """Print the newest events of a job, and the callbacks that contained them."""
    newest = f" (the newest {len(document['events'])}; all: receiver job events {document['id']})"
    print_section(f"events{newest if document['events_cursor'] else ''}", EVENTS, mark_replaced(document["events"]))
    callbacks = {event["callback_id"]: event for event in document["events"] if event["callback_id"]}
    print_section("callbacks", CALLBACKS_OF_JOB, list(callbacks.values()))


def print_job(document: Json) -> None:
    """Print a job of the API as text, and what to do about it."""
    print_fields(
        {
            "job": document["id"],
            "status": build_status_field(StatusKind.JOB, document["status"]),
            "flags": build_status_field(StatusKind.FLAG, format_flags(document)),
            "provider": format_provider(document),
            "reference": document["reference"],
            "request": document["request_id"],
            "accepted": build_time_field(document["accepted_at"]),
            "finished": build_time_field(document["finished_at"]),
            "deadline": "" if document["finished_at"] else build_time_field(document["deadline_at"]),
        }
    )
    for advice in (
        _JOB_STATUS_ADVICE.get(document["status"]),
        document["disputed"] and _DISPUTED_ADVICE,
        document["unmatched"] and _UNMATCHED_ADVICE,
    ):
        if advice:
            click.echo(f"\n{advice.replace('ID', document['id'])}")


def _print_last_response(document: Json) -> None:
    """Print the provider's last response to a request, unless there is none or the key may not see it."""
    attempt = next((each for each in reversed(document["attempts"]) if each["response_headers"] is not None), None)
    if attempt is None:
        return
    click.echo(f"\nresponse of attempt {attempt['number']}")
    for name, value in attempt["response_headers"].items():
        print_text(f"{name}: {value}")
    body = attempt["response_body"]
    if body:
        print_text(f"\n{body[:_MAX_BODY_CHARS]}")
        if len(body) > _MAX_BODY_CHARS:
            click.echo(f"({format_count(len(body) - _MAX_BODY_CHARS, 'more character')}: --json)")
    if attempt["response_truncated"]:
        click.echo("(only the first MiB of the response is stored)")
