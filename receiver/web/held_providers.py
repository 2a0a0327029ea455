"""The providers that gunicorn's master holds for its workers, so that these need not read the configuration file.

A worker that is forked later, in the place of another one, starts with the last file that had no fault, whatever the
file contains by then. The workers share the memory of what they inherit.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import os

from receiver.configured_providers import ConfiguredProviders, load_providers, report_no_providers
from receiver.reload import try_reload


class HeldProviders:
    """The providers of this process and of the processes that are forked from it.

    Attributes:
        configured: the providers; None in a process that is not forked from gunicorn's master.
    """

    def __init__(self) -> None:
        self.configured: ConfiguredProviders | None = None

    def load(self) -> None:
        """Read the configuration file for the first time; log a warning if it declares no provider.

        Raises:
            SettingsError: the file has a fault.
        """
        self.configured = load_providers(os.environ)
        report_no_providers(self.configured, os.environ)

    def reload(self) -> bool:
        """Read the configuration file again; return whether it has no fault. Otherwise log the faults."""
        if self.configured is None:
            return True
        reloaded = try_reload(self.configured)
        self.configured = reloaded or self.configured
        return reloaded is not None


held_providers = HeldProviders()
