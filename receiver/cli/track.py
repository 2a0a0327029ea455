"""`receiver request track`: register a job for a request that was sent without this service."""

from typing import Any

import click

from receiver.cli import options
from receiver.cli.completion import complete_providers
from receiver.cli.messages import print_message
from receiver.cli.rendering import print_job_with_events
from receiver.cli.submit import account_option, metadata_option, notify_options, post_idempotently


@click.command()
@click.argument("provider", shell_complete=complete_providers)
@click.argument("reference")
@account_option
@metadata_option
@click.option(
    "--deadline",
    type=options.FUTURE_TIME,
    metavar="TIME",
    help="When the job becomes unresolved without a final status; a time, or 2h from now.",
)
@notify_options
@click.option(
    "--idempotency-key",
    metavar="KEY",
    callback=options.check_header_value,
    help="Repeating the command with the same KEY prints the same job.",
)
@options.table_options
def track(idempotency_key: str | None, as_json: bool, **params: Any) -> None:
    """Track the job of a request that you sent to the provider yourself.

    REFERENCE is the provider's, as its callbacks contain it. Callbacks that came first count.

    Example: receiver request track acme 90210 --metadata order=1042 --deadline 2d
    """
    job = post_idempotently("jobs", params, idempotency_key)
    options.print_result(job, as_json, print_job_with_events)
    print_message(f"`receiver job wait {job['id']}` waits for a final status")
