"""`receiver request`: list, show, retry, cancel, send and resolve requests.

The actions are in `receiver.cli.request_actions`, `submit` in `receiver.cli.submit`, `track` in `receiver.cli.track`.
"""

from functools import partial
from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.options import Paging, list_options
from receiver.cli.rendering import print_request
from receiver.cli.request_actions import (
    cancel_requests,
    filter_options,
    resolve_requests,
    retry_requests,
    send_requests_now,
)
from receiver.cli.submit import submit, submit_many
from receiver.cli.tables import REQUESTS
from receiver.cli.track import track
from receiver.domain.sending import RequestStatus


@click.group()
def request() -> None:
    """Submit, track, show, retry, cancel, send and resolve requests.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


request.add_command(submit)
request.add_command(submit_many)
request.add_command(retry_requests)
request.add_command(cancel_requests)
request.add_command(send_requests_now)
request.add_command(resolve_requests)
request.add_command(track)


@request.command("list")
@click.option(
    "--status", type=click.Choice([status.value for status in RequestStatus]), help="Only requests with this status."
)
@filter_options
@click.option(
    "--reference-conflict/--no-reference-conflict",
    default=None,
    help="Only requests with (without) a reference conflict.",
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
@options.table_options
def show_request(request_id: UUID, as_json: bool) -> None:
    """Show a request with its attempts, jobs and operators' actions.

    With a key with the scope admin, also the last response of the provider; with --json those of all attempts.
    """
    print_with_response = partial(print_request, with_response=True)
    options.print_result(connect_service().get("requests", request_id), as_json, print_with_response)
