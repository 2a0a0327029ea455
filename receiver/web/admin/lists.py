"""Lists: the filters of the API in the URL and in a form, a page of items, and the links to the other pages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import request

from receiver.domain.accounts import join_account, split_account
from receiver.domain.errors import ReceiverError
from receiver.domain.status_symbols import STATUS_SYMBOLS, StatusKind
from receiver.web.admin.calls import call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.operations import parse_query

PAGE_ITEMS = 50
METADATA = "metadata"
METADATA_PREFIX = "metadata."
_LOCAL_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d(?:\.\d+)?)?")
"""A time as a browser's `datetime-local` field writes it; on the pages it is UTC."""
_TIME_SUFFIXES = ("_from", "_to")


@dataclass(frozen=True, slots=True)
class FilterField:
    """A field of the form of filters.

    Attributes:
        name: the filter of the API.
        label: its name for people.
        kind: `text`, `provider`, `time` or `flag`.
        hint: an example of a value.
        is_rare: whether the field is folded while it is empty.
    """

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    is_rare: bool = True


@dataclass(frozen=True, slots=True)
class StateFilter:
    """A filter by status, whose values are links; with `value`, only that one, for a flag.

    Attributes:
        name: the filter of the API.
        kind: what has the status.
        value: the value of the filter for a flag, whose status is then the name of the filter.
    """

    name: str
    kind: StatusKind
    value: str | None = None


@dataclass(frozen=True, slots=True)
class StateLink:
    """A link to the items of one state; `count` is the number of these items, None if it is not known."""

    status: str
    kind: StatusKind
    url: str
    is_current: bool
    count: int | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of a list.

    Attributes:
        filters: the filters of the list by name, as the API takes them; as they were sent if they are invalid.
        items: the items as the API returns them; none if a filter is invalid.
        document: what the API returns beside the items.
        next_url: the URL of the next page, or None.
        first_url: the URL of the first page, or None on that page.
        failure: why there are no items, or None.
    """

    filters: Mapping[str, str]
    items: Sequence[Mapping[str, Any]]
    document: Mapping[str, Any] = field(default_factory=dict)
    next_url: str | None = None
    first_url: str | None = None
    failure: Failure | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the page."""
        return self.failure.status if self.failure else 200

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the response must have."""
        return self.failure.headers if self.failure else {}

    @property
    def metadata(self) -> Mapping[str, str]:
        """The filters by metadata, by the whole name of the filter."""
        return {name: value for name, value in self.filters.items() if name.startswith((METADATA_PREFIX, "metadata["))}

    def get_value(self, filter_field: FilterField) -> str:
        """Return the value of a field of the form."""
        value = self.filters.get(filter_field.name, "")
        if filter_field.kind == "provider":
            return join_account(value, self.filters.get("account"))
        return _format_local_time(value) if filter_field.kind == "time" else value

    def is_folded(self, fields: Sequence[FilterField]) -> bool:
        """Return whether the rare fields are folded: none of them has a value."""
        return not any(self.filters.get(filter_field.name) for filter_field in fields if filter_field.is_rare)

    def build_url(self, **changes: str | None) -> str:
        """Return the URL of the first page with some filters changed, or removed by None."""
        changed = {name: value for name, value in (dict(self.filters) | changes).items() if value is not None}
        changed.pop("cursor", None)
        return build_url(request.path, changed)

    def build_states(
        self, state_filters: Sequence[StateFilter], counts: Mapping[str, int] | None = None
    ) -> Sequence[StateLink]:
        """Return the links to each state of the items; a link replaces the current state.

        Args:
            state_filters: the filters by status.
            counts: the number of items by status, if it is known.
        """
        others: dict[str, str | None] = dict.fromkeys(state_filter.name for state_filter in state_filters)
        links = []
        for state_filter in state_filters:
            name = state_filter.name
            statuses = [name] if state_filter.value else STATUS_SYMBOLS[state_filter.kind]
            for status in statuses:
                value = state_filter.value or status
                links.append(
                    StateLink(
                        status,
                        state_filter.kind,
                        self.build_url(**others | {name: value}),
                        is_current=self.filters.get(name) == value,
                        count=None if counts is None or state_filter.value else counts.get(status, 0),
                    )
                )
        return links


def load_list(operation: str, **path_variables: Any) -> ListPage:
    """Load the page of a list that the URL of the current call asks for; empty filters are left out."""
    filters: Mapping[str, str] = request.args.to_dict()
    try:
        filters = normalize_filters(parse_query())
        document = call(operation, {"limit": str(PAGE_ITEMS)} | filters, **path_variables)
    except ReceiverError as error:
        return ListPage(filters, [], failure=describe_failure(error))
    items, cursor = document.pop("items"), document.pop("next_cursor")
    first_filters = {name: value for name, value in filters.items() if name != "cursor"}
    return ListPage(
        first_filters,
        items,
        document,
        next_url=build_url(request.path, first_filters | {"cursor": cursor}) if cursor else None,
        first_url=build_url(request.path, first_filters) if "cursor" in filters else None,
    )


def normalize_filters(query: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of a form as the API takes them.

    Empty ones are left out. A provider may be `PROVIDER/ACCOUNT`, a time may lack its zone, which is UTC, and
    `metadata` may be `KEY=value`.
    """
    filters = {name: value.strip() for name, value in query.items() if value.strip()}
    if "/" in filters.get("provider", "") and "account" not in filters:
        provider, account = split_account(filters["provider"])
        filters |= {"provider": provider, "account": account or ""}
    key, separator, value = filters.get(METADATA, "").partition("=")
    if separator and key:
        del filters[METADATA]
        filters[f"{METADATA_PREFIX}{key.strip().removeprefix(METADATA_PREFIX)}"] = value.strip()
    for name, time in filters.items():
        if name.endswith(_TIME_SUFFIXES) and (match := _LOCAL_TIME.fullmatch(time)):
            filters[name] = f"{match[1]}{match[2] or ':00'}Z"
    return filters


def _format_local_time(text: str) -> str:
    """Return a time of RFC 3339 as a `datetime-local` field takes it, in UTC; any other text as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" if time.tzinfo else text


def build_url(path: str, filters: Mapping[str, str]) -> str:
    """Return the URL of a page with filters, whatever their names are: `url_for` has arguments of its own."""
    return f"{path}?{urlencode(filters)}" if filters else path
