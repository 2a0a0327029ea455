"""Timed rounds of new signed callbacks against one web process, and how many callbacks were acknowledged in them."""

import time
from collections.abc import Callable, Mapping
from statistics import median

from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import PROVIDER, BenchmarkFailed
from tests.benchmarks.intake import CallbackSupply, Web
from tests.benchmarks.results import Round
from tests.benchmarks.signed import sign_callbacks
from tests.benchmarks.wrk import WrkResult, send

WARM_UP_S = 2


class CallbackRounds:
    """Rounds that one web process has served.

    Args:
        web: the web process.
        connections: how many are open at once.
        processes: the pids of other processes that work for it, by name; their CPU time counts with that of their
            children.
        supply: how many callbacks are signed for a round.
    """

    def __init__(
        self, web: Web, connections: int, processes: Mapping[str, int], supply: CallbackSupply | None = None
    ) -> None:
        self._web = web
        self._connections = connections
        self._processes = {"python": web.pid, **processes}
        self._supply = supply or CallbackSupply()
        self._results: list[WrkResult] = []
        self._timed: list[WrkResult] = []

    @property
    def acknowledged(self) -> int:
        """The number of callbacks that were acknowledged in all rounds."""
        return sum(result.responses for result in self._results)

    def run(
        self,
        seconds: int,
        *,
        is_timed: bool = True,
        provider: str = PROVIDER,
        items: int = 1,
        complete: Callable[[], None] | None = None,
    ) -> Round:
        """Send new callbacks of a provider for some seconds; repeat the round if it runs out of callbacks.

        Args:
            seconds: how long callbacks are sent.
            is_timed: whether the round counts for the latency and the rate of acknowledgements.
            provider: the provider that the callbacks come from.
            items: how many items each callback has.
            complete: waits until the work of the acknowledged callbacks is done, which is a part of the round.

        Returns:
            The round, with each item of a callback as one operation.

        Raises:
            BenchmarkFailed: a response was not 2xx or an exchange broke.
        """
        while True:
            count = self._supply.compute_count(seconds)
            with sign_callbacks(count, provider=provider, items=items) as callbacks:
                before = self.measure_cpu()
                result, wrk_cpu = send(self._web.port, callbacks, connections=self._connections, seconds=seconds)
                sent_at = time.monotonic()
                if complete:
                    complete()
                completing_s = time.monotonic() - sent_at
                cpu = {process: after - before[process] for process, after in self.measure_cpu().items()}
            self._results.append(result)
            if not result.exhausted:
                break
            self._supply.grow()
        if is_timed:
            self._timed.append(result)
        round_ = Round(result.responses * items, result.seconds + completing_s, {**cpu, "wrk": wrk_cpu})
        if result.responses:  # a process may need all of a short round to begin
            self._supply.record_rate(result.responses / result.seconds)
        return round_

    def measure_cpu(self) -> dict[str, float]:
        """Return the CPU seconds of the processes until now."""
        return {name: measure_tree(pid) for name, pid in self._processes.items()}

    def compute_p99_ms(self) -> float:
        """Return the median of the timed rounds' 99th percentiles, in milliseconds per callback."""
        return round(median(result.p99_ms for result in self._timed), 1)

    def compute_acknowledged_rate(self) -> float:
        """Return the median of the timed rounds' acknowledged callbacks per second."""
        return round(median(result.responses / result.seconds for result in self._timed))

    def check_stored(self, callbacks: int) -> None:
        """Compare the callbacks in the database with the acknowledged ones.

        The end of a round cuts off at most one callback per connection, which may be stored without being acknowledged.

        Raises:
            BenchmarkFailed: fewer are stored than acknowledged, or more than sent.
        """
        cut_off = self._connections * len(self._results)
        if not self.acknowledged <= callbacks <= self.acknowledged + cut_off:
            raise BenchmarkFailed(f"{callbacks} callbacks are stored, but {self.acknowledged} were acknowledged")
