"""Counts of what happened, by minute and provider; see `receiver.domain.activity`."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from receiver.domain.activity import BUCKET_BOUNDS_S, ActivityCount, ActivityIncrement, ActivityKind
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement

DELAY_S = 10.0
"""How many seconds after its time a row is counted. A callback that is committed later than that is not counted."""
_STEP_S = 5.0
_RETENTION_DAYS = 90
_COUNTED_VERDICTS = [verdict for verdict in Verdict if verdict is not Verdict.REFUSED]


def count_next_period(connection: Connection) -> Sequence[ActivityIncrement] | None:
    """Count the rows of the next period, a minute or a part of one, and return the counts; None without a period.

    Call within a transaction. One worker counts at a time; others find no period.
    """
    row = connection.execute(load_statement("lock_activity_progress"), {"delay": DELAY_S, "step": _STEP_S}).fetchone()
    if row is None:
        return None
    since, until = row
    params = {
        "since": since,
        "until": until,
        "request_statuses": list(RequestStatus),
        "verdicts": _COUNTED_VERDICTS,
        "job_statuses": [status for status in JobStatus if status.is_final],
        "bounds": list(BUCKET_BOUNDS_S),
    }
    cursor = connection.cursor(row_factory=row_factory(ActivityIncrement))
    increments = cursor.execute(load_statement("count_activity"), params, prepare=False).fetchall()
    connection.execute(load_statement("save_activity_progress"), {"until": until})
    return increments


def merge_activity(connection: Connection) -> None:
    """Merge the minutes of all hours that ended more than 65 minutes ago, and delete what is older than 90 days."""
    connection.execute(load_statement("merge_activity"), {"retention": _RETENTION_DAYS})


def find_counted_until(connection: Connection) -> datetime:
    """Return up to when rows are counted (UTC): some seconds ago, or earlier while no worker runs."""
    counted_until: datetime = connection.execute(load_statement("find_counted_until")).fetchall()[0][0]
    return counted_until


def list_activity(
    connection: Connection,
    since: datetime,
    until: datetime,
    seconds: int,
    providers: Sequence[str] | None = None,
    *,
    kinds: Collection[ActivityKind] = tuple(ActivityKind),
) -> list[ActivityCount]:
    """Return what happened in periods of so many seconds, in order of time, provider, kind and outcome.

    Args:
        connection: an open connection.
        since: the beginning of the first period, UTC.
        until: the end of the last period, UTC.
        seconds: the length of a period: a multiple of 60 for the last hour, of 3,600 before.
        providers: the names of providers, with or without an account; None means all.
        kinds: what to count. Most rows are those of jobs, of which each bucket has one.
    """
    cursor = connection.cursor(row_factory=row_factory(ActivityCount))
    params = {"since": since, "until": until, "seconds": seconds, "providers": providers, "kinds": list(kinds)}
    return cursor.execute(load_statement("list_activity"), params, prepare=False).fetchall()


def count_durations(
    connection: Connection, since: datetime, until: datetime, providers: Sequence[str] | None = None
) -> Mapping[str, Mapping[int, int]]:
    """Return how many jobs finished within a time, by provider and by bucket; see `estimate_percentiles`."""
    params = {"since": since, "until": until, "providers": providers}
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for provider, bucket, count in connection.execute(load_statement("count_durations"), params, prepare=False):
        counts[provider][bucket] = count
    return counts
