"""What `lists` asks for: every list by every filter, as the store's functions take it and as a query."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict, list_callbacks
from receiver.store.database import Connection
from receiver.store.jobs import list_jobs
from receiver.store.keys import list_keys
from receiver.store.requests import list_requests
from tests.population import PROVIDERS, RARE, SPAN, UNTIL, reference_of, request_of

_MIDDLE = UNTIL - SPAN / 2
_BROADCAST = 105
_FREQUENT = next(iter(PROVIDERS))

_LISTS: Mapping[str, Callable[..., Page[Any]]] = {
    "requests": list_requests,
    "jobs": list_jobs,
    "callbacks": list_callbacks,
    "keys": lambda connection, *, limit, cursor=None: list_keys(connection, cursor=cursor, limit=limit),
}
_ANY_LIST: Sequence[Mapping[str, Any]] = [
    {},
    {"cursor": Cursor(_MIDDLE, UUID(int=0))},
    {"providers": [_FREQUENT]},
    {"providers": [RARE]},
]
_FILTERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "requests": [
        *_ANY_LIST,
        *[{"status": status} for status in RequestStatus],
        {"operation": "render"},
        {"created_from": _MIDDLE},
        {"created_to": _MIDDLE},
        {"metadata": {"order": "777"}},
        {"metadata": {"customer": "customer-77"}},
        {"metadata": {"environment": "production"}},
        {"metadata": {"environment": "test"}},
        {"metadata": {"environment": "production", "customer": "customer-77"}},
    ],
    "jobs": [
        *_ANY_LIST,
        *[{"status": status} for status in JobStatus],
        {"reference": reference_of(_BROADCAST)},
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
        *_ANY_LIST,
        *[{"verdict": verdict} for verdict in Verdict],
        {"received_from": _MIDDLE},
        {"received_to": _MIDDLE},
    ],
    "keys": [{}],
}


@dataclass(frozen=True, slots=True)
class Case:
    """A list, and by what it is filtered in a database of so many jobs."""

    listed: str
    filters: Mapping[str, Any]

    def __str__(self) -> str:
        told = {name: "half way" if name == "cursor" else value for name, value in _query(self.filters).items()}
        return " ".join([self.listed, *(f"{name}={value}" for name, value in told.items())])

    def page(self, connection: Connection, limit: int) -> Page[Any]:
        """Read a page by the function of the store."""
        return _LISTS[self.listed](connection, **self.filters, limit=limit)

    def target(self, limit: int) -> str:
        """Give the target of an HTTP request for the page."""
        return f"/v1/{self.listed}?{urlencode({**_query(self.filters), 'limit': limit})}"


def cases(jobs: int) -> Iterator[Case]:
    """Give every list with every filter; the request that is asked for has another id in each database."""
    for listed, some in _FILTERS.items():
        for filters in some:
            number = filters.get("request_id")
            yield Case(listed, filters if number is None else {"request_id": request_of(number, jobs)})


def _query(filters: Mapping[str, Any]) -> Mapping[str, str]:
    """Write filters as the API takes them."""
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
