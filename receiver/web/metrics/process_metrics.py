"""The metrics of web processes as such: CPU time, memory, files, the lag of the event loop, and the last reload."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.process_stats import get_version, read_process_stats
from receiver.reload import last_reload

_READ_INTERVAL_S = 10.0


class ProcessMetrics:
    """The metrics of one process, summed over all processes of the run; of the event loop the slowest is served."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._cpu = Counter("receiver_process_cpu_seconds_total", "CPU time that was used.", registry=registry)
        self._memory = Gauge(
            "receiver_process_resident_memory_bytes",
            "Resident memory.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._files = Gauge(
            "receiver_process_open_files",
            "Open files and connections.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._processes = Gauge(
            "receiver_processes", "Running processes.", multiprocess_mode="livesum", registry=registry
        )
        self._event_loop_lag = Gauge(
            "receiver_event_loop_lag_seconds",
            "How late the event loop runs what is due.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._processes.set(1)
        self._counted_cpu_seconds = 0.0
        self._read_at = time.monotonic()

    def update(self, lag: float) -> None:
        """Set how many seconds late the event loop was, and every ten seconds all other values."""
        self._event_loop_lag.set(max(lag, 0.0))
        if time.monotonic() < self._read_at:
            return
        stats = read_process_stats()
        self._cpu.inc(stats.cpu_seconds - self._counted_cpu_seconds)
        self._counted_cpu_seconds = stats.cpu_seconds
        self._memory.set(stats.resident_bytes)
        self._files.set(stats.open_files)
        self._read_at = time.monotonic() + _READ_INTERVAL_S


class BuildCollector(Collector):
    """The version of this program."""

    def collect(self) -> list[Metric]:
        build = GaugeMetricFamily("receiver_build_info", "The version; the value is 1.", labels=["version"])
        build.add_metric([get_version()], 1)
        return [build]


class ReloadCollector(Collector):
    """Whether the last reload of the configuration file succeeded."""

    def collect(self) -> list[Metric]:
        description = "Whether the last reload of the configuration file succeeded: 1 or 0."
        return [GaugeMetricFamily("receiver_settings_last_reload_successful", description, int(last_reload.succeeded))]
