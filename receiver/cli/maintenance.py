"""`receiver audit`, `prune` and `recover`: commands that work directly on the database."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from receiver.cli import options
from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.cli.cells import Column
from receiver.cli.check import UnknownProvider
from receiver.cli.errors import FAILED, report_errors
from receiver.cli.formats import Json
from receiver.cli.messages import print_message, show_progress
from receiver.cli.options import PAST_TIME, DurationParameter
from receiver.cli.output import print_fields, print_json
from receiver.cli.process_group import stop_on_signals
from receiver.cli.table_printer import TablePrinter
from receiver.cli.terminal import wide_option
from receiver.domain.audit import Finding, Subject
from receiver.domain.suggestions import format_suggestion
from receiver.followup.audit import Audit
from receiver.followup.prune import prune as remove_finished
from receiver.followup.recover import recover as recover_requests
from receiver.settings import DATABASE_VARIABLES, Settings, load_settings
from receiver.store.database import BATCH_LIMIT_S, Database
from receiver.store.stats import list_stored_providers

_MIN_AGE = timedelta(days=1)
_FINDINGS = (
    Column("kind", "kind", 9),
    Column("subject", "subject", 8),
    Column("id", "id"),
    Column("provider", "provider", 4),
    Column("fixed", lambda finding: "yes" if finding["fixed"] else "no", 5),
    Column("stored", "stored", 7, prose=True),
    Column("proven", "proven", 6, prose=True),
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.option("--fix", is_flag=True, help="Store the proven values.")
@options.provider("Only data of this provider.")
@wide_option
@as_json
def audit(fix: bool, provider: str | None, as_json: bool) -> None:
    """Check stored statuses against their events.

    Recomputes every job from its events. Lists the jobs whose stored status differs, and requests and callbacks in an
    impossible state. Works directly on the database, also while the service runs. Without --fix it writes and blocks
    nothing. Exits 1 if anything differs; with --fix, if anything is left that cannot be proven.
    """
    report = _AuditReport(as_json)
    with report_errors(), stop_on_signals():
        with open_database() as (settings, database), show_progress("auditing") as update:
            if provider is not None:
                _check_provider(provider, settings, database)
            run = Audit(
                database, ConfiguredCallbackReader(settings), provider=provider, fix=fix, report_progress=update
            )
            for findings in run.run():
                report.add(findings)
        counts = {f"{subject}s": count for subject, count in run.counts.items() if subject is not Subject.CALLBACK}
        if as_json:
            print_json({**counts, "findings": report.documents, "left": report.unfixed})
        print_message(f"{', '.join(f'{count:,} {name}' for name, count in counts.items())}: {report.summarize()}")
    sys.exit(FAILED if report.unfixed else 0)


@click.command()
@click.option("--older-than", required=True, type=DurationParameter(), metavar="SPAN", help="Such as 90d; at least 1d.")
@click.option("--dry-run", is_flag=True, help="Only count; everything that is removed is rolled back.")
@as_json
def prune(older_than: timedelta, dry_run: bool, as_json: bool) -> None:
    """Remove finished work.

    Removes finished requests with their attempts, final jobs with their events, callbacks without remaining events, and
    idempotency keys without requests. Keeps whatever is open, unknown, unresolved or disputed, or has a pending
    notification. Works directly on the database in small batches, also while the service runs. It can be interrupted
    and run again.

    Example: receiver prune --older-than 90d
    """
    if older_than < _MIN_AGE:
        raise click.BadParameter(
            "Must be at least 1d: a duplicate callback is recognized only while the first one is stored, and providers "
            "repeat callbacks for days.",
            param_hint="--older-than",
        )
    with report_errors(), stop_on_signals():
        with open_database() as (_, database), show_progress("looking for finished work") as update:
            removed = remove_finished(database, older_than.total_seconds(), dry_run=dry_run, report_progress=update)
        counts = asdict(removed)
        if dry_run:
            # Keys are removed once their requests are gone, which a dry run rolls back.
            counts["idempotency_keys"] = None
        if as_json:
            print_json({**counts, "dry_run": dry_run})
        else:
            print_message("would be removed:" if dry_run else "removed:")
            print_fields({name.replace("_", " "): count for name, count in counts.items()})


@click.command()
@click.option("--before", required=True, type=PAST_TIME, metavar="TIME", help="When the lost database was last in use.")
@click.option("--dry-run", is_flag=True, help="Only count; every change is rolled back.")
@as_json
def recover(before: str, dry_run: bool, as_json: bool) -> None:
    """Prepare a database that was restored from a backup.

    Requests that may have been sent after the backup was taken become unknown, so that they are not sent again until a
    lookup, a callback or an operator decides: those that were due before TIME or were being sent. Run it before the
    workers start. Works directly on the database in small batches. It can be interrupted and run again.

    Example: receiver recover --before 2026-11-23T14:00:00Z
    """
    time = datetime.fromisoformat(before)
    if time > datetime.now(UTC):
        raise click.BadParameter(
            f"{before} is in the future. Use the time at which the lost database was last in use.",
            param_hint="--before",
        )
    with report_errors(), stop_on_signals():
        with open_database() as (settings, database), show_progress("looking for requests") as update:
            recovered = recover_requests(database, time, settings.providers, dry_run=dry_run, report_progress=update)
        counts = asdict(recovered)
        if as_json:
            print_json({**counts, "dry_run": dry_run})
        else:
            print_message("would be recovered:" if dry_run else "recovered:")
            print_fields(counts)


def _check_provider(name: str, settings: Settings, database: Database) -> None:
    """Check that a provider is configured, or was and data of it is stored.

    Raises:
        UnknownProvider: neither.
    """
    with database.connection() as connection:
        names = {*settings.send_targets, *list_stored_providers(connection)}
    if name not in names:
        suggestion = format_suggestion(name, names)
        raise UnknownProvider(f"No provider {name} is configured, and nothing of one is stored.{suggestion}")


@contextmanager
def open_database() -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and their database.

    Raises:
        StoreUnavailable: the database cannot be reached.
        NotMigrated: the database lacks tables or columns.
    """
    settings = load_settings(os.environ, required=DATABASE_VARIABLES)
    database = Database(
        settings.dsn, size=4, limit_s=BATCH_LIMIT_S, prepare=settings.database_prepare, is_monitored=False
    )
    with closing(database):
        yield settings, database


class _AuditReport:
    """The findings of an audit: printed as they come, or collected for one JSON document."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._table = TablePrinter(_FINDINGS)
        self._total = self._fixable = 0
        self.unfixed = 0
        self.documents: list[Json] = []

    def add(self, findings: Sequence[Finding]) -> None:
        """Count findings, and print or collect them."""
        unfixed = [finding for finding in findings if not finding.fixed]
        self._total += len(findings)
        self._fixable += sum(finding.mendable for finding in unfixed)
        self.unfixed += len(unfixed)
        documents = [{**asdict(finding), "id": str(finding.id)} for finding in findings]
        if self._as_json:
            self.documents += documents
        else:
            self._table.show(documents)

    def summarize(self) -> str:
        """Return the totals in one line, with the next step."""
        if not self._total:
            return "no differences"
        totals = f"{self._total} found, {self._total - self.unfixed} fixed"
        if not self.unfixed:
            return totals
        next_step = f"`receiver audit --fix` fixes {self._fixable}" if self._fixable else "no right value can be proven"
        return f"{totals}, {self.unfixed} left; {next_step}"
