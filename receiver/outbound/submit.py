"""Checks clients' submissions and builds the requests to queue; the caller stores them before it responds."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.domain.accounts import is_valid_name, join_account, list_accounts, list_base_names
from receiver.domain.errors import ReceiverError
from receiver.domain.notifications import NotifyEvent
from receiver.domain.records import record
from receiver.domain.sending import DEFAULT_PRIORITY
from receiver.domain.suggestions import format_list_suggestion
from receiver.domain.targets import TargetNotAllowed, TargetRules
from receiver.providers.base import Provider
from receiver.store.requests import NewRequest

_MAX_SHOWN_ACCOUNTS = 10


@record(frozen=True, slots=True)
class Submission:
    """A client's request before it is checked. `payload` and `metadata` are JSON objects; times are UTC.

    `notify_url` gets webhook notifications of the `notify_events`, by default once the request is finished.
    `traceparent` is the trace context of the call. `id` is that of the request to be; it is set before the request is
    first stored, so that a transaction that was lost can be repeated.
    """

    provider: str
    operation: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    send_after: datetime | None = None
    deadline: datetime | None = None
    notify_url: str | None = None
    notify_events: Sequence[NotifyEvent] = (NotifyEvent.REQUEST,)
    client: str | None = None
    account: str | None = None
    priority: int = DEFAULT_PRIORITY
    traceparent: str | None = None
    id: UUID = field(default_factory=uuid7)

    @property
    def provider_name(self) -> str:
        """The name of the account or, without an account, of the provider."""
        return join_account(self.provider, self.account)


class InvalidSubmission(ReceiverError):
    """A submission is invalid; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("The request is invalid; see `errors`.")
        self.errors = errors


def prepare_request(
    providers: Mapping[str, Provider],
    submission: Submission,
    notify_targets: TargetRules | None = None,
    idempotency_key: str | None = None,
) -> NewRequest:
    """Build the request of a submission.

    Args:
        providers: the configured providers by name.
        submission: the submission.
        notify_targets: the hosts that may be notified; None if notifications are disabled.
        idempotency_key: the key of the call, if it has one.

    Raises:
        InvalidSubmission: the provider, account or operation does not exist, the payload is invalid for the provider,
            or `notify_url` may not be called.
    """
    provider = find_provider(providers, submission.provider, submission.account)
    operation = provider.operations.get(submission.operation)
    if operation is None:
        choices = ", ".join(provider.operations) or "none"
        suggestion = format_list_suggestion(submission.operation, provider.operations)
        raise InvalidSubmission({"operation": [f"Must be one of: {choices}.{suggestion}"]})
    errors = operation.check_payload(submission.payload, datetime.now(UTC))
    if errors:
        raise InvalidSubmission({"payload": errors})
    check_notify_url(submission.notify_url, notify_targets)
    return NewRequest(
        id=submission.id,
        provider=submission.provider_name,
        operation=submission.operation,
        payload=submission.payload,
        metadata=submission.metadata,
        due_at=submission.send_after,
        deadline_at=submission.deadline,
        deadline_after=provider.deadline,
        notify_url=submission.notify_url,
        notify_events=submission.notify_events if submission.notify_url else None,
        client=submission.client,
        priority=submission.priority,
        idempotency_key=idempotency_key,
        traceparent=submission.traceparent,
    )


def find_provider(providers: Mapping[str, Provider], name: str, account: str | None) -> Provider:
    """Return a configured provider, or an account of it.

    Raises:
        InvalidSubmission: there is no such provider or account, or the provider requires an account.
    """
    provider = providers.get(join_account(name, account))
    if provider is not None and is_valid_name(name):
        return provider
    names, accounts = list_base_names(providers), list_accounts(providers, name)
    if name not in names:
        configured = ", ".join(names) or "none"
        suggestion = format_list_suggestion(name, names)
        raise InvalidSubmission(
            {"provider": [f"The provider is not configured. Must be one of: {configured}.{suggestion}"]}
        )
    if not accounts:
        message = f"The provider {name} has no accounts. Omit this field."
    elif account is None:
        message = f"Missing data for required field. {_format_choices(accounts)}"
    else:
        message = f"{_format_choices(accounts)}{format_list_suggestion(account, accounts)}"
    raise InvalidSubmission({"account": [message]})


def _format_choices(accounts: Sequence[str]) -> str:
    more = f" and {len(accounts) - _MAX_SHOWN_ACCOUNTS:,} others" if len(accounts) > _MAX_SHOWN_ACCOUNTS else ""
    return f"Must be one of: {', '.join(accounts[:_MAX_SHOWN_ACCOUNTS])}{more}."


def check_notify_url(url: str | None, notify_targets: TargetRules | None) -> None:
    """Check that a URL, if there is one, may be notified.

    Raises:
        InvalidSubmission: it may not.
    """
    if url is None:
        return
    if notify_targets is None:
        raise InvalidSubmission(
            {"notify_url": ["Webhook notifications are disabled. List the allowed hosts in RECEIVER_NOTIFY_HOSTS."]}
        )
    try:
        notify_targets.parse(url)
    except TargetNotAllowed as error:
        raise InvalidSubmission({"notify_url": [str(error)]}) from None


def prepare_requests(
    providers: Mapping[str, Provider],
    submissions: Sequence[Submission],
    notify_targets: TargetRules | None = None,
    idempotency_key: str | None = None,
) -> list[NewRequest]:
    """Build the requests of several submissions, in their order.

    Raises:
        InvalidSubmission: with the errors of all invalid submissions by their index.
    """
    requests: list[NewRequest] = []
    errors: dict[str, Any] = {}
    for index, submission in enumerate(submissions):
        try:
            requests.append(prepare_request(providers, submission, notify_targets, idempotency_key))
        except InvalidSubmission as error:
            errors[str(index)] = error.errors
    if errors:
        raise InvalidSubmission({"requests": errors})
    return requests
