"""Takes clients' requests into the queue; they are committed before the client is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uuid_utils.compat import uuid7

from receiver.domain.errors import ReceiverError
from receiver.domain.targets import TargetRefused
from receiver.providers.base import Provider
from receiver.providers.webhook import WebhookSender
from receiver.store.requests import NewRequest


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client asks to have sent. `payload` and `metadata` are JSON objects; times are UTC.

    `notify_url` is told once it is over.
    """

    provider: str
    operation: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    send_after: datetime | None = None
    deadline: datetime | None = None
    notify_url: str | None = None
    client: str | None = None


class InvalidSubmission(ReceiverError):
    """A submission cannot be sent; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the request cannot be sent")
        self.errors = errors


def prepare_request(
    providers: Mapping[str, Provider], submission: Submission, notifier: WebhookSender | None = None
) -> NewRequest:
    """Give the request that a submission makes; `notifier` is who will tell its client.

    Raises:
        InvalidSubmission: the provider or operation does not exist, or the provider would refuse the payload,
            or `notify_url` may not be called.
    """
    provider = providers.get(submission.provider)
    if provider is None:
        raise InvalidSubmission({"provider": [f"is not configured; known: {', '.join(sorted(providers)) or 'none'}"]})
    if submission.operation not in provider.operations():
        raise InvalidSubmission({"operation": [f"does not exist; known: {', '.join(provider.operations())}"]})
    faults = provider.check_payload(submission.operation, submission.payload, datetime.now(UTC))
    if faults:
        raise InvalidSubmission({"payload": faults})
    _demand_callable(submission.notify_url, notifier)
    return NewRequest(
        id=uuid7(),
        provider=submission.provider,
        operation=submission.operation,
        payload=submission.payload,
        metadata=submission.metadata,
        due_at=submission.send_after,
        deadline_at=submission.deadline,
        deadline_after=provider.poll_policy.deadline,
        notify_url=submission.notify_url,
        client=submission.client,
    )


def _demand_callable(url: str | None, notifier: WebhookSender | None) -> None:
    if url is None:
        return
    if notifier is None:
        raise InvalidSubmission(
            {"notify_url": ["may not be given: nobody is told here unless RECEIVER_NOTIFY_HOSTS lists the hosts"]}
        )
    try:
        notifier.rules.read(url)
    except TargetRefused as error:
        raise InvalidSubmission({"notify_url": [str(error)]}) from None


def prepare_requests(
    providers: Mapping[str, Provider], submissions: Sequence[Submission], notifier: WebhookSender | None = None
) -> list[NewRequest]:
    """Give the requests that submissions make, in their order.

    Raises:
        InvalidSubmission: with the errors of all that cannot be sent, by their places.
    """
    prepared: list[NewRequest] = []
    errors: dict[str, Any] = {}
    for index, submission in enumerate(submissions):
        try:
            prepared.append(prepare_request(providers, submission, notifier))
        except InvalidSubmission as error:
            errors[str(index)] = error.errors
    if errors:
        raise InvalidSubmission({"requests": errors})
    return prepared
