"""Callbacks: tells the client what became of its jobs, as badly as each job's kind of callback demands.

One greenlet per job follows the plan of its kind. A true callback is sent until it is acknowledged with 2xx or its
tries are used up. The ledger learns what happened when, and how every callback was answered.
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

PAUSES_BETWEEN_TRIES = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
ANSWER_TIMEOUT = 5.0
EARLY_PATIENCE = 1.0
BULK_COLLECTED_FOR = 0.3
MAX_CONCURRENCY = 64


class CallbackSender:
    """The callbacks of one run, signed with `key`."""

    def __init__(self, ledger: Ledger, key: bytes) -> None:
        self._ledger = ledger
        self._key = key
        self._running = Group()
        self._bulks: dict[str, list[LedgerJob]] = {}
        self._clients: dict[str, HTTPClient] = {}
        self._plans: dict[CallbackKind | None, Callable[[LedgerJob], object]] = {
            CallbackKind.NORMAL: partial(self._in_order, State.SENT),
            CallbackKind.DUPLICATE: self._duplicate,
            CallbackKind.EARLY: self._finish,
            CallbackKind.LATE: partial(self._in_order, State.QUEUED),
            CallbackKind.OUT_OF_ORDER: self._out_of_order,
            CallbackKind.FORGED: self._forged,
            CallbackKind.CONTRADICTING: self._contradicting,
            CallbackKind.MALFORMED: self._malformed,
            CallbackKind.BULK: self._bulk,
        }

    @property
    def pending(self) -> int:
        """How many callbacks are still to be sent or retried; those waiting for one body together count as one."""
        return len(self._running)

    def begin(self, jobs: Iterable[LedgerJob]) -> None:
        """Start the plans of new jobs; returns once those that call back early were answered or lost patience."""
        early = []
        for job in jobs:
            if plan := self._plans.get(job.fate.callback):
                greenlet = self._running.spawn(plan, job)
                if job.fate.callback is CallbackKind.EARLY:
                    early.append(greenlet)
        gevent.joinall(early, timeout=EARLY_PATIENCE)

    def stop(self) -> None:
        """Send nothing any more."""
        self._running.kill()

    def _in_order(self, progress: State, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        self._say(job, progress)
        gevent.sleep(job.fate.final_pause)
        self._finish(job)

    def _duplicate(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.final_pause)
        envelope = self._final_word(job)
        gevent.joinall([self._running.spawn(self._deliver, job.callback_url, envelope) for _ in range(2)])
        self._deliver(job.callback_url, envelope)

    def _out_of_order(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.final_pause)
        self._finish(job)
        gevent.sleep(job.fate.first_pause)
        self._say(job, State.SENT)

    def _forged(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        claim = State.UNDELIVERED if job.fate.state is State.DELIVERED else State.DELIVERED
        for why, headers, body in build_forgeries(job, claim, self._key, time.time()):
            answered = self._post(job.callback_url, headers, body)
            self._ledger.forged.append(ForgedCallback(job.reference, map_state(claim), why, answered))
        self._finish(job)

    def _contradicting(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        if self._finish(job):
            gevent.sleep(job.fate.final_pause)
            job.disputed = self._say(job, State.UNDELIVERED)

    def _malformed(self, job: LedgerJob) -> None:
        gevent.sleep(job.fate.first_pause)
        for envelope in build_malformed(job, time.time()):
            self._post(job.callback_url, envelope.headers(self._key, time.time()), envelope.body)
        self._finish(job)

    def _bulk(self, job: LedgerJob) -> None:
        waiting = self._bulks.setdefault(job.callback_url, [])
        waiting.append(job)
        if len(waiting) == 1:
            gevent.sleep(BULK_COLLECTED_FOR)
            self._deliver(job.callback_url, self._final_word(*self._bulks.pop(job.callback_url)))

    def _finish(self, job: LedgerJob) -> bool:
        return self._deliver(job.callback_url, self._final_word(job))

    def _say(self, job: LedgerJob, state: State) -> bool:
        return self._deliver(job.callback_url, Envelope(build_body(build_result(job, state, time.time()))))

    def _final_word(self, *jobs: LedgerJob) -> Envelope:
        """Let the final states of jobs happen, now, and give the callback that tells of them."""
        now = time.time()
        for job in jobs:
            job.happened_at = now
        return Envelope(build_body(*(build_result(job, job.fate.state, now) for job in jobs)))

    def _deliver(self, url: str, envelope: Envelope) -> bool:
        """Send a true callback until it is acknowledged; tell whether it was."""
        for pause in (0.0, *PAUSES_BETWEEN_TRIES):
            gevent.sleep(pause)
            status = self._post(url, envelope.headers(self._key, time.time()), envelope.body)
            if status is not None and 200 <= status < 300:
                return True
        self._ledger.undelivered += 1
        return False

    def _post(self, url: str, headers: dict[str, str], body: bytes) -> int | None:
        """Send one callback; give the HTTP status it got, None without an answer."""
        target = URL(url)
        try:
            response = self._client(target).post(target.request_uri, body, headers)
            response.read()
            status: int | None = response.status_code
        except (OSError, HTTPParseError):
            status = None
        self._ledger.count_answer(status)
        return status

    def _client(self, target: URL) -> HTTPClient:
        """Give the client of the target's host, which limits how many callbacks are on their way to it at once."""
        origin = f"{target.scheme}://{target.netloc}"
        if origin not in self._clients:
            self._clients[origin] = HTTPClient.from_url(
                target,
                concurrency=MAX_CONCURRENCY,
                connection_timeout=ANSWER_TIMEOUT,
                network_timeout=ANSWER_TIMEOUT,
            )
        return self._clients[origin]
