"""Takes a client's request into the queue; it is committed before the client is answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.domain.errors import ReceiverError
from receiver.providers.base import Provider
from receiver.store.database import Connection
from receiver.store.requests import NewRequest, submit_requests


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client asks to have sent. `payload` and `metadata` are JSON objects; times are UTC."""

    provider: str
    operation: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    send_after: datetime | None = None
    deadline: datetime | None = None


class InvalidSubmission(ReceiverError):
    """A submission cannot be sent; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the request cannot be sent")
        self.errors = errors


def submit(connection: Connection, providers: Mapping[str, Provider], submission: Submission) -> UUID:
    """Queue a submission and give its request's id.

    Raises:
        InvalidSubmission: the provider or operation does not exist, or the provider would refuse the payload.
    """
    provider = providers.get(submission.provider)
    if provider is None:
        raise InvalidSubmission({"provider": [f"is not configured; known: {', '.join(sorted(providers)) or 'none'}"]})
    if submission.operation not in provider.operations():
        raise InvalidSubmission({"operation": [f"does not exist; known: {', '.join(provider.operations())}"]})
    faults = provider.check_payload(submission.operation, submission.payload, datetime.now(UTC))
    if faults:
        raise InvalidSubmission({"payload": faults})
    request_id = uuid7()
    request = NewRequest(
        id=request_id,
        provider=submission.provider,
        operation=submission.operation,
        payload=submission.payload,
        metadata=submission.metadata,
        due_at=submission.send_after,
        deadline_at=submission.deadline,
        deadline_after=provider.following.deadline,
    )
    submit_requests(connection, [request])
    return request_id
