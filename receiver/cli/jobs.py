"""`receiver job`: list and show jobs, wait for them, poll the provider, and set a final status manually."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, connect_service
from receiver.cli.formats import Json
from receiver.cli.messages import print_message
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.output import print_section
from receiver.cli.rendering import print_events, print_job, print_job_with_events
from receiver.cli.tables import ATTEMPTS, EVENTS, JOBS, format_provider
from receiver.cli.unknown_names import report_unknown_names
from receiver.cli.waiting import wait
from receiver.domain.jobs import JobStatus

_FINAL_STATUSES = [status.value for status in JobStatus if status.is_final]


@click.group()
def job() -> None:
    """Show, poll and resolve jobs.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


job.add_command(wait)


@job.command("list")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only jobs with this status.")
@options.provider("Only jobs of this provider.")
@options.account
@click.option("--reference", help="Only jobs with this reference of the provider.")
@click.option("--request", "request_id", type=click.UUID, metavar="ID", help="Only jobs of this request.")
@click.option("--disputed/--not-disputed", default=None, help="Only jobs with (without) contradicting final statuses.")
@click.option("--unmatched/--matched", default=None, help="Only jobs without (with) a request.")
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
@options.provider("The provider, if several use the same reference.")
@options.account
@options.table_options
def show_job(job_id: UUID | None, reference: str | None, as_json: bool, **filters: str | None) -> None:
    """Show a job with its history.

    Prints the attempts to send its request, then the newest events of the job in the order they were received.

    Example: receiver job show --provider acme --reference 90210
    """
    if (job_id is None) == (reference is None):
        raise click.UsageError("Pass either an ID or --reference.")
    service = connect_service()
    if job_id is None:
        job_id = _find_job(service, {**filters, "reference": reference})
    options.print_result(service.get("jobs", job_id), as_json, lambda document: _print_history(document, service))


@job.command("events")
@click.argument("job_id", metavar="ID", type=click.UUID)
@list_options
def list_events(paging: Paging, job_id: UUID) -> None:
    """List all events of a job, newest first.

    `receiver job show` prints only the newest.

    Example: receiver job events ID --all
    """
    paging.show(f"jobs/{job_id}/events", {}, EVENTS)


@job.command("poll")
@click.argument("job_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def poll_job(job_id: UUID, reason: str | None, as_json: bool) -> None:
    """Poll the provider for a job's status now."""
    document = connect_service().act("jobs", job_id, "poll", reason=reason)
    options.print_result(document, as_json, print_job)
    print_message(f"a worker polls the provider soon; `receiver job wait {job_id}` waits for a final status")


@job.command("resolve")
@click.argument("job_id", metavar="ID", type=click.UUID)
@click.option("--status", required=True, type=click.Choice(_FINAL_STATUSES), help="The final status.")
@click.option("--reason", required=True, metavar="TEXT", help="How you know; stored with the event.")
@options.table_options
def resolve_job(job_id: UUID, status: str, reason: str, as_json: bool) -> None:
    """Set a job's final status manually.

    It overrides all statuses from the provider, including later ones.

    Example: receiver job resolve ID --status succeeded --reason "seen in the provider's console"
    """
    document = connect_service().act("jobs", job_id, "resolve", status=status, reason=reason)
    options.print_result(document, as_json, print_job_with_events)


def _find_job(service: Service, filters: Mapping[str, str | None]) -> UUID:
    """Return the id of the only job that matches `filters`, those of the list."""
    items = service.get("jobs", query=filters)["items"]
    if not items:
        report_unknown_names(service, filters)
        raise ApiError("No job has this reference. If it was never accepted, see `receiver request list`.")
    if len(items) > 1:
        providers = ", ".join(sorted(map(format_provider, items)))
        raise ApiError(f"Several providers use this reference: {providers}. Add --provider, and --account.")
    return UUID(items[0]["id"])


def _print_history(document: Json, service: Service) -> None:
    print_job(document)
    if document["request_id"]:
        print_section("attempts", ATTEMPTS, service.get("requests", document["request_id"])["attempts"])
    print_events(document)
