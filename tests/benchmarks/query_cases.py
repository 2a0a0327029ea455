"""The cases of `queries`, as calls of the store's functions and as requests: every list and filter, and statistics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection
from receiver.store.stats import (
    count_attention,
    count_by_provider,
    find_callback_stats,
    find_completion_stats,
    list_stored_providers,
)
from tests.support.lists import list_callbacks, list_jobs, list_keys, list_requests
from tests.support.population import PROVIDERS, RARE, SPAN, UNTIL, derive_request_id, format_reference

_MIDDLE = UNTIL - SPAN / 2
_BROADCAST = 105
_FREQUENT = next(iter(PROVIDERS))

_LISTS: Mapping[str, Callable[..., Page[Any]]] = {
    "requests": list_requests,
    "jobs": list_jobs,
    "callbacks": list_callbacks,
    "keys": list_keys,
}
_COMMON_FILTERS: Sequence[Mapping[str, Any]] = [
    {},
    {"cursor": Cursor(_MIDDLE, UUID(int=0))},
    {"providers": [_FREQUENT]},
    {"providers": [RARE]},
]
_FILTERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "requests": [
        *_COMMON_FILTERS,
        *[{"status": status} for status in RequestStatus],
        {"operation": "render"},
        {"reference_conflict": True},
        {"created_from": _MIDDLE},
        {"created_to": _MIDDLE},
        {"metadata": {"order": "777"}},
        {"metadata": {"customer": "customer-77"}},
        {"metadata": {"environment": "production"}},
        {"metadata": {"environment": "test"}},
        {"metadata": {"environment": "production", "customer": "customer-77"}},
    ],
    "jobs": [
        *_COMMON_FILTERS,
        *[{"status": status} for status in JobStatus],
        {"reference": format_reference(_BROADCAST)},
        {"request_id": _BROADCAST},
        {"disputed": True},
        {"disputed": False},
        {"unmatched": True},
        {"unmatched": False},
        {"accepted_from": _MIDDLE},
        {"accepted_to": _MIDDLE},
        {"finished_from": _MIDDLE},
        {"finished_to": _MIDDLE},
    ],
    "callbacks": [
        *_COMMON_FILTERS,
        *[{"verdict": verdict} for verdict in Verdict],
        {"received_from": _MIDDLE},
        {"received_to": _MIDDLE},
    ],
    "keys": [{}],
}


@dataclass(frozen=True, slots=True)
class ListCase:
    """A list and its filters."""

    list_name: str
    filters: Mapping[str, Any]

    def __str__(self) -> str:
        query = {name: "half way" if name == "cursor" else value for name, value in _build_query(self.filters).items()}
        return " ".join([self.list_name, *(f"{name}={value}" for name, value in query.items())])

    def read(self, connection: Connection, limit: int) -> Page[Any]:
        """Read a page by the store's function."""
        return _LISTS[self.list_name](connection, **self.filters, limit=limit)

    def build_target(self, limit: int) -> str:
        """Return the target of an HTTP request for the page."""
        return f"/v1/{self.list_name}?{urlencode({**_build_query(self.filters), 'limit': limit})}"


@dataclass(frozen=True, slots=True)
class StatisticsCase:
    """A path of statistics, and the functions of the store that it calls."""

    path: str
    functions: Sequence[Callable[[Connection], object]]

    def __str__(self) -> str:
        return self.path

    def read(self, connection: Connection, _: int) -> None:
        """Read the statistics by the store's functions."""
        for function in self.functions:
            function(connection)

    def build_target(self, _: int) -> str:
        """Return the target of an HTTP request for the statistics."""
        return self.path


_NAMES = list(PROVIDERS)
STATISTICS = (
    StatisticsCase(
        "/v1/stats",
        (
            count_by_provider,
            lambda connection: count_attention(connection, _NAMES, _NAMES),
            lambda connection: find_completion_stats(connection, _NAMES),
        ),
    ),
    StatisticsCase(
        "/v1/providers",
        (
            list_stored_providers,
            lambda connection: count_attention(connection, _NAMES, _NAMES),
            lambda connection: find_callback_stats(connection, _NAMES),
        ),
    ),
)


def build_list_cases(jobs: int) -> Iterator[ListCase]:
    """Yield every list with every filter for a database of so many jobs, on which the ids of requests depend."""
    for list_name, filter_sets in _FILTERS.items():
        for filters in filter_sets:
            number = filters.get("request_id")
            yield ListCase(list_name, filters if number is None else {"request_id": derive_request_id(number, jobs)})


def _build_query(filters: Mapping[str, Any]) -> Mapping[str, str]:
    """Format filters as parameters of the API."""
    query: dict[str, str] = {}
    for name, value in filters.items():
        match name, value:
            case "providers", [provider]:
                query["provider"] = provider
            case "metadata", _:
                query |= {f"metadata.{key}": text for key, text in value.items()}
            case _, bool():
                query[name] = str(value).lower()
            case _, datetime():
                query[name] = f"{value:%Y-%m-%dT%H:%M:%SZ}"
            case _:
                query[name] = str(value)
    return query
