"""`python -m tests.chaos.killable_worker ORDERS RESPONSES`: runs worker after worker, each with a kill point armed.

This launcher imports everything once; each worker is a fork of it, made before gevent creates a hub. It reads orders,
one JSON object per line, from the descriptor ORDERS, and writes to RESPONSES the worker's pid and then its exit code.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402  # after the patch
import os  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from receiver.logs import configure_logs  # noqa: E402
from receiver.settings import Settings, load_settings  # noqa: E402
from receiver.worker.run import run_worker  # noqa: E402
from tests.chaos.kill_points import KILL_POINTS, build_trigger, kill_later  # noqa: E402

# The patched functions would start a hub in this process, and every fork would inherit it.
_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")


def main() -> None:
    """Run a worker for each order until there are no more."""
    settings = load_settings(os.environ)
    for provider in settings.providers.values():
        provider.fingerprint  # noqa: B018  # cached here for all forks
    with os.fdopen(int(sys.argv[1])) as orders, os.fdopen(int(sys.argv[2]), "w") as responses:
        for line in orders:
            pid = _fork()
            if pid == 0:
                _run_worker(settings, json.loads(line))
            print(pid, file=responses, flush=True)
            _, status = _waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), file=responses, flush=True)


def _run_worker(settings: Settings, order: dict[str, Any]) -> None:
    """Arm the kill point of the order, run a worker and exit this process."""
    try:
        configure_logs(settings.log_level, settings.log_format)
        if order["point"] in KILL_POINTS:
            KILL_POINTS[order["point"]].arm(build_trigger(order["hit"]))
        elif order["after"] is not None:
            kill_later(order["after"])
        run_worker(settings, settings.dsn)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
