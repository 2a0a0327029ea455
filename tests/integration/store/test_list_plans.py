"""Every list, with each filter by itself, reads along the intended index and no more than a page needs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from receiver.domain.jobs import JobStatus
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store import jobs
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection
from tests.support.lists import list_callbacks, list_jobs, list_keys, list_requests
from tests.support.plans import OPERATION_COUNT, explain, record_statements
from tests.support.population import PROVIDERS, RARE, RARE_CLIENT, SPAN, UNTIL

LIMIT = 5
MIDDLE = UNTIL - SPAN / 2
MIDDLE_CURSOR = Cursor(MIDDLE, UUID(int=0))
# Further indexes that may be used: for metadata of other keys, and for the later jobs of a reference.
HELPER_INDEXES = {
    "request_metadata_pkey": ("request_metadata_request_idx",),
    "jobs_pkey": ("reference_generations_pkey",),
}


@dataclass(frozen=True)
class ListCase:
    """A list, the indexes that any of its pages may use, and the number of parts that a page is merged from."""

    fetch_page: Callable[..., Page[Any]]
    table: str
    common_indexes: frozenset[str]
    parts: int

    @property
    def max_rows(self) -> int:
        """The number of rows a page may read: of each part one page and one row more, and a few filtered rows.

        The rows of the page itself, and one index lookup for each part, are included.
        """
        return (2 * self.parts + 1) * (LIMIT + 1) + 2 * self.parts


REQUESTS = ListCase(
    list_requests,
    "requests",
    frozenset({"requests_list_idx", "requests_pkey"}),
    len(PROVIDERS) * OPERATION_COUNT * len(RequestStatus),
)
JOBS = ListCase(list_jobs, "jobs", frozenset({"jobs_list_idx", "jobs_pkey"}), len(PROVIDERS) * len(JobStatus))
CALLBACKS = ListCase(
    list_callbacks, "callbacks", frozenset({"callbacks_list_idx", "callbacks_pkey"}), len(PROVIDERS) * len(Verdict)
)
KEYS = ListCase(list_keys, "api_keys", frozenset(), 1)


def find_broadcast(connection: Connection) -> dict[str, Any]:
    rows = connection.execute("SELECT request_id FROM jobs GROUP BY request_id HAVING count(*) = 10 LIMIT 1")
    return {"request_id": rows.fetchall()[0][0]}


def find_reference(connection: Connection) -> dict[str, Any]:
    return {"reference": connection.execute("SELECT reference FROM jobs OFFSET 700 LIMIT 1").fetchall()[0][0]}


# The filters of each list, and the index that must be used.
FILTERS: list[tuple[ListCase, dict[str, Any] | Callable[[Connection], dict[str, Any]], str]] = [
    (REQUESTS, {}, "requests_list_idx"),
    *[(REQUESTS, {"status": status}, "requests_list_idx") for status in RequestStatus],
    *[(REQUESTS, {"providers": [name]}, "requests_list_idx") for name in PROVIDERS],
    (REQUESTS, {"providers": ["acme", RARE]}, "requests_list_idx"),
    (REQUESTS, {"providers": []}, "requests_list_idx"),
    (REQUESTS, {"operation": "render"}, "requests_list_idx"),
    (REQUESTS, {"reference_conflict": True}, "requests_conflict_idx"),
    (REQUESTS, {"reference_conflict": False}, "requests_list_idx"),
    (REQUESTS, {"client": RARE_CLIENT}, "requests_client_idx"),
    (REQUESTS, {"client": "shop"}, "requests_client_idx"),
    (REQUESTS, {"created_from": MIDDLE}, "requests_list_idx"),
    (REQUESTS, {"created_to": MIDDLE}, "requests_list_idx"),
    (REQUESTS, {"metadata": {"order": "777"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"customer": "customer-77"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "test"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "nowhere"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production", "vip": "true"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production", "customer": "customer-77"}}, "request_metadata_pkey"),
    (JOBS, {}, "jobs_list_idx"),
    *[(JOBS, {"status": status}, "jobs_list_idx") for status in JobStatus],
    *[(JOBS, {"providers": [name]}, "jobs_list_idx") for name in PROVIDERS],
    (JOBS, {"providers": ["acme", RARE]}, "jobs_list_idx"),
    (JOBS, {"providers": []}, "jobs_list_idx"),
    (JOBS, find_reference, "jobs_pkey"),
    (JOBS, {"reference": "unknown"}, "jobs_pkey"),
    (JOBS, find_broadcast, "jobs_request_idx"),
    (JOBS, {"request_id": UUID(int=0)}, "jobs_request_idx"),
    (JOBS, {"disputed": True}, "jobs_disputed_idx"),
    (JOBS, {"disputed": False}, "jobs_list_idx"),
    (JOBS, {"unmatched": True}, "jobs_unmatched_idx"),
    (JOBS, {"unmatched": False}, "jobs_list_idx"),
    (JOBS, {"accepted_from": MIDDLE}, "jobs_list_idx"),
    (JOBS, {"accepted_to": MIDDLE}, "jobs_list_idx"),
    (JOBS, {"finished_from": MIDDLE}, "jobs_finished_idx"),
    (JOBS, {"finished_to": MIDDLE}, "jobs_finished_idx"),
    (JOBS, {"finished_from": UNTIL - SPAN, "accepted_from": UNTIL - SPAN / 1_000}, "jobs_finished_idx"),
    (CALLBACKS, {}, "callbacks_list_idx"),
    *[(CALLBACKS, {"verdict": verdict}, "callbacks_list_idx") for verdict in Verdict],
    *[(CALLBACKS, {"providers": [name]}, "callbacks_list_idx") for name in PROVIDERS],
    (CALLBACKS, {"providers": ["acme", RARE]}, "callbacks_list_idx"),
    (CALLBACKS, {"received_from": MIDDLE}, "callbacks_list_idx"),
    (CALLBACKS, {"received_to": MIDDLE}, "callbacks_list_idx"),
    (KEYS, {}, "api_keys_list_idx"),
]


def name_parameter(value: object) -> str | None:
    """Return the name of a test parameter: the list, the filters or the index."""
    if isinstance(value, ListCase):
        return value.table
    if isinstance(value, dict):
        return ",".join(f"{name}={filter_value}" for name, filter_value in value.items()) or "all"
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("cursor", [None, MIDDLE_CURSOR], ids=["first page", "page by cursor"])
@pytest.mark.parametrize(("list_case", "filters", "index"), FILTERS, ids=name_parameter)
def test_page_is_read_along_the_index_of_its_filter(
    populated: Connection,
    list_case: ListCase,
    filters: dict[str, Any] | Callable[[Connection], dict[str, Any]],
    index: str,
    cursor: Cursor | None,
) -> None:
    params = filters(populated) if callable(filters) else filters
    with record_statements(populated) as statements:
        list_case.fetch_page(populated, **params, cursor=cursor, limit=LIMIT)
    *earlier_statements, page_statement = statements
    assert page_statement.prepare is False
    plan = explain(populated, page_statement)
    assert not re.search(r"\$\d", plan.text), "the plan still has a parameter"
    assert index in plan.indexes, plan.text
    assert plan.indexes <= {index, *list_case.common_indexes, *HELPER_INDEXES.get(index, ())}, plan.text
    assert plan.rows <= list_case.max_rows, plan.text
    assert not plan.scanned_tables, plan.text
    assert not any(explain(populated, statement).scanned_tables for statement in earlier_statements)


@pytest.mark.parametrize(
    ("client", "limit", "indexes"),
    [
        (RARE_CLIENT, jobs.MAX_CLIENT_REQUESTS, {"jobs_request_idx", "requests_pkey"}),
        ("nobody", jobs.MAX_CLIENT_REQUESTS, {"jobs_request_idx", "requests_pkey"}),
        ("shop", 10, {"jobs_list_idx", "jobs_pkey", "requests_pkey"}),
    ],
)
def test_jobs_of_client_are_read_by_requests_or_newest_first(
    populated: Connection, monkeypatch: pytest.MonkeyPatch, client: str, limit: int, indexes: set[str]
) -> None:
    monkeypatch.setattr(jobs, "MAX_CLIENT_REQUESTS", limit)
    with record_statements(populated) as statements:
        list_jobs(populated, client=client, limit=LIMIT)
    plans = [explain(populated, statement) for statement in statements]
    assert plans[0].indexes <= {"requests_client_idx"}  # of a frequent client, the first rows of the table will do
    assert plans[1].indexes <= indexes, plans[1].text
    assert not plans[1].scanned_tables
    assert sum(plan.rows for plan in plans) <= 4 * JOBS.max_rows


@pytest.mark.parametrize("list_case", [REQUESTS, JOBS, CALLBACKS, KEYS], ids=name_parameter)
def test_page_row_limit_is_a_small_part_of_the_table(populated: Connection, list_case: ListCase) -> None:
    ((row_count,),) = populated.execute(f"SELECT count(*) FROM {list_case.table}".encode()).fetchall()
    assert row_count > 10 * list_case.max_rows


def test_rarest_key_is_found_without_counting_frequent_values(populated: Connection) -> None:
    with record_statements(populated) as statements:
        list_requests(populated, metadata={"environment": "production", "order": "777"}, limit=LIMIT)
    plan = explain(populated, statements[0])
    assert plan.indexes == {"request_metadata_pkey"}, plan.text
    assert plan.rows <= 10_000 + 1
