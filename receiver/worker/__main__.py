"""`python -m receiver.worker`: the worker process. gevent patches the standard library before any other import."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402  # after monkey.patch_all()
import signal  # noqa: E402
import sys  # noqa: E402

from receiver.configured_providers import SETTINGS_EXIT_CODE, SettingsError  # noqa: E402
from receiver.domain.errors import ReceiverError  # noqa: E402
from receiver.logs import configure_logs, configure_requested_logs, log_greenlet_errors  # noqa: E402
from receiver.settings import SERVICE_VARIABLES, load_settings  # noqa: E402
from receiver.worker.run import run_worker  # noqa: E402


def main() -> None:
    """Run the worker on `DATABASE_URL` until SIGINT or SIGTERM."""
    # Until the worker can reload its settings; otherwise the signal would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    configure_requested_logs(os.environ)
    try:
        settings = load_settings(os.environ, required=SERVICE_VARIABLES)
    except SettingsError as error:
        sys.stderr.write(f"{error.report}\n")
        sys.exit(SETTINGS_EXIT_CODE)
    configure_logs(settings.log_level, settings.log_format)
    log_greenlet_errors()
    try:
        run_worker(settings, settings.dsn)
    except ReceiverError as error:  # such as an unsupported version of a library; the message names the remedy
        sys.exit(str(error))


if __name__ == "__main__":
    main()
