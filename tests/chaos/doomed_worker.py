"""`python -m tests.chaos.doomed_worker ORDERS ANSWERS`: the worker, again and again, each time with a death in store.

A warm launcher: everything is imported once, and each worker is a fork of it made before any of gevent's hubs. It reads
orders, one line of JSON each, from the descriptor ORDERS, and answers on ANSWERS with the worker's process id and then
how it ended.
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
from tests.chaos.points import POINTS, die_later, toll_of  # noqa: E402

_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")


def main() -> None:
    """Carry out orders until there are no more."""
    settings = load_settings(os.environ)
    for provider in settings.providers.values():
        provider.fingerprint  # noqa: B018  # remembered by all forks
    with os.fdopen(int(sys.argv[1])) as orders, os.fdopen(int(sys.argv[2]), "w") as responses:
        for line in orders:
            worker = _fork()
            if worker == 0:
                _work(settings, json.loads(line))
            print(worker, file=responses, flush=True)
            _, status = _waitpid(worker, 0)
            print(os.waitstatus_to_exitcode(status), file=responses, flush=True)


def _work(settings: Settings, order: dict[str, Any]) -> None:
    """Be a worker with a death in store, and end as it does."""
    try:
        configure_logs(settings.log_level, settings.log_format)
        if order["point"] in POINTS:
            _, patch = POINTS[order["point"]]
            patch(toll_of(order["passage"]))
        elif order["after"] is not None:
            die_later(order["after"])
        run_worker(settings, settings.database_url or "")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
