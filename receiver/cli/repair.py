"""`receiver audit` and `receiver prune`: work on the database itself."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import timedelta

import click
from psycopg.errors import UndefinedColumn, UndefinedTable

from receiver.cli.errors import FAILED, errors_told
from receiver.cli.fleet import stopping_on_signals
from receiver.cli.options import Span
from receiver.cli.output import Column, Json, Listing, print_facts, print_json, progress, say
from receiver.cli.processes import database_of
from receiver.cli.rereading import SettingsReader
from receiver.domain.audit import Finding
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
    with errors_told(), stopping_on_signals():
        with _database() as (settings, database), progress("auditing") as tell:
            checked = Audit(database, SettingsReader(settings), provider=provider, fix=fix, tell=tell)
            findings = _told(checked, as_json=as_json)
        left = [finding for finding in findings if not finding["fixed"]]
        seen = {f"{subject}s": count for subject, count in checked.seen.items() if subject != "callback"}
        if as_json:
            print_json({**seen, "findings": findings, "left": len(left)})
        say(_verdict(findings, left, ", ".join(f"{count:,} {what}" for what, count in seen.items())))
    sys.exit(FAILED if left else 0)


@click.command()
@click.option("--older-than", required=True, type=Span(), metavar="SPAN", help="Such as 90d; at least 1d.")
@click.option("--dry-run", is_flag=True, help="Only count; what would be removed is put back.")
@as_json
def prune(older_than: timedelta, dry_run: bool, as_json: bool) -> None:
    """Remove finished work.

    Requests that are over with their attempts, final jobs with everything that was said of them, callbacks that nothing
    needs, and idempotency keys whose requests are gone. What is open, unknown, unresolved or disputed stays. It works
    on the database itself, in small batches beside a service that runs, and can be stopped and begun again.

    Example: receiver prune --older-than 90d
    """
    if older_than < _SHORTEST:
        raise click.BadParameter(
            "must be at least 1d: a callback is known as a duplicate only while the first one is kept, and providers "
            "repeat theirs for days",
            param_hint="--older-than",
        )
    with errors_told(), stopping_on_signals():
        with _database() as (_, database), progress("looking for finished work") as tell:
            removed = remove_finished(database, older_than.total_seconds(), dry_run=dry_run, tell=tell)
        counts = asdict(removed)
        if dry_run:
            counts["idempotency_keys"] = None  # they go when their requests are gone
        if as_json:
            print_json({**counts, "dry_run": dry_run})
        else:
            say("would be removed:" if dry_run else "removed:")
            print_facts({name.replace("_", " "): count for name, count in counts.items()})


@contextmanager
def _database() -> Iterator[tuple[Settings, Database]]:
    """Give the settings and their database.

    Raises:
        StoreUnavailable: it cannot be reached.
        NotMigrated: it lacks our tables.
    """
    settings = load_settings(os.environ)
    with database_of(settings) as dsn:
        connect(dsn).close()  # a pool would try for seconds before it told
        with closing(Database(dsn, size=4)) as database:
            try:
                yield settings, database
            except (UndefinedTable, UndefinedColumn) as error:
                raise NotMigrated("the database has not the newest schema; run `receiver migrate`") from error


def _told(checked: Audit, *, as_json: bool) -> Sequence[Json]:
    """Run an audit and give its findings, which are shown as they are made."""
    listing, found = Listing(_FINDINGS), []
    for findings in checked.run():
        items = [_document(finding) for finding in findings]
        if not as_json:
            listing.show(items)
        found += items
    return found


def _document(finding: Finding) -> Json:
    return {**asdict(finding), "id": str(finding.id)}


def _verdict(findings: Sequence[Json], left: Sequence[Json], seen: str) -> str:
    if not findings:
        return f"{seen}: everything stored is proven"
    if not left:
        return f"{seen}: {len(findings)} findings, all fixed"
    fixable = sum(finding["mendable"] for finding in left)
    told = f"{seen}: {len(findings)} findings, {len(findings) - len(left)} fixed, {len(left)} left alone"
    return f"{told}; `receiver audit --fix` mends {fixable}" if fixable else f"{told}: nothing proves what is right"
