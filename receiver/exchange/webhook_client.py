"""The HTTP client for webhook notifications: the counterpart of `HttpClient` for URLs that clients chose.

A host name is resolved here, `TargetRules` checks every address, and the connection goes to the checked address, so
that the name cannot lead elsewhere a moment later. TLS is verified against the name. Redirects are not followed. With
a proxy (`RECEIVER_NOTIFY_PROXY`), the proxy resolves names, so that only addresses in URLs are checked.

A host that hangs must not hold up the other hosts: each host has a few slots of its own, and a host that does not
respond is suspended for a while. Exchanges with a suspended host fail at once and are retried later.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from gevent.lock import BoundedSemaphore

from receiver.domain.egress import Egress
from receiver.domain.sending import NoResponse, Response
from receiver.domain.targets import Target, TargetNotAllowed, TargetRules
from receiver.exchange.client import HttpClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

MAX_CONCURRENCY_PER_HOST = 4
"""How many exchanges with one host run at once."""
_MAX_WAIT_S = 3.0
_MIN_SUSPENSION_S, _MAX_SUSPENSION_S = 5.0, 300.0
_MAX_HOSTS = 10_000
_MAX_BODY_BYTES = 4 << 10


@dataclass(slots=True)
class _Host:
    """The state of one host.

    `users` counts running and waiting exchanges, `response_time` is the mean duration of recent exchanges in seconds,
    `failures` counts the last exchanges without a response, and `suspended_until` is by `time.monotonic`.
    """

    slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_CONCURRENCY_PER_HOST))
    users: int = 0
    response_time: float = 0.0
    failures: int = 0
    last_error: str = ""
    suspended_until: float = 0.0

    @property
    def is_failing(self) -> bool:
        return self.failures >= MAX_CONCURRENCY_PER_HOST

    @property
    def expected_wait(self) -> float:
        """The expected wait in seconds of the last exchange in the queue."""
        return max(self.users - MAX_CONCURRENCY_PER_HOST, 0) * self.response_time / MAX_CONCURRENCY_PER_HOST

    def record(self, outcome: Response | NoResponse, duration: float) -> None:
        self.response_time += (duration - self.response_time) / MAX_CONCURRENCY_PER_HOST
        if isinstance(outcome, Response):
            self.failures = 0
            return
        self.failures += 1
        self.last_error = outcome.error
        if self.is_failing:
            exponent = min(self.failures - MAX_CONCURRENCY_PER_HOST, 60)
            self.suspended_until = time.monotonic() + min(_MIN_SUSPENSION_S * 2.0**exponent, _MAX_SUSPENSION_S)


class WebhookClient:
    """The HTTP client for all hosts that the rules allow; an outgoing request's target is a complete URL."""

    def __init__(self, rules: TargetRules, send_policy: SendPolicy, egress: Egress | None = None) -> None:
        self._rules = rules
        self._send_policy = send_policy
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._egress = egress

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse:
        """Send a request and return its outcome; see `HttpClient.exchange`."""
        try:
            target = self._rules.parse(outgoing.target)
        except TargetNotAllowed as error:
            return NoResponse(f"not sent, the URL is not allowed: {error}", sent=False)
        with self._use_host(target) as host:
            return self._exchange_in_slot(host, target, outgoing, admission)

    def close(self) -> None:
        """Do nothing: no connection is pooled."""

    @contextmanager
    def _use_host(self, target: Target) -> Iterator[_Host]:
        """Yield the state of a target's host, which is forgotten once nobody uses it and it does not fail."""
        key = (target.host, target.port)
        host = self._hosts.setdefault(key, _Host())
        host.users += 1
        try:
            yield host
        finally:
            host.users -= 1
            if not host.users and not host.failures:
                del self._hosts[key]
            if len(self._hosts) > _MAX_HOSTS:
                self._hosts = {other_key: other for other_key, other in self._hosts.items() if other.users}

    def _exchange_in_slot(
        self, host: _Host, target: Target, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None
    ) -> Response | NoResponse:
        if time.monotonic() < host.suspended_until:
            return _build_suspended_outcome(host)
        # Many may wait for a host that responds quickly; waiting for a slow host would hold up exchanges with others.
        timeout = 0.0 if host.is_failing or host.expected_wait > _MAX_WAIT_S else _MAX_WAIT_S
        if not host.slots.acquire(timeout=timeout):
            return NoResponse(
                f"not sent: {MAX_CONCURRENCY_PER_HOST} other notifications to {target.host} are in flight", sent=False
            )
        try:
            # The host may have been suspended during the wait.
            if time.monotonic() < host.suspended_until:
                return _build_suspended_outcome(host)
            with admission or nullcontext():
                started_at = time.monotonic()
                outcome = self._perform(target, outgoing)
            host.record(outcome, time.monotonic() - started_at)
            return outcome
        finally:
            host.slots.release()

    def _perform(self, target: Target, outgoing: OutgoingRequest) -> Response | NoResponse:
        client = HttpClient(
            target.origin,
            self._send_policy,
            max_body_bytes=_MAX_BODY_BYTES,
            rules=self._rules,
            egress=self._egress,
        )
        with closing(client):
            outcome = client.exchange(replace(outgoing, target=target.path))
        # Only the status counts, so that a body that is cut or cannot be read is no problem.
        return replace(outcome, problem=None) if isinstance(outcome, Response) else outcome


def _build_suspended_outcome(host: _Host) -> NoResponse:
    return NoResponse(f"not sent, as the host did not respond recently: {host.last_error}", sent=False)
