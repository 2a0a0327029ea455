"""The arguments of the Procfile's processes, and running one of them."""

import os
import sys
from typing import NoReturn

from receiver.configured_providers import ConfiguredProviders, SettingsError
from receiver.settings import SERVICE_VARIABLES, load_settings

WORKER = ("-m", "receiver.worker")
WEB = ("-m", "gunicorn", "--config", "python:receiver.web.gunicorn_conf", "receiver.web.app:create_app()")


def run_process(arguments: tuple[str, ...]) -> NoReturn:
    """Replace this process by `python ARGUMENTS`, once its environment is valid.

    That process reads the configuration file and reports its faults, so that many accounts are not read twice.

    Raises:
        SettingsError: with the faults of the environment, and then also those of the configuration file.
    """
    try:
        load_settings(os.environ, required=SERVICE_VARIABLES, configured=ConfiguredProviders({}))
    except SettingsError:
        load_settings(os.environ, required=SERVICE_VARIABLES)
        raise
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own interpreter and modules
