"""gunicorn's settings for the web process; `receiver web` has validated the environment before.

gunicorn's master reads this file, and its workers are patched for gevent only after the fork. A module that decides on
import how to wait, as psycopg does, must not be imported here: every wait for Postgres would block a whole worker.
"""

import os
import resource
import signal
from pathlib import Path
from typing import Any

from receiver.web.metrics.multiprocess_directory import MultiprocessDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn's heartbeat file: a memory file system never blocks

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "gevent"
worker_connections = 6_000  # more than may wait for a job, so that callbacks always find room
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
limit_request_line = 8_190  # gunicorn's maximum: long filters fit; a longer line is gunicorn's own 414
keepalive = 5  # seconds, for which a stopping worker waits for idle connections too
graceful_timeout = 30
max_requests = 500_000
max_requests_jitter = 50_000
control_socket_disable = True
logger_class = "receiver.web.gunicorn_log.RedactingLogger"
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()

# Each connection is an open file, and the usual soft limit is 1,024.
_MAX_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))

_metrics_directory = MultiprocessDirectory()


def pre_request(_: Any, __: Any) -> None:
    """Log nothing: gunicorn itself would log the path, of which a callback's token is a part."""


def when_ready(_: Any) -> None:
    """Create the directory in which the workers count, before the first worker is forked."""
    _metrics_directory.create()


def post_worker_init(worker: Any) -> None:
    """Answer clients that wait for a job as soon as their worker is told to stop."""
    context = _get_context(worker)
    if context is not None:
        context.job_waiters.release_when(lambda: not worker.alive)


def post_fork(_: Any, __: Any) -> None:
    """Reset the signal handlers of a new worker, so that a signal during its start ends it at once.

    Until a worker sets handlers of its own it inherits the master's, which swallow the signal: the master would then
    wait for the worker until `graceful_timeout`.
    """
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
