"""gunicorn's settings for the web process; the environment has been validated by `receiver web` before.

gunicorn's master reads this file, and its workers are made of greenlets only after their fork. What chooses at import
how to wait, as psycopg does, must not be imported here: every wait for Postgres would then stop a whole worker.
"""

import os
import resource
import signal
from pathlib import Path
from typing import Any

from receiver.web.multiprocess_directory import MultiprocessDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn's heartbeat file: a memory file system never blocks

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "gevent"
worker_connections = 6_000  # more than may wait for a job, so that these leave room for callbacks
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
limit_request_line = 8_190  # the most that gunicorn takes: long filters fit, and what does not is its own 414
keepalive = 5  # a worker that stops waits for idle connections as long as this
graceful_timeout = 30
max_requests = 500_000
max_requests_jitter = 50_000
control_socket_disable = True
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()

# Each connection is an open file, and the usual soft limit is 1,024 of them.
_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))

_counts = MultiprocessDirectory()


def when_ready(_: Any) -> None:
    """Make the place where the workers count, before the first of them is forked."""
    _counts.make()


def post_worker_init(worker: Any) -> None:
    """Let those who wait for a job be answered when their worker is told to stop."""
    context = _wiring_of(worker)
    if context is not None:
        context.waiters.leave_when(lambda: not worker.alive)


def post_fork(_: Any, __: Any) -> None:
    """Let a worker that is told to stop while it still starts end at once.

    Until it sets handlers of its own it has the master's, which swallow the signal: the master would then wait for it
    until `graceful_timeout`.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def worker_exit(_: Any, worker: Any) -> None:
    """Commit what waits and close the connections of a worker that ends."""
    context = _wiring_of(worker)
    if context is not None:
        context.close()


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a worker counted that has ended."""
    try:
        _counts.fold(worker.pid)
    except Exception:  # metrics must not end the master
        server.log.exception("what worker %s counted is not added up", worker.pid)


def on_exit(_: Any) -> None:
    """Remove the place where the workers counted."""
    _counts.remove()


def _wiring_of(worker: Any) -> Any:
    """Give the wiring of a worker, or None if it serves another app or could not load it."""
    return getattr(getattr(worker, "wsgi", None), "extensions", {}).get("receiver")
