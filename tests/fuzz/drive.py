"""Drives the callback endpoint in this process, over a real Postgres, and judges every answer."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from receiver.domain.errors import ReceiverError
from receiver.inbound.authentication import AuthLog, CallbackAuthenticator
from receiver.inbound.key_documents import KeyDocuments
from receiver.inbound.receive import CallbackBatcher
from receiver.providers.registry import build_provider
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.web.api_keys import ApiKeyAuthenticator
from receiver.web.callback_metrics import CallbackMetrics
from receiver.web.callbacks import CallbackEndpoint
from receiver.web.context import AppContext
from receiver.web.waiting import JobWaiters
from tests.factories import settings
from tests.fuzz import bodies, mutations
from tests.fuzz.deliveries import Sent
from tests.fuzz.families import DOCUMENTS, FAMILIES, Family
from tests.signers import PUBLIC_URL

_SIGNED_ANEW_EVERY = 64
_AT_ONCE = 48
_ALLOWED = {400, 401}


class Broken(ReceiverError):
    """An answer that must not be, or a good delivery refused."""


class GivenDocuments(KeyDocuments):
    """Documents that need no fetching."""

    def get(self, urls: Sequence[str]) -> Mapping[str, bytes]:
        return {url: DOCUMENTS[url] for url in urls}

    def mark_stale(self, urls: Sequence[str]) -> None:
        """Leave them as they are."""


@dataclass(frozen=True, slots=True)
class Case:
    """A delivery, how it came about, and the signed one that it was made of, unless it may never be taken."""

    what: str
    sent: Sent
    signed: Sent | None = None


@dataclass(slots=True)
class Tally:
    """What one family's deliveries were answered; `good` were still validly signed and do not count."""

    statuses: Counter[int] = field(default_factory=Counter)
    good: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return self.statuses.total()

    def told(self, name: str) -> str:
        """Give a line for people."""
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        rate = self.count / self.seconds if self.seconds else 0.0
        return f"{name:<18} {self.count:>9,}  {rate:>7,.0f}/s  {statuses}  (still good: {self.good:,})"


@contextmanager
def endpoints(dsn: str, home: Path, names: Sequence[str]) -> Iterator[Mapping[str, CallbackEndpoint]]:
    """Give an endpoint for each family, whose provider is called acme."""
    database = Database(dsn)
    clock = Clock(database)
    inbox = CallbackBatcher(dsn)
    guardian = CallbackAuthenticator(AuthLog(database), GivenDocuments())
    waiters = JobWaiters(database)
    meters = CallbackMetrics(dsn, ["acme"], inbox, waiters)
    rest = (database, clock, inbox, guardian, ApiKeyAuthenticator(database, None, 1), waiters, meters)
    providers = {name: {"acme": build_provider("acme", FAMILIES[name].table())} for name in names}
    try:
        yield {
            name: CallbackEndpoint(AppContext(settings(dsn, home, providers[name], PUBLIC_URL), *rest), _nowhere)
            for name in names
        }
    finally:
        waiters.close()
        inbox.close()
        guardian.close()
        meters.close()
        clock.close()
        database.close()


def _nowhere(_: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


def status_of(endpoint: CallbackEndpoint, sent: Sent) -> int:
    """Give the status of the answer; whatever is raised passes."""
    told: list[str] = []

    def start_response(status: str, *_: Any) -> Any:
        told.append(status)

    for _ in endpoint(sent.environ(), start_response):
        pass
    return int(told[0][:3])


class Run:
    """One family's deliveries."""

    def __init__(self, family: Family, endpoint: CallbackEndpoint, seed: int) -> None:
        self._family = family
        self._endpoint = endpoint
        self._seed = seed
        self._rng = Random(seed)
        self._lock = Lock()
        self.tally = Tally()

    def fuzz(self, count: int) -> Tally:
        """Send deliveries until `count` of them were malformed.

        Raises:
            Broken: an answer was neither 400 nor 401.
        """
        self._demand_good()
        begun = time.perf_counter()
        cases = self._cases()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while (missing := count - self.tally.count) > 0:
                self._send(list(islice(cases, min(missing, _SIGNED_ANEW_EVERY))), pool)
        self.tally.seconds = time.perf_counter() - begun
        return self.tally

    def _send(self, cases: Sequence[Case], pool: ThreadPoolExecutor) -> None:
        """Send those that will be kept all at once, so that they share a transaction, and the others one by one."""
        futures = [pool.submit(self._judge, case) for case in cases if case.what == "malformed"]
        for case in cases:
            if case.what != "malformed":
                self._judge(case)
        for future in futures:
            future.result()

    def _judge(self, case: Case) -> None:
        status = status_of(self._endpoint, case.sent)
        if status in _ALLOWED:
            with self._lock:
                self.tally.statuses[status] += 1
        elif 200 <= status < 300 and self._is_good(case):
            with self._lock:
                self.tally.good += 1
        else:
            raise Broken(f"{status} to {case.what} of seed {self._seed}: {case.sent.short()}\n{case.sent!r}"[:20_000])

    def _is_good(self, case: Case) -> bool:
        """Whether a delivery came out validly signed and readable after all."""
        signed, family = case.signed, self._family
        return signed is not None and family.readable(case.sent.body) and family.still_proves(signed, case.sent)

    def _demand_good(self) -> None:
        sent = self._family.sign(True, self._family.body, int(time.time()))
        status = status_of(self._endpoint, sent)
        if status != 200:
            raise Broken(f"{status} to a good delivery, so that nothing else means anything: {sent.short()}")

    def _cases(self) -> Iterator[Case]:
        family, rng = self._family, self._rng
        while True:
            now = int(time.time())
            signed = family.sign(True, family.body, now)
            forged = family.forged(family.body, now) if family.forged else ()
            for _ in range(_SIGNED_ANEW_EVERY):
                chance = rng.random()
                if chance < family.malformed:
                    yield self._malformed(now)
                elif chance < family.malformed + 0.03:
                    yield Case("garbage", mutations.garbage(rng, family, signed))
                elif forged and chance < family.malformed + 0.15:
                    yield Case("forged", rng.choice(forged))
                elif family.signs_time and chance < family.malformed + 0.2:
                    yield Case("time", self._wrong_time(now))
                else:
                    yield self._changed(signed)

    def _malformed(self, now: int) -> Case:
        sent = self._family.sign(True, bodies.malformed_body(self._rng, self._family), now)
        return Case("malformed", sent, sent)

    def _wrong_time(self, now: int) -> Sent:
        rng, family = self._rng, self._family
        if rng.random() < 0.5:
            return family.sign(True, family.body, mutations.strange_time(rng, now))
        off = rng.choice((400, 86_400, 10**9, 10**11, 10**17)) * rng.choice((1, -1))
        return family.sign(True, family.body, now + off)

    def _changed(self, signed: Sent) -> Case:
        family, rng, sent = self._family, self._rng, signed
        chance = rng.random()
        if chance < 0.05:
            sent = family.sign(False, family.body, int(time.time()))
            return Case("other key", sent)
        if family.headers and (chance < 0.75 or not family.signs_body):
            sent = mutations.changed_headers(rng, family, sent)
        if family.signs_url and chance < 0.5:
            sent = mutations.changed_target(rng, sent)
        if sent is signed or (chance >= 0.6 and family.signs_body):
            sent = bodies.changed_body(rng, sent)
        if any("\0" in value for value in sent.headers.values()) and family.still_proves(signed, sent):
            return self._malformed(int(time.time()))  # gunicorn refuses NUL, so that it must only never be believed
        return Case("changed", sent, signed)
