"""The filters of lists. Each is said here once: the API's query schemas build it, the queries of the store take it.

An item is listed if it matches all fields that are not None. `…_from` is inclusive, `…_to` is exclusive, both UTC.
`providers` are names, that of a provider with its accounts; an empty list matches nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.notifications import NotificationStatus
from receiver.domain.sending import RequestStatus


@dataclass(frozen=True, slots=True)
class JobFilter:
    """The jobs to list; `reference` is the provider's, `unmatched` is whether the job's request is not known."""

    status: JobStatus | None = None
    providers: list[str] | None = None
    reference: str | None = None
    request_id: UUID | None = None
    disputed: bool | None = None
    unmatched: bool | None = None
    accepted_from: datetime | None = None
    accepted_to: datetime | None = None
    finished_from: datetime | None = None
    finished_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """The requests to list; `metadata` maps keys to the text of their values.

    `reference_conflict`: whether the provider gave the request the reference of a job of another request.
    """

    status: RequestStatus | None = None
    providers: list[str] | None = None
    operation: str | None = None
    reference_conflict: bool | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallbackFilter:
    """The callbacks to list."""

    verdict: str | None = None
    providers: list[str] | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """The notifications to list; `providers` are those of their requests."""

    status: NotificationStatus | None = None
    providers: list[str] | None = None
    request_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    ids: list[UUID] | None = None


ALL_JOBS, ALL_REQUESTS, ALL_CALLBACKS = JobFilter(), RequestFilter(), CallbackFilter()
