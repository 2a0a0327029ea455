"""Calls the callback endpoint in this process, with a real Postgres, and checks every response."""

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
from receiver.providers.registry import build_provider
from receiver.web.callbacks import CallbackEndpoint
from tests.fuzz import bodies, mutations
from tests.fuzz.deliveries import FuzzRequest
from tests.fuzz.families import DOCUMENTS, FAMILIES, Family
from tests.support.endpoints import open_endpoints

_BATCH_SIZE = 64
_CONCURRENCY = 48
_ALLOWED_STATUSES = {400, 401}


class FuzzFailed(ReceiverError):
    """A malformed callback got another status than 400 or 401, or a valid one was rejected."""


@dataclass(frozen=True, slots=True)
class FuzzCase:
    """A request, how it was made, and the signed request it was made from, or None if it must never be accepted."""

    kind: str
    request: FuzzRequest
    signed: FuzzRequest | None = None


@dataclass(slots=True)
class FuzzStats:
    """Responses to one family's requests; `ignored` requests were still validly signed and do not count."""

    statuses: Counter[int] = field(default_factory=Counter)
    ignored: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return self.statuses.total()

    def format_line(self, name: str) -> str:
        """Return a line of the report."""
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        rate = self.count / self.seconds if self.seconds else 0.0
        return f"{name:<18} {self.count:>9,}  {rate:>7,.0f}/s  {statuses}  (still valid: {self.ignored:,})"


@contextmanager
def open_family_endpoints(dsn: str, home: Path, names: Sequence[str]) -> Iterator[Mapping[str, CallbackEndpoint]]:
    """Yield an endpoint for each family."""
    providers = {name: build_provider("acme", FAMILIES[name].build_table()) for name in names}
    with open_endpoints(dsn, home, providers, DOCUMENTS) as endpoints:
        yield endpoints


def get_status(endpoint: CallbackEndpoint, request: FuzzRequest) -> int:
    """Return the status of the response; exceptions of the endpoint propagate."""
    statuses: list[str] = []

    def start_response(status: str, *_: Any) -> Any:
        statuses.append(status)

    for _ in endpoint(request.environ(), start_response):
        pass
    return int(statuses[0][:3])


class FuzzRun:
    """A run of one family's requests."""

    def __init__(self, family: Family, endpoint: CallbackEndpoint, seed: int) -> None:
        self._family = family
        self._endpoint = endpoint
        self._seed = seed
        self._rng = Random(seed)
        self._lock = Lock()
        self.stats = FuzzStats()

    def fuzz(self, count: int) -> FuzzStats:
        """Send requests until `count` of them were malformed.

        Raises:
            FuzzFailed: a response was neither 400 nor 401.
        """
        self._check_valid_request()
        started = time.perf_counter()
        cases = self._generate_cases()
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            while (missing := count - self.stats.count) > 0:
                self._send(list(islice(cases, min(missing, _BATCH_SIZE))), pool)
        self.stats.seconds = time.perf_counter() - started
        return self.stats

    def _send(self, cases: Sequence[FuzzCase], pool: ThreadPoolExecutor) -> None:
        """Send malformed signed requests concurrently, so that they share a transaction, and the others one by one."""
        futures = [pool.submit(self._check_case, case) for case in cases if case.kind == "malformed"]
        for case in cases:
            if case.kind != "malformed":
                self._check_case(case)
        for future in futures:
            future.result()

    def _check_case(self, case: FuzzCase) -> None:
        status = get_status(self._endpoint, case.request)
        if status in _ALLOWED_STATUSES:
            with self._lock:
                self.stats.statuses[status] += 1
        elif 200 <= status < 300 and self._is_still_valid(case):
            with self._lock:
                self.stats.ignored += 1
        else:
            details = f"{case.request.format_short()}\n{case.request!r}"
            raise FuzzFailed(f"{status} for a request of kind {case.kind}, seed {self._seed}: {details}"[:20_000])

    def _is_still_valid(self, case: FuzzCase) -> bool:
        """Return whether a mutated request is still validly signed and readable."""
        signed, family = case.signed, self._family
        return (
            signed is not None and family.names_job(case.request.body) and family.is_still_signed(signed, case.request)
        )

    def _check_valid_request(self) -> None:
        request = self._family.sign(True, self._family.body, int(time.time()))
        status = get_status(self._endpoint, request)
        if status != 200:
            raise FuzzFailed(f"{status} for a valid request, so the run proves nothing: {request.format_short()}")

    def _generate_cases(self) -> Iterator[FuzzCase]:
        family, rng = self._family, self._rng
        while True:
            now = int(time.time())
            signed = family.sign(True, family.body, now)
            forged = family.build_forged(family.body, now) if family.build_forged else ()
            for _ in range(_BATCH_SIZE):
                chance = rng.random()
                if chance < family.malformed_share:
                    yield self._build_malformed(now)
                elif chance < family.malformed_share + 0.03:
                    yield FuzzCase("garbage", mutations.build_garbage(rng, family, signed))
                elif forged and chance < family.malformed_share + 0.15:
                    yield FuzzCase("forged", rng.choice(forged))
                elif family.signs_time and chance < family.malformed_share + 0.2:
                    yield FuzzCase("time", self._build_wrong_time(now))
                else:
                    yield self._build_changed(signed)

    def _build_malformed(self, now: int) -> FuzzCase:
        request = self._family.sign(True, bodies.build_malformed_body(self._rng, self._family), now)
        return FuzzCase("malformed", request, request)

    def _build_wrong_time(self, now: int) -> FuzzRequest:
        rng, family = self._rng, self._family
        if rng.random() < 0.5:
            return family.sign(True, family.body, mutations.build_invalid_time(rng, now))
        offset_s = rng.choice((400, 86_400, 10**9, 10**11, 10**17)) * rng.choice((1, -1))
        return family.sign(True, family.body, now + offset_s)

    def _build_changed(self, signed: FuzzRequest) -> FuzzCase:
        family, rng, request = self._family, self._rng, signed
        chance = rng.random()
        if chance < 0.05:
            request = family.sign(False, family.body, int(time.time()))
            return FuzzCase("other key", request)
        if family.headers and (chance < 0.75 or not family.signs_body):
            request = mutations.mutate_headers(rng, family, request)
        if family.signs_url and chance < 0.5:
            request = mutations.mutate_target(rng, request)
        if request is signed or (chance >= 0.6 and family.signs_body):
            request = bodies.mutate_body(rng, request)
        if any("\0" in value for value in request.headers.values()) and family.is_still_signed(signed, request):
            # gunicorn rejects a header with NUL, so the endpoint's response to a signed one does not matter.
            return self._build_malformed(int(time.time()))
        return FuzzCase("changed", request, signed)
