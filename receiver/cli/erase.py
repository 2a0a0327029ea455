"""`receiver erase`: removes what is stored of a person. It works directly on the database."""

import sys
from dataclasses import asdict
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.completion import complete_providers
from receiver.cli.errors import FAILED, report_errors
from receiver.cli.maintenance import open_database
from receiver.cli.messages import print_message, show_progress
from receiver.cli.output import print_fields, print_json
from receiver.cli.process_group import stop_on_signals
from receiver.domain.accounts import join_account
from receiver.followup.erase import Erasure, Selection
from receiver.followup.erase import erase as erase_selection
from receiver.store.database import Database

_MAX_NAMED_REQUESTS = 10


@click.command()
@click.option(
    "--request", "request_ids", type=click.UUID, multiple=True, metavar="ID", help="This request; repeatable."
)
@click.option(
    "--provider",
    shell_complete=complete_providers,
    help="The provider of --reference, or only requests to this provider with --metadata.",
)
@options.account
@click.option("--reference", help="The job with this reference of the provider, and its request.")
@click.option(
    "--metadata",
    multiple=True,
    type=options.PairParameter(),
    metavar="KEY=VALUE",
    help="The requests with this metadata; repeatable: with all of it.",
)
@click.option(
    "--reason", required=True, metavar="TEXT", help="Why; stored with the action, so without naming the person."
)
@click.option("--dry-run", is_flag=True, help="Only count; every change is rolled back.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; requires --yes or --dry-run.")
def erase(
    *,
    request_ids: tuple[UUID, ...],
    provider: str | None,
    account: str | None,
    reference: str | None,
    metadata: tuple[tuple[str, str], ...],
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase one person's data.

    Removes the payloads and metadata of requests, the responses to them, details, the raw callbacks about their jobs
    with the addresses of their callers, notifications, and refused or malformed callbacks that mention one of them.
    Statuses, events, references and actions stay, and `receiver audit` proves them as before. What was erased cannot be
    retried or replayed. Works directly on the database, also while the service runs. It can be interrupted and run
    again.

    Requests that are queued, being sent or unknown keep their data: cancel or resolve them first. Callbacks that come
    later bring data again. Exits 1 and names the requests if there are such, so that the command can be run again.

    Example: receiver erase --metadata customer=1042 --reason "request of 23 November"
    """
    if [bool(request_ids), reference is not None, bool(metadata)].count(True) != 1:
        raise click.UsageError("Pass either --request, or --provider with --reference, or --metadata.")
    if reference is not None and provider is None:
        raise click.UsageError("--reference requires --provider: providers may use the same reference.")
    if request_ids and provider is not None:
        raise click.UsageError("Omit --provider: --request names the request.")
    if account is not None and provider is None:
        raise click.UsageError("--account requires --provider.")
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json requires --yes or --dry-run.")
    name = None if provider is None else join_account(provider, account)
    selection = Selection(request_ids, name, reference, dict(metadata))
    with report_errors(), stop_on_signals(), open_database() as (_, database):
        erasure = _preview(database, selection, reason, yes or dry_run) if dry_run or not yes else None
        if erasure is None or not dry_run:
            erasure = _run(database, selection, reason, dry_run=False)
    if as_json:
        open_requests = [str(request_id) for request_id in erasure.open_requests]
        print_json({**asdict(erasure.counts), "open_requests": open_requests, "dry_run": dry_run})
    else:
        _print_counts("would be erased:" if dry_run else "erased:", erasure)
    _print_rest(erasure)
    sys.exit(0 if erasure.selected and not erasure.open_requests and erasure.is_settled else FAILED)


def _preview(database: Database, selection: Selection, reason: str, is_confirmed: bool) -> Erasure:
    """Return what would be erased; unless it is confirmed, print it and ask."""
    preview = _run(database, selection, reason, dry_run=True)
    if preview.selected and not is_confirmed:
        _print_counts("would be erased:", preview)
        click.confirm("Erase this? It cannot be undone", abort=True, err=True)
    return preview


def _run(database: Database, selection: Selection, reason: str, *, dry_run: bool) -> Erasure:
    with show_progress("looking for data") as update:
        return erase_selection(database, selection, reason, dry_run=dry_run, report_progress=update)


def _print_counts(heading: str, erasure: Erasure) -> None:
    print_message(heading)
    print_fields(asdict(erasure.counts))


def _print_rest(erasure: Erasure) -> None:
    """Print what is left to do."""
    if not erasure.selected:
        print_message("no request or job matches")
    if not erasure.is_settled:
        print_message("another transaction was open all the time; run the command again for what it may have stored")
    if erasure.open_requests:
        ids = [str(request_id) for request_id in erasure.open_requests]
        others = len(ids) - _MAX_NAMED_REQUESTS
        print_message(
            "still open, and to be erased again by --request once they are finished: "
            f"{', '.join(ids[:_MAX_NAMED_REQUESTS])}{f' and {others:,} others; --json names all' if others > 0 else ''}"
        )
