"""Checks clients' submissions and builds the requests to queue; the caller stores them before it responds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uuid_utils.compat import uuid7

from receiver.domain.errors import ReceiverError
from receiver.domain.targets import TargetNotAllowed
from receiver.providers.base import Provider
from receiver.providers.webhook import WebhookSender
from receiver.store.requests import NewRequest


@dataclass(frozen=True, slots=True)
class Submission:
    """A client's request before it is checked. `payload` and `metadata` are JSON objects; times are UTC.

    `notify_url` gets a webhook notification once the request is finished.
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
    """A submission is invalid; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("The request is invalid; see `errors`.")
        self.errors = errors


def prepare_request(
    providers: Mapping[str, Provider], submission: Submission, webhook_sender: WebhookSender | None = None
) -> NewRequest:
    """Build the request of a submission.

    Args:
        providers: the configured providers by name.
        submission: the submission.
        webhook_sender: sends webhook notifications; None if they are disabled.

    Raises:
        InvalidSubmission: the provider or operation does not exist, the payload is invalid for the provider, or
            `notify_url` may not be called.
    """
    provider = providers.get(submission.provider)
    if provider is None:
        raise InvalidSubmission(
            {"provider": [f"The provider is not configured. Must be one of: {', '.join(sorted(providers)) or 'none'}."]}
        )
    if submission.operation not in provider.operations():
        raise InvalidSubmission({"operation": [f"Must be one of: {', '.join(provider.operations())}."]})
    errors = provider.check_payload(submission.operation, submission.payload, datetime.now(UTC))
    if errors:
        raise InvalidSubmission({"payload": errors})
    _check_notify_url(submission.notify_url, webhook_sender)
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


def _check_notify_url(url: str | None, webhook_sender: WebhookSender | None) -> None:
    if url is None:
        return
    if webhook_sender is None:
        raise InvalidSubmission(
            {"notify_url": ["Webhook notifications are disabled. List the allowed hosts in RECEIVER_NOTIFY_HOSTS."]}
        )
    try:
        webhook_sender.rules.parse(url)
    except TargetNotAllowed as error:
        raise InvalidSubmission({"notify_url": [str(error)]}) from None


def prepare_requests(
    providers: Mapping[str, Provider], submissions: Sequence[Submission], webhook_sender: WebhookSender | None = None
) -> list[NewRequest]:
    """Build the requests of several submissions, in their order.

    Raises:
        InvalidSubmission: with the errors of all invalid submissions by their index.
    """
    requests: list[NewRequest] = []
    errors: dict[str, Any] = {}
    for index, submission in enumerate(submissions):
        try:
            requests.append(prepare_request(providers, submission, webhook_sender))
        except InvalidSubmission as error:
            errors[str(index)] = error.errors
    if errors:
        raise InvalidSubmission({"requests": errors})
    return requests
