"""gunicorn's settings for the web process; `receiver web` has validated the environment before.

gunicorn's master reads this file, and its workers are patched for gevent only after the fork. A module that decides on
import how to wait, as psycopg does, must not be imported here: every wait for Postgres would block a whole worker.
"""

import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from receiver.configured_providers import SETTINGS_EXIT_CODE, SettingsError, load_variables
from receiver.garbage_collection import limit_garbage_collection
from receiver.logs import configure_logs, get_message_stream, log_greenlet_errors
from receiver.ports import PortUnavailable, check_port
from receiver.web.held_providers import held_providers
from receiver.web.metrics.multiprocess_directory import MultiprocessDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn's heartbeat file: a memory file system never blocks
_INHERITANCE_VARIABLES = frozenset({"GUNICORN_PID", "GUNICORN_FD", "LISTEN_PID"})

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "receiver.web.server.worker.Worker"
worker_connections = 8_000  # more than may wait for a job or for their client, so that callbacks always find room
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
http_parser = "python"  # the one that limits all headers together
limit_request_line = 8_190  # gunicorn's maximum: long filters fit; a longer line is 414
forwarder_headers = ""  # gunicorn would take the path from a header SCRIPT_NAME or PATH_INFO of a local client
secure_scheme_headers: dict[str, str] = {}
sendfile = False
graceful_timeout = 11  # seconds; a worker itself waits for 8, and then commits what has arrived
max_requests = 500_000
max_requests_jitter = 50_000
control_socket_disable = True
logger_class = "receiver.web.gunicorn_log.EventLogger"
_variables, _ = load_variables(os.environ)
loglevel = _variables.get("log_level", "INFO").lower()

# Each connection is an open file, and the usual soft limit is 1,024.
_MAX_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))

_metrics_directory = MultiprocessDirectory()

# Before gunicorn logs anything; the workers inherit it.
configure_logs(_variables.get("log_level", "INFO"), _variables.get("log_format", "json"))


def pre_request(_: Any, __: Any) -> None:
    """Log nothing: gunicorn itself would log the path, of which a callback's token is a part."""


def on_starting(server: Any) -> None:
    """Check the port and read the configuration file; end the process if the port is taken or the file has faults."""
    try:
        _check_ports(server)
        held_providers.load()
    except PortUnavailable as error:
        get_message_stream(os.environ).write(f"error: {error}\n")
        sys.exit(1)
    except SettingsError as error:
        get_message_stream(os.environ).write(f"{error.report}\n")
        sys.exit(SETTINGS_EXIT_CODE)


def _check_ports(server: Any) -> None:
    """Check the ports to listen on, which gunicorn itself would try to bind for some seconds.

    Ports that are inherited, of systemd or of a master that this one replaces, are open already.
    """
    if server.cfg.reuse_port or not _INHERITANCE_VARIABLES.isdisjoint(os.environ):
        return
    for address in server.cfg.address:
        if isinstance(address, tuple):
            check_port("PORT", *address)


def when_ready(server: Any) -> None:
    """Create the directory in which the workers count, and handle SIGHUP, before the first worker is forked.

    On SIGHUP gunicorn itself would replace all workers, which closes connections; ours read their providers again.
    """
    _metrics_directory.create()
    server.handle_hup = partial(_reload_providers, server)


def _reload_providers(server: Any) -> None:
    """Read the configuration file again, and have the workers do the same unless it has a fault."""
    if held_providers.reload():
        server.kill_workers(signal.SIGHUP)


def post_worker_init(worker: Any) -> None:
    """Limit a worker's connections, set its endpoints, and release waiting clients when it is to stop."""
    context = _get_context(worker)
    if context is not None:
        worker.limit_connections(context.settings.connection_limits)
        worker.endpoints = _build_direct_endpoints(worker.wsgi)
        context.metrics.watch_connections(worker.connections)
        context.job_waiters.release_when(lambda: not worker.alive)
        context.followers.release_when(lambda: not worker.alive)
        _reload_on_hangup(context)
        limit_garbage_collection()


def _build_direct_endpoints(app: Any) -> Any:
    # Imported late, see above.
    from receiver.web.app import build_direct_endpoints  # noqa: PLC0415

    return build_direct_endpoints(app)


def _reload_on_hangup(context: Any) -> None:
    """Read the configuration file again on SIGHUP, also if the signal arrived while the worker was starting."""
    # Imported late, see above.
    import gevent  # noqa: PLC0415

    from receiver.reload import ProviderReloader  # noqa: PLC0415

    gevent.signal_handler(signal.SIGHUP, ProviderReloader(context.settings.configured, context.use).reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def post_fork(_: Any, __: Any) -> None:
    """Log the errors of greenlets, and reset the signal handlers, so that a signal during its start ends a new worker.

    Until a worker sets handlers of its own it inherits the master's, which swallow the signal: the master would then
    wait for the worker until `graceful_timeout`. SIGHUP is delivered once the worker can reload its settings.
    """
    log_greenlet_errors()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def worker_exit(_: Any, worker: Any) -> None:
    """Commit the pending callbacks of an ending worker and close its connections."""
    context = _get_context(worker)
    if context is not None:
        context.close()


def child_exit(server: Any, worker: Any) -> None:
    """Merge the metrics of an ended worker."""
    try:
        _metrics_directory.merge_worker(worker.pid)
    except Exception:  # whatever it is, metrics must not end the master
        server.log.exception("cannot merge the metrics of worker %s", worker.pid)


def on_exit(_: Any) -> None:
    """Remove the directory in which the workers counted."""
    _metrics_directory.remove()


def _get_context(worker: Any) -> Any:
    """Return the `AppContext` of a worker, or None if the worker serves another app or could not load the app."""
    return getattr(getattr(worker, "wsgi", None), "extensions", {}).get("receiver")
