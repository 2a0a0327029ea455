"""Actions of operators on many requests at once: which requests an action applies to, and what identifies a call."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from hashlib import sha256

from receiver.domain.filters import RequestFilter
from receiver.domain.sending import RequestStatus


class BulkActionKind(StrEnum):
    """What is done to each request, as by the action on a single request."""

    RETRY = "retry"
    CANCEL = "cancel"
    RESOLVE = "resolve"
    SEND_NOW = "send-now"

    @property
    def statuses(self) -> Collection[RequestStatus]:
        """The statuses of the requests to which the action applies; of accepted ones, to those with a conflict."""
        return _STATUSES[self]

    @property
    def needs_provider(self) -> bool:
        """Whether the action applies only to requests whose provider is configured."""
        return self in {BulkActionKind.RETRY, BulkActionKind.SEND_NOW}

    @property
    def needs_payload(self) -> bool:
        """Whether the action applies only to requests whose payload is not erased."""
        return self is BulkActionKind.RETRY


_STATUSES = {
    BulkActionKind.RETRY: (
        RequestStatus.REJECTED,
        RequestStatus.FAILED,
        RequestStatus.UNKNOWN,
        RequestStatus.CANCELLED,
    ),
    BulkActionKind.CANCEL: (RequestStatus.QUEUED,),
    BulkActionKind.RESOLVE: (RequestStatus.UNKNOWN, RequestStatus.ACCEPTED),
    BulkActionKind.SEND_NOW: (RequestStatus.QUEUED,),
}


@dataclass(frozen=True, slots=True)
class BulkCall:
    """A call for an action on all requests that match a filter.

    Args:
        client: whose call it is.
        own_client: the client whose requests alone are acted on; None for those of all clients.
        kind: the action.
        request_filter: the filter, within what the caller may see.
        status: the status to set by a resolution; None for other actions.
    """

    client: str
    own_client: str | None
    kind: BulkActionKind
    request_filter: RequestFilter
    status: RequestStatus | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the call, by which a preview and the call that carries it out are compared."""
        providers = self.request_filter.providers
        request_filter = replace(self.request_filter, providers=None if providers is None else sorted(providers))
        document = asdict(replace(self, request_filter=request_filter))
        return sha256(json.dumps(document, sort_keys=True, default=str).encode()).digest()
