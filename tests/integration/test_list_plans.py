"""Every list, by every filter alone, reads along the index that is meant for it, and no more than a page asks for."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from psycopg import Cursor as Execution
from psycopg.rows import TupleRow, tuple_row

from receiver.domain.jobs import JobStatus
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict, list_callbacks
from receiver.store.database import Connection, connect
from receiver.store.jobs import list_jobs
from receiver.store.keys import list_keys
from receiver.store.requests import list_requests
from receiver.store.scratch import scratch_database
from receiver.store.stats import ATTENTION, count_attention
from tests.population import PROVIDERS, RARE, SPAN, UNTIL, populate

JOBS = 12_000
LIMIT = 5
MIDDLE = UNTIL - SPAN / 2
HALF_WAY = Cursor(MIDDLE, UUID(int=0))
OPERATIONS = 2

Plan = dict[str, Any]


@dataclass(frozen=True)
class List:
    """A list, the indexes that all its pages may use, and of how many parts each page is merged."""

    give: Callable[..., Page[Any]]
    table: str
    common: frozenset[str]
    parts: int

    @property
    def most_rows(self) -> int:
        """How many rows a page may read: of each part the page and one more, and a few that a filter passes over.

        The hops along the index that find the parts, and the rows of the page itself, come on top.
        """
        return (2 * self.parts + 1) * (LIMIT + 1) + 2 * self.parts


REQUESTS = List(
    list_requests,
    "requests",
    frozenset({"requests_list_idx", "requests_pkey"}),
    len(PROVIDERS) * OPERATIONS * len(RequestStatus),
)
JOBS_LIST = List(list_jobs, "jobs", frozenset({"jobs_list_idx", "jobs_pkey"}), len(PROVIDERS) * len(JobStatus))
CALLBACKS = List(
    list_callbacks, "callbacks", frozenset({"callbacks_list_idx", "callbacks_pkey"}), len(PROVIDERS) * len(Verdict)
)
KEYS = List(list_keys, "api_keys", frozenset(), 1)


@dataclass(frozen=True)
class Asked:
    """A statement as a store function executes it."""

    query: bytes
    given: Mapping[str, Any] | None
    prepare: bool | None


@dataclass(frozen=True)
class Read:
    """What the plan of a statement read: by which indexes, how many rows, and of which tables all rows."""

    indexes: frozenset[str]
    rows: float
    whole: frozenset[str]
    text: str = field(repr=False)


@pytest.fixture(scope="module")
def populated(server: str, template: str) -> Iterator[Connection]:
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        populate(connection, JOBS)
        yield connection


@contextmanager
def recording(connection: Connection) -> Iterator[list[Asked]]:
    """Note every statement that is executed within the context."""
    asked: list[Asked] = []

    class Recording(Execution[TupleRow]):
        def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None, **more: Any) -> Any:
            asked.append(Asked(query, params, prepare))
            return super().execute(query, params, prepare=prepare, **more)

    plain = connection.cursor_factory
    connection.cursor_factory = Recording
    try:
        yield asked
    finally:
        connection.cursor_factory = plain


def explained(connection: Connection, asked: Asked) -> Read:
    """Have a statement executed as it was, and explained."""
    cursor = connection.cursor(row_factory=tuple_row)
    query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + asked.query
    ((told,),) = cursor.execute(query, asked.given, prepare=asked.prepare).fetchall()
    nodes = list(nodes_of(told[0]["Plan"]))
    return Read(
        frozenset(node["Index Name"] for node in nodes if "Index Name" in node),
        sum(map(rows_read, nodes)),
        frozenset(node["Relation Name"] for node in nodes if node["Node Type"].endswith("Seq Scan")),
        json.dumps(told, indent=1),
    )


def nodes_of(plan: Plan) -> Iterator[Plan]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def rows_read(node: Plan) -> float:
    """Give how many rows of a table a node has looked at."""
    if "Relation Name" not in node:
        return 0.0
    passed_over = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + passed_over) * node["Actual Loops"])


def of_broadcast(connection: Connection) -> dict[str, Any]:
    found = connection.execute("SELECT request_id FROM jobs GROUP BY request_id HAVING count(*) = 10 LIMIT 1")
    return {"request_id": found.fetchall()[0][0]}


def of_reference(connection: Connection) -> dict[str, Any]:
    return {"reference": connection.execute("SELECT reference FROM jobs OFFSET 700 LIMIT 1").fetchall()[0][0]}


# What is looked for, and the index that it must be found by.
FILTERS: list[tuple[List, dict[str, Any] | Callable[[Connection], dict[str, Any]], str]] = [
    (REQUESTS, {}, "requests_list_idx"),
    *[(REQUESTS, {"status": status}, "requests_list_idx") for status in RequestStatus],
    *[(REQUESTS, {"providers": [name]}, "requests_list_idx") for name in PROVIDERS],
    (REQUESTS, {"providers": ["acme", RARE]}, "requests_list_idx"),
    (REQUESTS, {"providers": []}, "requests_list_idx"),
    (REQUESTS, {"operation": "render"}, "requests_list_idx"),
    (REQUESTS, {"created_from": MIDDLE}, "requests_list_idx"),
    (REQUESTS, {"created_to": MIDDLE}, "requests_list_idx"),
    (REQUESTS, {"metadata": {"order": "777"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"customer": "customer-77"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "test"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "nowhere"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production", "vip": "true"}}, "request_metadata_pkey"),
    (REQUESTS, {"metadata": {"environment": "production", "customer": "customer-77"}}, "request_metadata_pkey"),
    (JOBS_LIST, {}, "jobs_list_idx"),
    *[(JOBS_LIST, {"status": status}, "jobs_list_idx") for status in JobStatus],
    *[(JOBS_LIST, {"providers": [name]}, "jobs_list_idx") for name in PROVIDERS],
    (JOBS_LIST, {"providers": ["acme", RARE]}, "jobs_list_idx"),
    (JOBS_LIST, {"providers": []}, "jobs_list_idx"),
    (JOBS_LIST, of_reference, "jobs_pkey"),
    (JOBS_LIST, {"reference": "of nobody"}, "jobs_pkey"),
    (JOBS_LIST, of_broadcast, "jobs_request_idx"),
    (JOBS_LIST, {"request_id": UUID(int=0)}, "jobs_request_idx"),
    (JOBS_LIST, {"disputed": True}, "jobs_disputed_idx"),
    (JOBS_LIST, {"disputed": False}, "jobs_list_idx"),
    (JOBS_LIST, {"unmatched": True}, "jobs_unmatched_idx"),
    (JOBS_LIST, {"unmatched": False}, "jobs_list_idx"),
    (JOBS_LIST, {"accepted_from": MIDDLE}, "jobs_list_idx"),
    (JOBS_LIST, {"accepted_to": MIDDLE}, "jobs_list_idx"),
    (JOBS_LIST, {"finished_from": MIDDLE}, "jobs_finished_idx"),
    (JOBS_LIST, {"finished_to": MIDDLE}, "jobs_finished_idx"),
    (JOBS_LIST, {"finished_from": UNTIL - SPAN, "accepted_from": UNTIL - SPAN / 1_000}, "jobs_finished_idx"),
    (CALLBACKS, {}, "callbacks_list_idx"),
    *[(CALLBACKS, {"verdict": verdict}, "callbacks_list_idx") for verdict in Verdict],
    *[(CALLBACKS, {"providers": [name]}, "callbacks_list_idx") for name in PROVIDERS],
    (CALLBACKS, {"providers": ["acme", RARE]}, "callbacks_list_idx"),
    (CALLBACKS, {"received_from": MIDDLE}, "callbacks_list_idx"),
    (CALLBACKS, {"received_to": MIDDLE}, "callbacks_list_idx"),
    (KEYS, {}, "api_keys_list_idx"),
]


# By what the values of further keys of metadata are compared.
HELPING = {"request_metadata_pkey": ("request_metadata_request_idx",)}


def named(value: object) -> str | None:
    """Name a case by its list, its filters or its index."""
    if isinstance(value, List):
        return value.table
    if isinstance(value, dict):
        return ",".join(f"{name}={filtered}" for name, filtered in value.items()) or "all"
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("cursor", [None, HALF_WAY], ids=["first page", "page by cursor"])
@pytest.mark.parametrize(("listed", "filters", "index"), FILTERS, ids=named)
def test_a_page_is_read_along_the_index_of_its_filter(
    populated: Connection,
    listed: List,
    filters: dict[str, Any] | Callable[[Connection], dict[str, Any]],
    index: str,
    cursor: Cursor | None,
) -> None:
    given = filters(populated) if callable(filters) else filters
    with recording(populated) as asked:
        listed.give(populated, **given, cursor=cursor, limit=LIMIT)
    *before, page = asked
    assert page.prepare is False
    read = explained(populated, page)
    assert not re.search(r"\$\d", read.text), "a parameter is left in the plan"
    assert index in read.indexes, read.text
    assert read.indexes <= {index, *listed.common, *HELPING.get(index, ())}, read.text
    assert read.rows <= listed.most_rows, read.text
    assert not read.whole, read.text
    assert not any(explained(populated, asked).whole for asked in before)


@pytest.mark.parametrize("listed", [REQUESTS, JOBS_LIST, CALLBACKS, KEYS], ids=named)
def test_what_a_page_may_read_is_a_small_part_of_the_table(populated: Connection, listed: List) -> None:
    ((rows,),) = populated.execute(f"SELECT count(*) FROM {listed.table}".encode()).fetchall()
    assert rows > 10 * listed.most_rows


def test_what_needs_attention_is_counted_along_the_indexes_of_the_lists_and_costs_what_there_is_of_it(
    populated: Connection,
) -> None:
    with recording(populated) as asked:
        needed = count_attention(populated, list(PROVIDERS))
    read = explained(populated, asked[0])
    of_requests_and_callbacks = {"requests_list_idx", "callbacks_list_idx"}
    assert read.indexes == {"jobs_unmatched_idx", "jobs_disputed_idx", "jobs_list_idx", *of_requests_and_callbacks}, (
        read.text
    )
    assert not read.whole, read.text
    counted = sum(getattr(one, kind) for one in needed.values() for kind in ATTENTION)
    assert counted > 0
    hops = len(PROVIDERS) * (len(PROVIDERS) * OPERATIONS + 1)
    assert read.rows <= counted + hops, read.text


def test_the_rarest_of_several_keys_is_found_without_counting_all_that_have_a_frequent_one(
    populated: Connection,
) -> None:
    with recording(populated) as asked:
        list_requests(populated, metadata={"environment": "production", "order": "777"}, limit=LIMIT)
    read = explained(populated, asked[0])
    assert read.indexes == {"request_metadata_pkey"}, read.text
    assert read.rows <= 10_000 + 1
