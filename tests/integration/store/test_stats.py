"""Statistics: nothing counts the rows of large tables."""

from receiver.domain.jobs import JobStatus
from receiver.store.connections import Connection
from receiver.store.stats import ATTENTION_KINDS, count_attention, count_by_provider, count_open_jobs
from tests.support.plans import explain, record_statements
from tests.support.population import PROVIDERS, SPAN, UNTIL

COUNT_JOBS = "SELECT count(*) FROM jobs WHERE status = %s AND accepted_at >= %s AND accepted_at < %s"


def test_rows_of_large_tables_are_not_counted(populated: Connection) -> None:
    names = list(PROVIDERS)

    with record_statements(populated) as statements:
        counts = count_by_provider(populated)
        attention = count_attention(populated, names, names[1:])

    for statement in statements[:2]:
        plan = explain(populated, statement)
        assert plan.scanned_tables <= {"row_counts", "row_count_changes"}, plan.text
        assert plan.indexes <= {"row_counts_pkey"}, plan.text
    assert counts.keys() == set(names)
    sums = {kind: sum(getattr(row, kind) for row in attention.values()) for kind in ATTENTION_KINDS}
    assert [kind for kind, count in sums.items() if not count] == ["refused"]


def test_open_jobs_are_counted_by_age_along_the_index(populated: Connection) -> None:
    bounds = [UNTIL - SPAN / 10, UNTIL - SPAN / 2]
    statuses = [JobStatus.ACCEPTED, JobStatus.IN_PROGRESS]
    with record_statements(populated) as statements:
        counts = count_open_jobs(populated, bounds, statuses, limit=1_000)

    expected = {
        status: [
            int(populated.execute(COUNT_JOBS, [status, since, until]).fetchall()[0][0])
            for since, until in ((bounds[0], "infinity"), (bounds[1], bounds[0]), ("-infinity", bounds[1]))
        ]
        for status in statuses
    }
    assert counts == expected
    assert all(count > 0 for status in statuses for count in counts[status])
    plan = explain(populated, statements[0])
    assert plan.scanned_tables <= {"row_counts", "row_count_changes"}, plan.text
    assert plan.indexes <= {"row_counts_pkey", "jobs_list_idx"}, plan.text


def test_open_jobs_are_counted_up_to_a_limit(populated: Connection) -> None:
    counts = count_open_jobs(populated, [], [JobStatus.ACCEPTED], limit=7)
    assert counts == {JobStatus.ACCEPTED: [7]}


def test_open_jobs_of_some_providers_are_counted(populated: Connection) -> None:
    every, one, none = (
        count_open_jobs(populated, [], [JobStatus.ACCEPTED], limit=100_000, providers=providers)
        for providers in (None, ["acme"], [])
    )
    assert every[JobStatus.ACCEPTED][0] > one[JobStatus.ACCEPTED][0] > none[JobStatus.ACCEPTED][0] == 0
