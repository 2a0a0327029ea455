"""Reading the configuration file and the secrets that it names again, in a running process.

The environment of a process cannot change: only what comes from the file does, with its `file:` secrets. A file with a
fault is refused as a whole, and the providers in use stay.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import os
import threading
from collections.abc import Callable, Collection
from mmap import mmap

import structlog

from receiver.configured_providers import ConfiguredProviders, SettingsError, load_providers

_MAX_LOGGED = 20
_REMEDY = (
    "correct the file, check it with `receiver provider check --offline`, and send SIGHUP again. A running process "
    "does not see new environment variables: start it again, or use file:PATH instead of env:NAME"
)

_log = structlog.get_logger(__name__)


class ReloadState:
    """Whether the last reload succeeded, shared with the processes that are forked from this one.

    gunicorn's master reads the file, and only its workers serve metrics.
    """

    def __init__(self) -> None:
        self._flag = mmap(-1, 1)  # anonymous and shared
        self.succeeded = True

    @property
    def succeeded(self) -> bool:
        """Whether the last reload succeeded; True before the first one."""
        return bool(self._flag[0])

    @succeeded.setter
    def succeeded(self, value: bool) -> None:
        self._flag[0] = value


last_reload = ReloadState()
"""The state of this process and of those that are forked from it."""


class ProviderReloader:
    """Reads the providers of a process again on request; safe for use by several threads.

    Args:
        configured: the providers in use.
        apply: uses other providers from now on. Unchanged ones are the same objects as before.
    """

    def __init__(self, configured: ConfiguredProviders, apply: Callable[[ConfiguredProviders], None]) -> None:
        self._configured = configured
        self._apply = apply
        self._lock = threading.Lock()
        self._is_requested = False

    def reload(self) -> None:
        """Read the providers again and apply them; log the result. Requests during a reload cause one more."""
        self._is_requested = True
        with self._lock:
            if not self._is_requested:
                return
            self._is_requested = False
            previous = self._configured.providers
            reloaded = try_reload(self._configured)
            if reloaded is None:
                return
            self._configured = reloaded
            self._apply(reloaded)
        providers = reloaded.providers
        changed = [name for name in providers if name in previous and providers[name] is not previous[name]]
        _log.info(
            "settings.reloaded",
            providers=len(providers),
            **_describe("added", providers.keys() - previous.keys()),
            **_describe("changed", changed),
            **_describe("removed", previous.keys() - providers.keys()),
        )


def try_reload(configured: ConfiguredProviders) -> ConfiguredProviders | None:
    """Return the providers of the configuration file; log the faults of a file that has some, and return None."""
    try:
        reloaded = load_providers(os.environ, configured)
    except SettingsError as error:
        last_reload.succeeded = False
        faults = len(error.faults)
        _log.error("settings.reload_refused", faults=error.faults[:_MAX_LOGGED], count=faults, remedy=_REMEDY)
        return None
    last_reload.succeeded = True
    return reloaded


def _describe(name: str, names: Collection[str]) -> dict[str, object]:
    """Return fields of a log event: how many names there are, and the first of them."""
    return {name: len(names), f"{name}_names": sorted(names)[:_MAX_LOGGED]}
