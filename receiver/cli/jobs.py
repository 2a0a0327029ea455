"""`receiver job`: what became of what providers took; asking again, and an operator's own word."""

from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, connect_service
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.output import Json, format_time, print_facts, print_message, print_section
from receiver.cli.tables import ATTEMPTS, CALLBACKS_OF_JOB, EVENTS, JOBS, format_flags
from receiver.cli.waiting import wait
from receiver.domain.jobs import JobStatus

_FINAL = [status.value for status in JobStatus if status.is_final]

_MEANINGS = {
    "accepted": "The provider took it and has not said how it ended; `receiver job poll ID` asks it.",
    "in_progress": "The provider is at it and has not said how it ended; `receiver job poll ID` asks it.",
    "unresolved": "Its deadline passed without a final word. A late one counts; `receiver job poll ID` asks for it. "
    "If you know how it ended: `receiver job resolve ID --status succeeded|failed --reason TEXT`.",
}
_DISPUTED = (
    "Contradicting final words arrived; the first one stands until `receiver job resolve ID --status succeeded|failed "
    "--reason TEXT` settles it."
)
_UNMATCHED = "No request of ours is known for it: somebody else's, or the answer to ours is still to come."


@click.group()
def job() -> None:
    """See what became of jobs, and settle what is open.

    Asks the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


job.add_command(wait)


@job.command("list")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only with this status.")
@click.option("--provider", help="Only of this provider.")
@click.option("--reference", help="Only with this reference of the provider.")
@click.option("--request", "request_id", type=click.UUID, metavar="ID", help="Only of this request.")
@click.option("--disputed/--not-disputed", default=None, help="Whether contradicting final words arrived.")
@click.option("--unmatched/--matched", default=None, help="Whether no request of ours is known for it.")
@time_range_options("accepted", "accepted")
@time_range_options("finished", "finished")
@list_options
def list_jobs(paging: Paging, **filters: Any) -> None:
    """List jobs, newest first.

    Example: receiver job list --status failed --finished-from 2h
    """
    paging.show("jobs", filters, JOBS)


@job.command("show")
@click.argument("job_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--reference", help="Without an ID: the job with this reference of the provider.")
@click.option("--provider", help="Of this provider, where several know the reference.")
@options.as_json
def show_job(job_id: UUID | None, reference: str | None, provider: str | None, as_json: bool) -> None:
    """Show what happened to a job.

    Everything anybody said about it is told in the order of receipt, after the attempts to send its request.

    Example: receiver job show --provider acme --reference 90210
    """
    if (job_id is None) == (reference is None):
        raise click.UsageError("give either an ID or --reference")
    asked = connect_service()
    if job_id is None:
        job_id = _found(asked, provider, str(reference))
    options.print_result(asked.get("jobs", job_id), as_json, lambda found: _tell(found, asked))


@job.command("poll")
@click.argument("job_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def poll_job(job_id: UUID, reason: str | None, as_json: bool) -> None:
    """Have the provider asked about a job now."""
    found = connect_service().act("jobs", job_id, "poll", reason=reason)
    options.print_result(found, as_json, _tell_job)
    print_message(f"the provider is asked soon; `receiver job wait {job_id}` waits for what it says")


@job.command("resolve")
@click.argument("job_id", metavar="ID", type=click.UUID)
@click.option("--status", required=True, type=click.Choice(_FINAL), help="How it ended.")
@click.option("--reason", required=True, metavar="TEXT", help="How you know; kept with it.")
@options.as_json
def resolve_job(job_id: UUID, status: str, reason: str, as_json: bool) -> None:
    """Say how a job ended, as one who knows.

    An operator's word outweighs every other.

    Example: receiver job resolve ID --status succeeded --reason "seen in the provider's console"
    """
    asked = connect_service()
    options.print_result(asked.act("jobs", job_id, "resolve", status=status, reason=reason), as_json, _tell_resolved)


def _found(asked: Service, provider: str | None, reference: str) -> UUID:
    items = asked.get("jobs", query={"provider": provider, "reference": reference})["items"]
    if not items:
        raise ApiError("no job has this reference; if it was never accepted, see `receiver request list`")
    if len(items) > 1:
        raise ApiError(f"several providers know this reference; add --provider: {', '.join(_providers(items))}")
    return UUID(items[0]["id"])


def _providers(items: list[Json]) -> list[str]:
    return sorted(item["provider"] for item in items)


def _tell(found: Json, asked: Service) -> None:
    _tell_job(found)
    if found["request_id"]:
        print_section("attempts", ATTEMPTS, asked.get("requests", found["request_id"])["attempts"])
    _tell_events(found)


def _tell_resolved(found: Json) -> None:
    _tell_job(found)
    _tell_events(found)


def _tell_events(found: Json) -> None:
    print_section("events", EVENTS, found["events"])
    print_section("callbacks", CALLBACKS_OF_JOB, [event for event in found["events"] if event["callback_id"]])


def _tell_job(found: Json) -> None:
    print_facts(
        {
            "job": found["id"],
            "status": found["status"],
            "flags": format_flags(found),
            "provider": found["provider"],
            "reference": found["reference"],
            "request": found["request_id"],
            "accepted": format_time(found["accepted_at"]),
            "finished": format_time(found["finished_at"]),
            "deadline": "" if found["finished_at"] else format_time(found["deadline_at"]),
        }
    )
    for said in (_MEANINGS.get(found["status"]), found["disputed"] and _DISPUTED, found["unmatched"] and _UNMATCHED):
        if said:
            click.echo(f"\n{said.replace('ID', found['id'])}")
