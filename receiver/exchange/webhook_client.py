"""The HTTP client that tells clients' own hosts: the sibling of `ProviderClient` for URLs that strangers chose.

A host's name is resolved here, every address is judged by `TargetRules`, and what was judged is what is connected to,
so that a name cannot lead elsewhere a moment later. TLS is verified against the name. No redirect is followed.

One host that hangs must not hold up the others: it has a few slots of its own, and while it gives no answer it is left
alone for a while, and what would be sent to it fails at once, to be tried again later.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from gevent.lock import BoundedSemaphore
from gevent.ssl import SSLContext, create_default_context
from geventhttpclient import HTTPClient

from receiver.domain.sending import NoResponse, Response
from receiver.domain.targets import Target, TargetRefused, TargetRules, explain_refused_addresses
from receiver.exchange.client import bound_connections, disable_automatic_retries, perform_exchange
from receiver.providers.base import OutgoingRequest
from receiver.providers.webhook import WebhookSender

MAX_CONCURRENCY_PER_HOST = 4
"""How many exchanges with one host there are at once."""
_LONGEST_WAIT = 3.0
_SHORTEST_REST, _LONGEST_REST = 5.0, 300.0
_MOST_KNOWN = 10_000
_MOST_KEPT = 4 << 10


@dataclass(slots=True)
class _Host:
    """How a host does: its slots, how long its answers take, how often in a row it gave none, until when it rests."""

    slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_CONCURRENCY_PER_HOST))
    users: int = 0
    pace: float = 0.0
    silences: int = 0
    last_error: str = ""
    rests_until: float = 0.0

    @property
    def in_trouble(self) -> bool:
        return self.silences >= MAX_CONCURRENCY_PER_HOST

    @property
    def wait(self) -> float:
        """How many seconds the last in its line waits, as far as is known."""
        return max(self.users - MAX_CONCURRENCY_PER_HOST, 0) * self.pace / MAX_CONCURRENCY_PER_HOST

    def note(self, outcome: Response | NoResponse, took: float) -> None:
        self.pace += (took - self.pace) / MAX_CONCURRENCY_PER_HOST
        if isinstance(outcome, Response):
            self.silences = 0
            return
        self.silences += 1
        self.last_error = outcome.error
        if self.in_trouble:
            rest = min(_SHORTEST_REST * 2.0 ** min(self.silences - MAX_CONCURRENCY_PER_HOST, 60), _LONGEST_REST)
            self.rests_until = time.monotonic() + rest


class WebhookClient:
    """Exchanges with any host that the rules let; the target of what is sent is a whole URL."""

    def __init__(self, notifier: WebhookSender, tls: Callable[..., SSLContext] | None = None) -> None:
        self._rules = notifier.rules
        self._limits = notifier.send_policy
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._tls = tls or _verifying
        disable_automatic_retries()

    def exchange(
        self, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None = None
    ) -> Response | NoResponse:
        """Send a request and give its answer, or how the exchange ended without one; never raises on what they do.

        See `ProviderClient.exchange`.
        """
        try:
            target = self._rules.read(outgoing.target)
        except TargetRefused as error:
            return NoResponse(f"not tried: the URL {error}", sent=False)
        with self._host(target) as host:
            return self._in_turn(host, target, outgoing, admission)

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _host(self, target: Target) -> Iterator[_Host]:
        key = (target.host, target.port)
        host = self._hosts.setdefault(key, _Host())
        host.users += 1
        try:
            yield host
        finally:
            host.users -= 1
            if not host.users and not host.silences:
                del self._hosts[key]
            if len(self._hosts) > _MOST_KNOWN:
                self._hosts = {one: known for one, known in self._hosts.items() if known.users}

    def _in_turn(
        self, host: _Host, target: Target, outgoing: OutgoingRequest, admission: AbstractContextManager[None] | None
    ) -> Response | NoResponse:
        if time.monotonic() < host.rests_until:
            return _left_alone(host)
        # Many may wait for a host that answers soon; whoever waited for another would hold up what goes elsewhere.
        patience = 0.0 if host.in_trouble or host.wait > _LONGEST_WAIT else _LONGEST_WAIT
        if not host.slots.acquire(timeout=patience):
            return NoResponse(
                f"not tried: {MAX_CONCURRENCY_PER_HOST} others were being told at {target.host}", sent=False
            )
        try:
            if time.monotonic() < host.rests_until:
                return _left_alone(host)
            with admission or nullcontext():
                began = time.monotonic()
                outcome = self._exchange(target, outgoing)
            host.note(outcome, time.monotonic() - began)
            return outcome
        finally:
            host.slots.release()

    def _exchange(self, target: Target, outgoing: OutgoingRequest) -> Response | NoResponse:
        http = HTTPClient(
            target.host,
            target.port,
            ssl=target.scheme == "https",
            ssl_context_factory=self._tls if target.scheme == "https" else None,
            connection_timeout=self._limits.connect_timeout,
            network_timeout=self._limits.timeout,
        )
        _judge_addresses(http, self._rules, target.scheme)
        bound_connections(http)
        try:
            return perform_exchange(http, replace(outgoing, target=target.path), self._limits.longest, _MOST_KEPT)
        finally:
            http.close()


def _left_alone(host: _Host) -> NoResponse:
    return NoResponse(f"not tried, as it gave no answer lately: {host.last_error}", sent=False)


@cache
def _verifying(cafile: str | None = None) -> SSLContext:
    """Give the one context that all connections share: to make one takes as long as many exchanges."""
    return create_default_context(cafile=cafile)


def _judge_addresses(http: HTTPClient, rules: TargetRules, scheme: str) -> None:
    """Let a client connect only to addresses that are admitted; it connects to what its pool resolved, as it stands.

    There is no hook for it.
    """
    pool = http._connection_pool  # noqa: SLF001  # see above
    resolve = pool._resolve  # noqa: SLF001  # see above

    def resolve_admitted() -> list[Any]:
        found = resolve()
        admitted = [one for one in found if rules.admits(scheme, str(one[4][0]))]
        if not admitted:
            raise TargetRefused(explain_refused_addresses(scheme, *dict.fromkeys(str(one[4][0]) for one in found)))
        return admitted

    pool._resolve = resolve_admitted  # type: ignore  # noqa: PGH003, SLF001  # see above
