"""Callbacks: reports the states of jobs to the client, with the misbehavior of each job's kind of callback.

One greenlet per job follows the plan of its kind. A true callback is sent until it is acknowledged with 2xx or its
tries are used up. The ledger records the time of each final state and the response to each callback.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

import gevent
from gevent.pool import Group
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from geventhttpclient.url import URL

from receiver.sandbox.envelopes import Envelope, build_body, build_forgeries, build_malformed, build_result
from receiver.sandbox.ledger import ForgedCallback, Ledger, LedgerJob, map_state
from receiver.sandbox.scripts import CallbackKind, State

RETRY_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
RESPONSE_TIMEOUT_S = 5.0
EARLY_TIMEOUT_S = 1.0
BULK_COLLECT_S = 0.3
MAX_CONCURRENCY = 64


class CallbackSender:
    """Sends the callbacks of one run, signed with `key`."""

    def __init__(self, ledger: Ledger, key: bytes) -> None:
        self._ledger = ledger
        self._key = key
        self._running = Group()
        self._bulks: dict[str, list[LedgerJob]] = {}
        self._clients: dict[str, HTTPClient] = {}
        self._plans: dict[CallbackKind | None, Callable[[LedgerJob], object]] = {
            CallbackKind.NORMAL: partial(self._send_in_order, State.SENT),
            CallbackKind.DUPLICATE: self._send_duplicates,
            CallbackKind.EARLY: self._send_final,
            CallbackKind.LATE: partial(self._send_in_order, State.QUEUED),
            CallbackKind.OUT_OF_ORDER: self._send_out_of_order,
            CallbackKind.FORGED: self._send_forged,
            CallbackKind.CONTRADICTING: self._send_contradicting,
            CallbackKind.MALFORMED: self._send_malformed,
            CallbackKind.BULK: self._send_in_bulk,
        }

    @property
    def pending(self) -> int:
        """The number of callbacks to be sent or retried; those that wait for a common body count as one."""
        return len(self._running)

    def start(self, jobs: Iterable[LedgerJob]) -> None:
        """Start the plans of new jobs; return once early callbacks have got a response or timed out."""
        early = []
        for job in jobs:
            if plan := self._plans.get(job.fate.callback):
                greenlet = self._running.spawn(plan, job)
                if job.fate.callback is CallbackKind.EARLY:
                    early.append(greenlet)
        gevent.joinall(early, timeout=EARLY_TIMEOUT_S)

    def stop(self) -> None:
        """Stop sending callbacks."""
        self._running.kill()

    def _send_in_order(self, progress: State, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        self._send_state(job, progress)
        gevent.sleep(job.fate.final_pause)
        self._send_final(job)

    def _send_duplicates(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.final_pause)
        envelope = self._build_final_envelope(job)
        gevent.joinall([self._running.spawn(self._deliver, job.callback_url, envelope) for _ in range(2)])
        self._deliver(job.callback_url, envelope)

    def _send_out_of_order(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.final_pause)
        self._send_final(job)
        gevent.sleep(job.fate.first_pause)
        self._send_state(job, State.SENT)

    def _send_forged(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        false_state = State.UNDELIVERED if job.fate.state is State.DELIVERED else State.DELIVERED
        for flaw, headers, body in build_forgeries(job, false_state, self._key, time.time()):
            response_status = self._post(job.callback_url, headers, body)
            self._ledger.forged.append(ForgedCallback(job.reference, map_state(false_state), flaw, response_status))
        self._send_final(job)

    def _send_contradicting(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        if self._send_final(job):
            gevent.sleep(job.fate.final_pause)
            job.disputed = self._send_state(job, State.UNDELIVERED)

    def _send_malformed(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        for envelope in build_malformed(job, time.time()):
            self._post(job.callback_url, envelope.build_headers(self._key, time.time()), envelope.body)
        self._send_final(job)

    def _send_in_bulk(self, job: LedgerJob) -> None:
        bulk = self._bulks.setdefault(job.callback_url, [])
        bulk.append(job)
        if len(bulk) == 1:
            gevent.sleep(BULK_COLLECT_S)
            self._deliver(job.callback_url, self._build_final_envelope(*self._bulks.pop(job.callback_url)))

    def _send_final(self, job: LedgerJob) -> bool:
        return self._deliver(job.callback_url, self._build_final_envelope(job))

    def _send_state(self, job: LedgerJob, state: State) -> bool:
        return self._deliver(job.callback_url, Envelope(build_body(build_result(job, state, time.time()))))

    def _build_final_envelope(self, *jobs: LedgerJob) -> Envelope:
        """Make the states of jobs final now, and return the callback that reports them."""
        now = time.time()
        for job in jobs:
            job.final_at = now
        return Envelope(build_body(*(build_result(job, job.fate.state, now) for job in jobs)))

    def _deliver(self, url: str, envelope: Envelope) -> bool:
        """Send a true callback until it is acknowledged; return whether it was."""
        for pause in (0.0, *RETRY_PAUSES_S):
            gevent.sleep(pause)
            status = self._post(url, envelope.build_headers(self._key, time.time()), envelope.body)
            if status is not None and 200 <= status < 300:
                return True
        self._ledger.undelivered += 1
        return False

    def _post(self, url: str, headers: dict[str, str], body: bytes) -> int | None:
        """Send one callback; return the HTTP status of the response, None without one."""
        target = URL(url)
        try:
            response = self._get_client(target).post(target.request_uri, body, headers)
            response.read()
            status: int | None = response.status_code
        except (OSError, HTTPParseError):
            status = None
        self._ledger.count_response(status)
        return status

    def _get_client(self, target: URL) -> HTTPClient:
        """Return the client for the target's host, which limits the concurrent callbacks to that host."""
        origin = f"{target.scheme}://{target.netloc}"
        if origin not in self._clients:
            self._clients[origin] = HTTPClient.from_url(
                target,
                concurrency=MAX_CONCURRENCY,
                connection_timeout=RESPONSE_TIMEOUT_S,
                network_timeout=RESPONSE_TIMEOUT_S,
            )
        return self._clients[origin]
