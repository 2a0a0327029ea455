"""`receiver request`: what was submitted, whether it was sent; sending it again, stopping it, settling a doubt."""

from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.rendering import print_request
from receiver.cli.submit import submit, submit_many
from receiver.cli.tables import REQUESTS
from receiver.domain.sending import RequestStatus

_RESOLVED = ["accepted", "completed", "rejected", "failed"]


@click.group()
def request() -> None:
    """Submit requests, see whether they were sent, retry, cancel or resolve.

    Asks the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


request.add_command(submit)
request.add_command(submit_many)


@request.command("list")
@click.option("--status", type=click.Choice([status.value for status in RequestStatus]), help="Only with this status.")
@click.option("--provider", help="Only to this provider.")
@click.option("--operation", help="Only with this operation.")
@time_range_options("created", "created")
@click.option(
    "--metadata",
    multiple=True,
    type=options.PairParameter(),
    metavar="KEY=VALUE",
    help="Only with this metadata; repeatable.",
)
@list_options
def list_requests(paging: Paging, metadata: tuple[tuple[str, str], ...], **filters: Any) -> None:
    """List requests, newest first.

    Example: receiver request list --status unknown --created-from 1d --metadata order=1042
    """
    named = {f"metadata.{key}": value for key, value in metadata}
    paging.show("requests", {**filters, **named}, REQUESTS)


@request.command("show")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.as_json
def show_request(request_id: UUID, as_json: bool) -> None:
    """Show a request, its attempts and its jobs.

    What operators did about it is told as well.
    """
    options.print_result(connect_service().get("requests", request_id), as_json, print_request)


@request.command("retry")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def retry_request(request_id: UUID, reason: str | None, as_json: bool) -> None:
    """Send a request again that was not taken.

    It is rejected, failed, unknown or cancelled. Of an unknown one make sure first that it did not arrive.
    """
    options.print_result(connect_service().act("requests", request_id, "retry", reason=reason), as_json, print_request)


@request.command("cancel")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def cancel_request(request_id: UUID, reason: str | None, as_json: bool) -> None:
    """Take a request back that is still queued."""
    options.print_result(connect_service().act("requests", request_id, "cancel", reason=reason), as_json, print_request)


@request.command("resolve")
@click.argument("request_id", metavar="ID", type=click.UUID)
@click.option("--status", required=True, type=click.Choice(_RESOLVED), help="What became of it.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="REFERENCE",
    help="The provider's name of a job of it; needed with accepted, repeatable.",
)
@click.option("--reason", required=True, metavar="TEXT", help="How you know; kept with it.")
@options.as_json
def resolve_request(request_id: UUID, status: str, references: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Say what became of an unknown request, as one who knows.

    The jobs of an accepted one are then followed like any.

    Example: receiver request resolve ID --status accepted --reference 90210 --reason "seen in their console"
    """
    found = connect_service().act(
        "requests", request_id, "resolve", status=status, references=list(references), reason=reason
    )
    options.print_result(found, as_json, print_request)
