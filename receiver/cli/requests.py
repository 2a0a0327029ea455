"""`receiver request`: list, show, retry, cancel, send and resolve requests; `submit` is in `receiver.cli.submit`."""

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

_RESOLVABLE_STATUSES = ["accepted", "completed", "rejected", "failed"]


@click.group()
def request() -> None:
    """Submit, show, retry, cancel, send and resolve requests.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


request.add_command(submit)
request.add_command(submit_many)


@request.command("list")
@click.option(
    "--status", type=click.Choice([status.value for status in RequestStatus]), help="Only requests with this status."
)
@click.option("--provider", help="Only requests to this provider.")
@options.account
@click.option("--operation", help="Only requests with this operation.")
@time_range_options("created", "created")
@click.option(
    "--metadata",
    multiple=True,
    type=options.PairParameter(),
    metavar="KEY=VALUE",
    help="Only requests with this metadata; repeatable.",
)
@list_options
def list_requests(paging: Paging, metadata: tuple[tuple[str, str], ...], **filters: Any) -> None:
    """List requests, newest first.

    Example: receiver request list --status unknown --created-from 1d --metadata order=1042
    """
    metadata_filters = {f"metadata.{key}": value for key, value in metadata}
    paging.show("requests", {**filters, **metadata_filters}, REQUESTS)


@request.command("show")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.as_json
def show_request(request_id: UUID, as_json: bool) -> None:
    """Show a request with its attempts, jobs and operators' actions."""
    options.print_result(connect_service().get("requests", request_id), as_json, print_request)


@request.command("retry")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def retry_request(request_id: UUID, reason: str | None, as_json: bool) -> None:
    """Queue a request again.

    The request must be rejected, failed, unknown or cancelled. Before you retry an unknown request, make sure that the
    provider did not receive it.
    """
    options.print_result(connect_service().act("requests", request_id, "retry", reason=reason), as_json, print_request)


@request.command("cancel")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def cancel_request(request_id: UUID, reason: str | None, as_json: bool) -> None:
    """Cancel a request that is still queued."""
    options.print_result(connect_service().act("requests", request_id, "cancel", reason=reason), as_json, print_request)


@request.command("send-now")
@click.argument("request_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def send_request_now(request_id: UUID, reason: str | None, as_json: bool) -> None:
    """Send a queued request now that waits for its next attempt or for --send-after.

    The limits, a pause and the circuit of its provider still apply.
    """
    document = connect_service().act("requests", request_id, "send-now", reason=reason)
    options.print_result(document, as_json, print_request)


@request.command("resolve")
@click.argument("request_id", metavar="ID", type=click.UUID)
@click.option("--status", required=True, type=click.Choice(_RESOLVABLE_STATUSES), help="The request's status.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="REFERENCE",
    help="The provider's reference of a job; required for accepted, repeatable.",
)
@click.option("--reason", required=True, metavar="TEXT", help="How you know; stored with the action.")
@options.as_json
def resolve_request(request_id: UUID, status: str, references: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Set the status of an unknown request manually.

    The jobs of an accepted request are then followed up like all others.

    Example: receiver request resolve ID --status accepted --reference 90210 --reason "seen in their console"
    """
    document = connect_service().act(
        "requests", request_id, "resolve", status=status, references=list(references), reason=reason
    )
    options.print_result(document, as_json, print_request)
