"""Statistics: what needs attention is counted along indexes."""

from receiver.store.connections import Connection
from receiver.store.stats import ATTENTION_KINDS, count_attention
from tests.support.plans import OPERATION_COUNT, explain, record_statements
from tests.support.population import PROVIDERS


def test_attention_is_counted_along_the_list_indexes(populated: Connection) -> None:
    with record_statements(populated) as statements:
        attention = count_attention(populated, list(PROVIDERS), list(PROVIDERS))
    plan = explain(populated, statements[0])
    request_and_callback_indexes = {"requests_list_idx", "requests_conflict_idx", "callbacks_list_idx"}
    # Of open jobs there are so few that those of all providers may be read; here no branch for them is executed.
    assert plan.indexes - {"jobs_overdue_idx", "requests_unknown_idx"} == {
        "jobs_unmatched_idx",
        "jobs_disputed_idx",
        "jobs_list_idx",
        *request_and_callback_indexes,
    }, plan.text
    assert not plan.scanned_tables, plan.text
    count = sum(getattr(counts, kind) for counts in attention.values() for kind in ATTENTION_KINDS)
    assert count > 0
    index_lookups = len(PROVIDERS) * (len(PROVIDERS) * OPERATION_COUNT + 1)
    assert plan.rows <= 2 * count + index_lookups, plan.text
