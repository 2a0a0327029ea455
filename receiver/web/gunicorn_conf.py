"""gunicorn's settings for the web process; the environment has been validated by `receiver web` before.

gunicorn's master reads this file, and its workers are made of greenlets only after their fork. What chooses at import
how to wait, as psycopg does, must not be imported here: every wait for Postgres would then stop a whole worker.
"""

import os
import signal
from pathlib import Path
from typing import Any

_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn's heartbeat file: a memory file system never blocks

bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "gevent"
worker_connections = 1_000
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
keepalive = 5  # a worker that stops waits for idle connections as long as this
graceful_timeout = 30
max_requests = 500_000
max_requests_jitter = 50_000
control_socket_disable = True
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()


def post_fork(_: Any, __: Any) -> None:
    """Let a worker that is told to stop while it still starts end at once.

    Until it sets handlers of its own it has the master's, which swallow the signal: the master would then wait for it
    until `graceful_timeout`.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def worker_exit(_: Any, worker: Any) -> None:
    """Commit what waits and close the connections of a worker that ends."""
    app = getattr(worker, "wsgi", None)
    wired = getattr(app, "extensions", {}).get("receiver")
    if wired is not None:
        wired.close()
