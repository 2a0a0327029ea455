"""A provider: its address, the limits of exchanges with it, and its capabilities, each of which is optional."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit
from uuid import UUID

from receiver.domain.egress import Egress
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    RequestHint,
    StatusReport,
    compute_precedence,
    derive_event_key,
    derive_job_id,
)
from receiver.domain.limits import CircuitPolicy, LimitPolicy
from receiver.domain.retention import Retention
from receiver.domain.sending import RetryRules
from receiver.domain.targets import TargetRules
from receiver.providers.capabilities import AccountCheck, Callbacks, Lookup, Operation, Poller, Samples, Sender
from receiver.providers.credentials import fingerprint_credentials, spell_secrets
from receiver.providers.token_requests import TokenRequest
from receiver.signatures.redaction import Redactor

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How many exchanges with a provider run at once and per second, and how long each may take (seconds).

    `idle_timeout`: for how many seconds a connection idles and is used again if the provider does not say; 0 for never.
    """

    max_concurrency: int
    connect_timeout: float
    timeout: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = field(default_factory=CircuitPolicy)
    adaptive: bool = True
    idle_timeout: float = 4.0

    @property
    def max_duration(self) -> float:
        """The longest time that one exchange can take, in seconds."""
        return self.connect_timeout + self.timeout

    @property
    def limit_policy(self) -> LimitPolicy:
        """The configured limits, as the rate limiter takes them."""
        return LimitPolicy(self.max_concurrency, self.max_duration, self.max_per_second, self.circuit, self.adaptive)


def canonical_origin(url: SplitResult) -> str:
    """Return the origin of a URL in canonical form: lower case, without the scheme's default port (RFC 6454)."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = "" if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


class MissingCapability(ReceiverError):
    """A provider lacks the capability that an action needs."""


CapabilityT = TypeVar("CapabilityT")


def require_capability(capability: CapabilityT | None) -> CapabilityT:
    """Return a capability that its provider must have.

    Raises:
        MissingCapability: the provider lacks it.
    """
    if capability is None:
        raise MissingCapability("The provider lacks a capability that this work needs.")
    return capability


@dataclass(frozen=True, slots=True)
class Provider:
    """A configured provider.

    Args:
        name: its name in `receiver.toml`.
        origin: scheme, host and port of its API, see `canonical_origin`.
        base_path: the path that all targets begin with, without a slash at the end.
        retry_rules: how requests are retried.
        send_policy: the limits of exchanges.
        deadline: seconds from acceptance until a job without a final status is `unresolved`.
        reference_reuse_after: seconds after a job's end from which on its reference names a new job if a response
            contains it again; None for a provider that never uses a reference again.
        sender, callbacks, poller, lookup: the capabilities; None for each that the provider lacks.
        samples: samples of its callbacks; None if there are none.
        account_checks: requests that test our account, by name.
        credentials: all credentials that requests carry, as one value; b"" for a provider that needs none.
        secrets: the secrets among them, which are redacted where a response repeats them.
        target_rules: the hosts that targets may name, for a provider whose targets are complete URLs.
        fingerprint_keys: the keys of the fingerprints of credentials, in all processes; the first is for new ones.
        retention: how long data is stored that is erased before its request is removed.
        token_request: how access tokens are requested, for a provider whose requests carry one.
        egress: how exchanges leave this machine.
    """

    name: str
    origin: str
    base_path: str
    retry_rules: RetryRules
    send_policy: SendPolicy
    deadline: float
    sender: Sender | None = None
    callbacks: Callbacks | None = None
    poller: Poller | None = None
    lookup: Lookup | None = None
    samples: Samples | None = None
    account_checks: Mapping[str, AccountCheck] = field(default_factory=dict)
    credentials: bytes = field(default=b"", repr=False)
    target_rules: TargetRules | None = None
    fingerprint_keys: Sequence[bytes] = field(default=(b"",), repr=False)
    retention: Retention = field(default_factory=Retention)
    token_request: TokenRequest | None = None
    egress: Egress = field(default_factory=Egress)
    reference_reuse_after: float | None = None
    secrets: Sequence[str] = field(default=(), repr=False)
    redactor: Redactor = field(init=False, repr=False, compare=False)
    """Removes from responses our secrets and the tokens of callback URLs, which many providers send back."""

    def __post_init__(self) -> None:
        tokens = self.callbacks.settings.auth.redactor.tokens if self.callbacks else {}
        object.__setattr__(self, "redactor", Redactor(tokens, spell_secrets(self.secrets), headers=frozenset()))

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations that clients may submit, by name."""
        return self.sender.operations if self.sender else {}

    @property
    def fingerprint(self) -> str:
        """A name for the credentials that reveals nothing of them; "" for none."""
        return fingerprint_credentials(self.credentials, self.fingerprint_keys[0])

    @property
    def former_fingerprints(self) -> Sequence[str]:
        """The fingerprints of the same credentials under the older keys."""
        return [fingerprint_credentials(self.credentials, key) for key in self.fingerprint_keys[1:]]

    @property
    def first_lookup_after(self) -> float | None:
        """Seconds from the time that a request becomes unknown until its first lookup; None for no lookup."""
        return self.lookup.policy.first_after if self.lookup else None

    def require_callbacks(self) -> Callbacks:
        """Return how the provider calls back.

        Raises:
            MissingCapability: it does not call back.
        """
        if self.callbacks is None:
            raise MissingCapability(f"The provider {self.name} has no callbacks.")
        return self.callbacks

    def resolve_location(self, location: str | None) -> str | None:
        """Return the path and query of a `Location` at this provider.

        None for a location at another origin, which is never followed, and for one that does not fit a request line.
        """
        if not location or not location.isascii() or not location.isprintable() or " " in location:
            return None
        try:
            url = urlsplit(urljoin(f"{self.origin}{self.base_path}/", location))
            is_own = canonical_origin(url) == self.origin and "@" not in url.netloc
        except ValueError:
            return None
        # A target that begins with two slashes would be read as another host (RFC 3986, section 4.2).
        if not is_own or url.path.startswith("//"):
            return None
        return f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"

    def build_event(
        self,
        report: StatusReport,
        source: EventSource,
        origin: UUID,
        received_at: datetime,
        *,
        index: int = 0,
        job_id: UUID | None = None,
        callback_id: UUID | None = None,
        request_id: UUID | None = None,
        poll_after: float | None = None,
        location: str | None = None,
        notify: bool = False,
        notify_events: Sequence[str] | None = None,
        token: UUID | None = None,
    ) -> JobEvent:
        """Build the event of a report.

        Args:
            report: the status of a job.
            source: where the report comes from.
            origin: the identity of the callback, the attempt or the poll that contained the report.
            received_at: UTC.
            index: the position of the report within its origin.
            job_id: the job that the report is about, whichever job its reference names by now; by default the latter.
            callback_id: the stored callback, if the report comes from one.
            request_id: the request, if the report comes from its response.
            poll_after: seconds until the first poll of a new job; the poller's setting unless given.
            location: the `Location` that the provider sent for a new job, unless the report has its own.
            notify: whether the request's client is notified, by default when the request is finished.
            notify_events: what else the client is notified of.
            token: the attempt whose token the callback URL carried.
        """
        poll_at = None
        if self.poller:
            first_after = self.poller.policy.first_after if poll_after is None else poll_after
            poll_at = received_at + timedelta(seconds=first_after)
        return JobEvent(
            job_id=job_id or derive_job_id(self.name, report.reference),
            key=derive_event_key(source, origin, index, report.status, superseding=report.superseding),
            provider=self.name,
            reference=report.reference,
            source=source,
            status=report.status,
            precedence=compute_precedence(report.status, source, superseding=report.superseding),
            received_at=received_at,
            position=index,
            deadline_at=received_at + timedelta(seconds=self.deadline),
            poll_at=poll_at,
            location=self.resolve_location(report.location) or self.resolve_location(location),
            provider_status=report.provider_status,
            code=report.code,
            detail=report.detail,
            occurred_at=report.occurred_at,
            callback_id=callback_id,
            request_id=request_id,
            notify=notify,
            notify_events=notify_events,
            names_job=job_id is not None,
            request_hint=RequestHint(report.request_id, token) if report.request_id or token else None,
            reuse_after=None if request_id is None else self.reference_reuse_after,
        )


def find_lookup_delays(providers: Mapping[str, Provider]) -> Mapping[str, float]:
    """Return, for each provider that supports lookups, the seconds until an unknown request is first looked up."""
    return {
        name: first_lookup_after
        for name, provider in providers.items()
        if (first_lookup_after := provider.first_lookup_after) is not None
    }
