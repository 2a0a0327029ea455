"""What the app's views work with, made once per process and found through the current app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from receiver.inbound.authentication import CallbackAuthenticator
from receiver.inbound.receive import CallbackBatcher
from receiver.providers.base import Provider
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.web.api_keys import ApiKeyAuthenticator
from receiver.web.callback_metrics import CallbackMetrics
from receiver.web.waiting import JobWaiters

_KEY = "receiver"


@dataclass(frozen=True, slots=True)
class AppContext:
    """What one web process works with: its settings and store, and what it keeps in memory."""

    settings: Settings
    database: Database
    clock: Clock
    inbox: CallbackBatcher
    guardian: CallbackAuthenticator
    keyring: ApiKeyAuthenticator
    waiters: JobWaiters
    meters: CallbackMetrics

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self.settings.providers

    def close(self) -> None:
        """Answer those who wait, commit what waits, then close every connection."""
        self.waiters.close()
        self.inbox.close()
        self.guardian.close()
        self.meters.close()
        self.clock.close()
        self.database.close()


def install_context(app: Flask, context: AppContext) -> None:
    """Give an app its wiring."""
    app.extensions[_KEY] = context


def get_app_context(app: Flask) -> AppContext:
    """Give an app's wiring."""
    return cast(AppContext, app.extensions[_KEY])


def current_context() -> AppContext:
    """Give the current app's wiring."""
    return get_app_context(current_app)
