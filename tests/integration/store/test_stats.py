"""Statistics: nothing counts the rows of large tables."""

from receiver.store.connections import Connection
from receiver.store.stats import ATTENTION_KINDS, count_attention, count_by_provider
from tests.support.plans import explain, record_statements
from tests.support.population import PROVIDERS


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
