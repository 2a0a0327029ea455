"""`receiver audit` and `receiver prune`: work on the database itself."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import timedelta

import click
from psycopg.errors import UndefinedColumn, UndefinedTable

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.cli.errors import FAILED, report_errors
from receiver.cli.options import DurationParameter
from receiver.cli.output import Column, Json, TablePrinter, print_facts, print_json, print_message, show_progress
from receiver.cli.process_group import stop_on_signals
from receiver.cli.processes import provide_database
from receiver.domain.audit import Finding, Subject
from receiver.domain.errors import ReceiverError
from receiver.followup.audit import Audit
from receiver.followup.prune import prune as remove_finished
from receiver.settings import Settings, load_settings
from receiver.store.database import Database, connect


class NotMigrated(ReceiverError):
    """The database lacks tables or columns of ours."""


_SHORTEST = timedelta(days=1)
_FINDINGS = (
    Column("kind", "kind"),
    Column("of", "subject"),
    Column("id", "id"),
    Column("provider", "provider"),
    Column("fixed", lambda finding: "yes" if finding["fixed"] else "no"),
    Column("stored", "stored", prose=True),
    Column("proven", "proven", prose=True),
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.option("--fix", is_flag=True, help="Store what is proven.")
@click.option("--provider", help="Only what is of this provider.")
@as_json
def audit(fix: bool, provider: str | None, as_json: bool) -> None:
    """Prove what is stored.

    Folds every job's events afresh and reports any job whose stored status differs, and requests and callbacks that
    cannot be as they are. It works on the database itself, beside a service that runs. Without --fix it writes and
    blocks nothing. Exits 1 if something differs, with --fix if something is left that cannot be proven.
    """
    tally = _AuditReport(as_json)
    with report_errors(), stop_on_signals():
        with _database() as (settings, database), show_progress("auditing") as tell:
            checked = Audit(
                database, ConfiguredCallbackReader(settings), provider=provider, fix=fix, report_progress=tell
            )
            for findings in checked.run():
                tally.add(findings)
        seen = {f"{subject}s": count for subject, count in checked.counts.items() if subject is not Subject.CALLBACK}
        if as_json:
            print_json({**seen, "findings": tally.documents, "left": tally.left})
        print_message(f"{', '.join(f'{count:,} {what}' for what, count in seen.items())}: {tally.verdict()}")
    sys.exit(FAILED if tally.left else 0)


@click.command()
@click.option("--older-than", required=True, type=DurationParameter(), metavar="SPAN", help="Such as 90d; at least 1d.")
@click.option("--dry-run", is_flag=True, help="Only count; what would be removed is put back.")
@as_json
def prune(older_than: timedelta, dry_run: bool, as_json: bool) -> None:
    """Remove finished work.

    Requests that are over with their attempts, final jobs with everything that was said of them, callbacks that nothing
    needs, and idempotency keys whose requests are gone. What is open, unknown, unresolved or disputed stays, and what a
    client is still to be told of. It works on the database itself, in small batches beside a service that runs, and can
    be stopped and begun again.

    Example: receiver prune --older-than 90d
    """
    if older_than < _SHORTEST:
        raise click.BadParameter(
            "must be at least 1d: a callback is known as a duplicate only while the first one is kept, and providers "
            "repeat theirs for days",
            param_hint="--older-than",
        )
    with report_errors(), stop_on_signals():
        with _database() as (_, database), show_progress("looking for finished work") as tell:
            removed = remove_finished(database, older_than.total_seconds(), dry_run=dry_run, report_progress=tell)
        counts = asdict(removed)
        if dry_run:
            counts["idempotency_keys"] = None  # they go when their requests are gone
        if as_json:
            print_json({**counts, "dry_run": dry_run})
        else:
            print_message("would be removed:" if dry_run else "removed:")
            print_facts({name.replace("_", " "): count for name, count in counts.items()})


@contextmanager
def _database() -> Iterator[tuple[Settings, Database]]:
    """Give the settings and their database.

    Raises:
        StoreUnavailable: it cannot be reached.
        NotMigrated: it lacks our tables.
    """
    settings = load_settings(os.environ)
    with provide_database(settings) as dsn:
        connect(dsn).close()  # a pool would try for seconds before it told
        with closing(Database(dsn, size=4)) as database:
            try:
                yield settings, database
            except (UndefinedTable, UndefinedColumn) as error:
                raise NotMigrated("the database has not the newest schema; run `receiver migrate`") from error


class _AuditReport:
    """What an audit finds: shown as it is found, or kept for one document."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._listing = TablePrinter(_FINDINGS)
        self._found = self._mendable = 0
        self.left = 0
        self.documents: list[Json] = []

    def add(self, findings: Sequence[Finding]) -> None:
        """Count findings, and show or keep them."""
        left = [finding for finding in findings if not finding.fixed]
        self._found += len(findings)
        self._mendable += sum(finding.mendable for finding in left)
        self.left += len(left)
        documents = [{**asdict(finding), "id": str(finding.id)} for finding in findings]
        if self._as_json:
            self.documents += documents
        else:
            self._listing.show(documents)

    def verdict(self) -> str:
        """Tell what it comes to, and what can be done."""
        if not self._found:
            return "everything stored is proven"
        told = f"found {self._found}, fixed {self._found - self.left}"
        if not self.left:
            return told
        remedy = f"`receiver audit --fix` mends {self._mendable}" if self._mendable else "nothing proves what is right"
        return f"{told}, left {self.left} alone; {remedy}"
