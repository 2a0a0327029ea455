"""The worker process: wires the store, the providers' clients and the loops, runs until told to stop, then drains."""

import signal
from collections.abc import Callable

import gevent
import structlog
from gevent.event import Event

from receiver.client import ProviderClient
from receiver.domain.errors import ReceiverError
from receiver.followup.deadlines import pass_deadlines
from receiver.followup.lookup import looker_up
from receiver.followup.poll import poller
from receiver.outbound.dispatch import Dispatcher
from receiver.settings import Settings
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
    database = Database(dsn)
    clients = {name: ProviderClient(provider) for name, provider in settings.providers.items()}
    callback_urls = {name: settings.callback_url(name) for name in settings.providers}
    dispatcher = Dispatcher(database, clients, settings.providers, callback_urls)
    polls = poller(database, clients, settings.providers)
    lookups = looker_up(database, clients, settings.providers)
    steps = (dispatcher.step, dispatcher.sweep, polls.step, lookups.step, lambda: pass_deadlines(database))
    _log.info("worker.started", providers=sorted(settings.providers))
    try:
        gevent.joinall([gevent.spawn(_repeat, step, stopping) for step in steps], raise_error=True)
        _log.info("worker.draining")
        dispatcher.drain(_DRAIN)
        polls.drain(_DRAIN)
        lookups.drain(_DRAIN)
    finally:
        for client in clients.values():
            client.close()
        database.close()


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
