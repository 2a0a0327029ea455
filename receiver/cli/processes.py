"""The arguments of the Procfile's processes, and running one of them."""

import os
import sys
from typing import NoReturn

from receiver.settings import SERVICE_VARIABLES, load_settings

WORKER = ("-m", "receiver.worker")
WEB = ("-m", "gunicorn", "--config", "python:receiver.web.gunicorn_conf", "receiver.web.app:create_app()")


def run_process(arguments: tuple[str, ...]) -> NoReturn:
    """Replace this process by `python ARGUMENTS`, once its settings are valid.

    Raises:
        SettingsError: the environment or the configuration file is invalid.
    """
    load_settings(os.environ, required=SERVICE_VARIABLES)
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own interpreter and modules
