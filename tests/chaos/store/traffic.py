"""The clients and the provider of a run: they call the service all the time, and record in the ledger what it says.

A client repeats a failed submission if it has an `Idempotency-Key`, and a provider repeats a callback until it is
acknowledged. The provider acts on each request that arrives, also on one that arrives again.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from random import Random
from threading import Event, Thread
from uuid import UUID

from tests.chaos.store.ledger import FINAL_STATES, Call, Callback, Ledger
from tests.support.http import Response, Server, build_report, sign_callback
from tests.support.processes import ADMIN_KEY
from tests.support.provider import Provider, Received, Reply

_PROVIDER = "sandbox"
_TICK_INTERVAL_S = 0.1
"""Between two submissions; an unmatched callback comes with every second one."""
_READINESS_INTERVAL_S = 0.3
_RETRY_INTERVAL_S = 0.5
_CLIENT_TIMEOUT_S = 8.0
_MAX_CALLBACK_DELAY_S = 0.6
_IN_PROGRESS_SHARE = 0.3
_REUSED_SHARE = 0.5
"""Of the requests, those that get a reference that named another job long ago, if there is any."""
_CALLS_AT_ONCE = 192


class LedgerProvider(Provider):
    """Accepts every request; `accept` returns the reference of a new job for a client's reference and our key."""

    def __init__(self, accept: Callable[[str, str], str]) -> None:
        super().__init__()
        self._accept = accept

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve until the context ends; yield the URL."""
        try:
            self.listen()
            yield self.url
        finally:
            self.close()

    def response(self, received: Received) -> Reply:
        reference = self._accept(received.name, received.headers["idempotency-key"])
        return Reply(202, json.dumps({"items": [{"id": reference, "status": "ACK", "code": 1801}]}).encode())


class _ImpatientServer(Server):
    """The service, for clients that do not wait for ever."""

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=_CLIENT_TIMEOUT_S)


class Traffic:
    """The threads of the clients and the provider's callbacks, for a service on a port of 127.0.0.1."""

    def __init__(self, port: int, ledger: Ledger, random: Random) -> None:
        self._web = _ImpatientServer("127.0.0.1", port)
        self._ledger = ledger
        self._random = random
        self._stopping = Event()
        self._ending = Event()
        self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call the service until the context ends."""
        threads = [Thread(target=loop) for loop in (self._run_clients, self._check_readiness)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._ending.set()
            for thread in threads:
                thread.join()
            self._pool.shutdown(cancel_futures=True)

    def accept(self, name: str, key: str) -> str:
        """Act on a request as the provider: return the reference of a new job, which ends with a callback."""
        reuse = self._random.random() < _REUSED_SHARE
        reference = self._ledger.record_send(name, key, reuse=reuse).reference
        states = ["SENT"] * (self._random.random() < _IN_PROGRESS_SHARE) + [self._random.choice([*FINAL_STATES])]
        self._start_delivery(reference, states)
        return reference

    def stop_clients(self) -> None:
        """End submissions and callbacks about unknown jobs; callbacks that were not acknowledged are still repeated."""
        self._stopping.set()

    def is_quiet(self) -> bool:
        """Return whether all callbacks are acknowledged."""
        return all(callback.acknowledged for callback in self._ledger.list_callbacks())

    def _start_delivery(self, reference: str, states: list[str]) -> None:
        callbacks = [self._ledger.add_callback(reference, state) for state in states]
        with suppress(RuntimeError):  # the run ends, and the pool with it
            self._pool.submit(self._deliver, callbacks)

    def _deliver(self, callbacks: list[Callback]) -> None:
        """Deliver callbacks one after the other, each until it is acknowledged."""
        for callback in callbacks:
            self._ending.wait(self._random.uniform(0.0, _MAX_CALLBACK_DELAY_S))
            while not self._ending.is_set():
                body = build_report(callback.reference, callback.state)
                headers = sign_callback(body, webhook_id=callback.webhook_id)
                response = self._call("callback", "POST", f"/callbacks/{_PROVIDER}", body, headers)
                if response and response.status == 200:
                    self._ledger.acknowledge(callback)
                    break
                self._ending.wait(_RETRY_INTERVAL_S)

    def _run_clients(self) -> None:
        """Start calls in other threads, whether earlier calls have ended or not."""
        for number in count():
            if self._stopping.wait(_TICK_INTERVAL_S):
                return
            repeat = number % 2 == 0
            self._pool.submit(self._submit, f"request-{number}", repeat=repeat)
            if repeat:
                self._start_delivery(f"unmatched-{number}", ["DELIVERED"])

    def _submit(self, name: str, *, repeat: bool) -> None:
        payload = {"client_reference": name, "to": ["2348030000000"], "text": "hello"}
        body = json.dumps({"provider": _PROVIDER, "operation": "send", "payload": payload}).encode()
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        if repeat:
            headers["idempotency-key"] = name
        self._ledger.began[name] = time.monotonic()
        while True:
            response = self._call("submission", "POST", "/v1/requests", body, headers)
            if response and response.status == 202:
                self._ledger.submitted[name] = UUID(response.json["id"])
                return
            if not repeat or self._stopping.wait(_RETRY_INTERVAL_S):
                return

    def _check_readiness(self) -> None:
        while not self._stopping.wait(_READINESS_INTERVAL_S):
            self._call("readiness", "GET", "/readyz")

    def _call(
        self, kind: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Response | None:
        """Call the service and record the call; return None without a response."""
        began_at = time.monotonic()
        try:
            response = self._web.call(method, path, body, headers)
        except (OSError, HTTPException):
            response = None
        call = Call(began_at, time.monotonic(), response.status if response else None)
        self._ledger.calls[kind].append(call)
        return response
