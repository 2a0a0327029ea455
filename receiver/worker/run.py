"""The worker process: builds the store, the channels and the loops, runs them until it is stopped, then drains."""

import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import gevent
import structlog
from gevent.event import Event

from receiver.domain.errors import ReceiverError
from receiver.exchange.channels import Channels
from receiver.exchange.credentials import CredentialMonitor
from receiver.exchange.library_checks import check_geventhttpclient
from receiver.exchange.loop import ExchangeLoop
from receiver.followup.deadlines import mark_overdue_jobs
from receiver.followup.lookup import LookupTask
from receiver.followup.poll import PollTask
from receiver.followup.retention import apply_retentions, list_retentions
from receiver.outbound.notifications import queue_notifications
from receiver.outbound.send import SendTask
from receiver.outbound.sweep import sweep_requests
from receiver.providers.webhook import PROVIDER_NAME
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import WORKER_LIMIT_S, Database
from receiver.store.errors import StoreUnavailable
from receiver.worker.metrics import WorkerMetrics
from receiver.worker.metrics_server import serve_metrics

_DRAIN_TIMEOUT_S = 20.0
_STORE_TIMEOUT_S = 5.0
_ERROR_INTERVAL_S = 1.0

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, dsn: str) -> None:
    """Run the worker until SIGINT, SIGTERM or SIGHUP; exchanges in flight are finished and recorded."""
    stopping = Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        gevent.signal_handler(signal_number, stopping.set)
    check_geventhttpclient()
    database = Database(
        dsn, size=settings.database_pool_size, limit_s=WORKER_LIMIT_S, prepare=settings.database_prepare
    )
    with closing(database):
        if settings.metrics_port is None:
            _run(settings, database, stopping, None)
            return
        metrics = WorkerMetrics(database, settings.send_targets)
        with serve_metrics(settings.metrics_port, metrics):
            _run(settings, database, stopping, metrics)


def _run(settings: Settings, database: Database, stopping: Event, metrics: WorkerMetrics | None) -> None:
    """Open what the loops need, and run them until `stopping` is set."""
    callback_urls = {name: settings.callback_url(name) for name in settings.send_targets}
    finished = Event()
    gevent.spawn(_abort_without_store, database, stopping, finished)
    try:
        with (
            closing(Clock(database)) as clock,
            Channels(database, settings.send_targets, callback_urls) as channels,
        ):
            _run_loops(database, channels, clock, stopping, metrics)
    finally:
        finished.set()


def _run_loops(
    database: Database, channels: Channels, clock: Clock, stopping: Event, metrics: WorkerMetrics | None
) -> None:
    providers = {name: channel.provider for name, channel in channels.items()}
    send_loop = ExchangeLoop(SendTask(providers), database, channels, clock, metrics.send if metrics else None)
    poll_loop = ExchangeLoop(PollTask(providers), database, channels, clock, metrics.poll if metrics else None)
    lookup_loop = ExchangeLoop(LookupTask(providers), database, channels, clock, metrics.lookup if metrics else None)
    steps: list[Callable[[], float]] = [
        CredentialMonitor(database, providers).step,
        send_loop.step,
        partial(sweep_requests, database, providers, clock),
        poll_loop.step,
        lookup_loop.step,
        partial(mark_overdue_jobs, database),
    ]
    if PROVIDER_NAME in channels:
        steps.append(partial(queue_notifications, database))
    if retentions := list_retentions(providers):
        steps.append(partial(apply_retentions, database, retentions))
    renew: Callable[[], float] = channels.rate_limiter.renew
    if metrics:
        renew, *steps = (metrics.watch(step) for step in (renew, *steps))
    drained = Event()
    renewal = gevent.spawn(_repeat, renew, drained)
    _log.info("worker.started", providers=sorted(channels))
    try:
        gevent.joinall([gevent.spawn(_repeat, step, stopping) for step in steps], raise_error=True)
        _log.info("worker.drain_started")
        # Waiting exchanges return to the queue: begun now, they might not end before this process does.
        channels.rate_limiter.stop()
        drain_by = time.monotonic() + _DRAIN_TIMEOUT_S
        for loop in (send_loop, poll_loop, lookup_loop):
            loop.drain(max(drain_by - time.monotonic(), 0.0))
    finally:
        drained.set()
        renewal.join()


def _abort_without_store(database: Database, stopping: Event, finished: Event) -> None:
    """Abort all use of Postgres if it does not answer some seconds after this process was told to stop.

    What is not recorded then is decided when its lease has expired.
    """
    stopping.wait()
    while not finished.wait(_STORE_TIMEOUT_S):
        if database.health.check() is not None:
            _log.error(
                "worker.store_abandoned", remedy="none: attempts without a record are decided when their lease ends"
            )
            database.abort()
            return


def _repeat(step: Callable[[], float], stopping: Event) -> None:
    """Call `step` until `stopping` is set, with the seconds that it returns between calls; log errors and go on."""
    while not stopping.is_set():
        try:
            interval = step()
        except StoreUnavailable:  # logged by the health of the store
            interval = _ERROR_INTERVAL_S
        except ReceiverError as error:
            _log.warning("worker.step_failed", error=str(error))
            interval = _ERROR_INTERVAL_S
        except Exception:
            _log.exception("worker.step_crashed")
            interval = _ERROR_INTERVAL_S
        stopping.wait(interval)
