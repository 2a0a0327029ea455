"""The worker process: builds the store, the channels and the loops, runs them until it is stopped, then drains."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial

import gevent
import structlog
from gevent.event import Event

from receiver.configured_providers import ConfiguredProviders, report_no_providers
from receiver.domain.accounts import list_base_names, split_account
from receiver.domain.errors import ReceiverError
from receiver.exchange.channels import Channels
from receiver.exchange.credentials import CredentialMonitor
from receiver.exchange.library_checks import check_geventhttpclient
from receiver.exchange.loop import ExchangeLoop
from receiver.followup.activity import count_activity
from receiver.followup.deadlines import mark_overdue_jobs
from receiver.followup.lookup import LookupTask
from receiver.followup.poll import PollTask
from receiver.followup.retention import apply_retentions, list_retentions
from receiver.followup.row_counts import move_counts
from receiver.garbage_collection import limit_garbage_collection
from receiver.outbound.notifications import queue_notifications
from receiver.outbound.send import SendTask
from receiver.outbound.sweep import sweep_requests
from receiver.providers.webhook import PROVIDER_NAME
from receiver.reload import ProviderReloader
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import WORKER_LIMIT_S, Database
from receiver.store.errors import StoreUnavailable
from receiver.tracing.loading import Tracing, load_tracing
from receiver.worker.metrics import WorkerMetrics
from receiver.worker.metrics_server import serve_metrics
from receiver.worker.tracing import build_observers

_DRAIN_TIMEOUT_S = 20.0
_STORE_TIMEOUT_S = 5.0
_ERROR_INTERVAL_S = 1.0

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, dsn: str) -> None:
    """Run the worker until SIGINT or SIGTERM; exchanges in flight are finished and recorded.

    On SIGHUP the worker reads its configuration file again.
    """
    stopping = Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(signal_number, stopping.set)
    check_geventhttpclient()
    limit_garbage_collection()
    database = Database(
        dsn, size=settings.database_pool_size, limit_s=WORKER_LIMIT_S, prepare=settings.database_prepare
    )
    with closing(database), _open_tracing(database) as tracing:
        if settings.metrics_port is None:
            _run(settings, database, stopping, None, tracing)
            return
        metrics = WorkerMetrics(database, settings.send_targets)
        with serve_metrics(settings.metrics_port, metrics):
            _run(settings, database, stopping, metrics, tracing)


@contextmanager
def _open_tracing(database: Database) -> Iterator[Tracing | None]:
    tracing = load_tracing(os.environ, database)
    try:
        yield tracing
    finally:
        if tracing:
            tracing.close()


def _run(
    settings: Settings, database: Database, stopping: Event, metrics: WorkerMetrics | None, tracing: Tracing | None
) -> None:
    """Open what the loops need, and run them until `stopping` is set."""
    finished = Event()
    gevent.spawn(_abort_without_store, database, stopping, finished)
    try:
        with (
            closing(Clock(database)) as clock,
            Channels(database, settings.send_targets, _build_callback_urls(settings), settings.secret_keys) as channels,
        ):
            _run_loops(settings, database, channels, clock, stopping, metrics=metrics, tracing=tracing)
    finally:
        finished.set()


def _build_callback_urls(settings: Settings) -> Mapping[str, str]:
    return {name: settings.callback_url(name) for name in settings.send_targets}


def _run_loops(
    settings: Settings,
    database: Database,
    channels: Channels,
    clock: Clock,
    stopping: Event,
    *,
    metrics: WorkerMetrics | None,
    tracing: Tracing | None,
) -> None:
    providers = channels.providers
    observers = build_observers(metrics, tracing)
    send_loop = ExchangeLoop(SendTask(providers), database, channels, clock, observers.send)
    poll_loop = ExchangeLoop(PollTask(providers), database, channels, clock, observers.poll)
    lookup_loop = ExchangeLoop(LookupTask(providers), database, channels, clock, observers.lookup)
    credential_monitor = CredentialMonitor(database, providers)
    steps: list[Callable[[], float]] = [
        credential_monitor.step,
        send_loop.step,
        lambda: sweep_requests(database, channels.providers, clock),
        poll_loop.step,
        lookup_loop.step,
        partial(mark_overdue_jobs, database),
        partial(move_counts, database),
        partial(count_activity, database, metrics.count_activity if metrics else None),
        lambda: apply_retentions(database, list_retentions(channels.providers)),
    ]
    if PROVIDER_NAME in channels:
        steps.append(partial(queue_notifications, database))
    renew: Callable[[], float] = channels.rate_limiter.renew
    if metrics:
        metrics.watch_exchanges({"send": send_loop, "poll": poll_loop, "lookup": lookup_loop}, channels.rate_limiter)
        steps.append(metrics.measure_event_loop)
        renew, *steps = (metrics.watch(step) for step in (renew, *steps))

    def apply(configured: ConfiguredProviders) -> None:
        new = settings.configure(configured)
        # Without a pause in between, so that no other greenlet sees a part of the change.
        channels.configure(new.send_targets, _build_callback_urls(new))
        for loop in (send_loop, poll_loop, lookup_loop):
            loop.configure(channels)
        credential_monitor.configure(channels.providers)
        if metrics:
            metrics.configure(channels.providers)
        renewal_due.set()

    drained, renewal_due = Event(), Event()
    renewal = gevent.spawn(_repeat, renew, drained, renewal_due)
    gevent.signal_handler(signal.SIGHUP, ProviderReloader(settings.configured, apply).reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    report_no_providers(settings.configured, os.environ)
    _log.info("worker.started", providers=list_base_names(channels), accounts=_count_accounts(channels))
    try:
        gevent.joinall([gevent.spawn(_repeat, step, stopping) for step in steps], raise_error=True)
        _log.info("worker.drain_started")
        channels.rate_limiter.stop()
        loops = (send_loop, poll_loop, lookup_loop)
        for loop in loops:
            loop.stop()
        drain_by = time.monotonic() + _DRAIN_TIMEOUT_S
        for loop in loops:
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


def _count_accounts(names: Iterable[str]) -> int:
    return sum(split_account(name).account is not None for name in names)


def _repeat(step: Callable[[], float], stopping: Event, due: Event | None = None) -> None:
    """Call `step` until `stopping` is set, with the seconds that it returns between calls; log errors and go on.

    Set `due` to have it called before.
    """
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
        if due is None:
            stopping.wait(interval)
        else:
            gevent.wait([stopping, due], timeout=interval, count=1)
            due.clear()
