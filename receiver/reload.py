"""Reading the configuration file and the secrets that it names again, in a running process.

The environment of a process cannot change: only what comes from the file does, with its `file:` secrets. A file with a
fault is refused as a whole, and the settings in use stay.
"""

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from receiver.settings import SERVICE_VARIABLES, Settings, SettingsError, load_settings

_MAX_LOGGED = 20
_REMEDY = "correct the file, check it with `receiver provider check --offline`, and send SIGHUP again"

_log = structlog.get_logger(__name__)


class SettingsReloader:
    """Reads the settings of a process again on request; safe for use by several threads.

    Args:
        settings: the settings in use.
        apply: uses other settings from now on. Unchanged providers are the same objects as before.
    """

    def __init__(self, settings: Settings, apply: Callable[[Settings], None]) -> None:
        self._settings = settings
        self._apply = apply
        self._lock = threading.Lock()
        self._is_requested = False

    def reload(self) -> None:
        """Read the settings again and apply them; log the result. Requests during a reload cause one more."""
        self._is_requested = True
        with self._lock:
            if not self._is_requested:
                return
            self._is_requested = False
            try:
                loaded = load_settings(os.environ, required=SERVICE_VARIABLES, previous=self._settings)
            except SettingsError as error:
                faults = len(error.faults)
                _log.error("settings.reload_refused", faults=error.faults[:_MAX_LOGGED], count=faults, remedy=_REMEDY)
                return
            previous, providers = self._settings.providers, loaded.providers
            self._settings = replace(self._settings, providers=providers, digests=loaded.digests)
            self._apply(self._settings)
        changed = [name for name in providers if name in previous and providers[name] is not previous[name]]
        _log.info(
            "settings.reloaded",
            providers=len(providers),
            **_describe("added", providers.keys() - previous.keys()),
            **_describe("changed", changed),
            **_describe("removed", previous.keys() - providers.keys()),
        )


def _describe(name: str, names: Collection[str]) -> dict[str, object]:
    """Return fields of a log event: how many names there are, and the first of them."""
    return {name: len(names), f"{name}_names": sorted(names)[:_MAX_LOGGED]}
