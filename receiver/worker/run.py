"""The worker process: wires the store, the providers' clients and the loops, runs until told to stop, then drains."""

import signal
import time
from collections.abc import Callable
from functools import partial

import gevent
import structlog
from gevent.event import Event

from receiver.domain.errors import ReceiverError
from receiver.exchange.channels import Channels
from receiver.exchange.credentials import CredentialMonitor
from receiver.exchange.library_checks import check_geventhttpclient
from receiver.followup.deadlines import mark_overdue_jobs
from receiver.followup.lookup import build_lookup_loop
from receiver.followup.poll import build_poll_loop
from receiver.outbound.dispatch import SendLoop
from receiver.outbound.notifications import queue_notifications
from receiver.providers.webhook import NAME
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import Database

_DRAIN = 20.0
_AFTER_A_FAULT = 1.0

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, dsn: str) -> None:
    """Send, ask and keep deadlines until SIGINT or SIGTERM; what is in hand by then is finished and recorded."""
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        gevent.signal_handler(number, stopping.set)
    work(settings, dsn, stopping)


def work(settings: Settings, dsn: str, stopping: Event) -> None:
    """Run the worker's loops until `stopping` is set, then drain."""
    check_geventhttpclient()
    database = Database(dsn)
    clock = Clock(database)
    callback_urls = {name: settings.callback_url(name) for name in settings.sent_to}
    try:
        with Channels(database, settings.sent_to, callback_urls) as channels:
            _work(database, channels, clock, stopping)
    finally:
        clock.close()
        database.close()


def _work(database: Database, channels: Channels, clock: Clock, stopping: Event) -> None:
    dispatcher = SendLoop(database, channels, clock)
    polls = build_poll_loop(database, channels, clock)
    lookups = build_lookup_loop(database, channels, clock)
    watch = CredentialMonitor(database, {name: channel.provider for name, channel in channels.items()})
    steps: list[Callable[[], float]] = [
        watch.step,
        dispatcher.step,
        dispatcher.sweep,
        polls.step,
        lookups.step,
        partial(mark_overdue_jobs, database),
    ]
    if NAME in channels:
        steps.append(partial(queue_notifications, database))
    drained = Event()
    renewing = gevent.spawn(_repeat, channels.rate_limiter.renew, drained)
    _log.info("worker.started", providers=sorted(channels))
    try:
        gevent.joinall([gevent.spawn(_repeat, step, stopping) for step in steps], raise_error=True)
        _log.info("worker.draining")
        # What waits for its turn is put back: sent now, it might not be answered before we are gone.
        channels.rate_limiter.stop()
        drained_by = time.monotonic() + _DRAIN
        for part in (dispatcher, polls, lookups):
            part.drain(max(drained_by - time.monotonic(), 0.0))
    finally:
        drained.set()
        renewing.join()


def _repeat(step: Callable[[], float], stopping: Event) -> None:
    """Call `step` until `stopping` is set; it tells how long to rest. A fault is reported and tried again."""
    while not stopping.is_set():
        try:
            rest = step()
        except ReceiverError as error:
            _log.warning("worker.step_failed", error=str(error))
            rest = _AFTER_A_FAULT
        except Exception:
            _log.exception("worker.step_broken")
            rest = _AFTER_A_FAULT
        stopping.wait(rest)
