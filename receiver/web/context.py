"""The objects that the app's views work with, created once per process and attached to the Flask app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from receiver.configured_providers import ConfiguredProviders
from receiver.inbound.authentication import CallbackAuthenticator
from receiver.inbound.receive import CallbackBatcher
from receiver.outbound.submission_batcher import SubmissionBatcher
from receiver.providers.base import Provider
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.store.group_commit import close_together
from receiver.store.reading import Reader
from receiver.tracing.loading import Tracing
from receiver.web.auth.api_keys import ApiKeyAuthenticator
from receiver.web.metrics.callback_metrics import CallbackMetrics
from receiver.web.tailing import Followers
from receiver.web.waiting import JobWaiters

_EXTENSION = "receiver"


@dataclass(slots=True)
class AppContext:
    """The settings, the store and the in-memory state of one web process.

    Whoever reads the settings several times for one answer may see two versions of them, see `use`.
    """

    settings: Settings
    database: Database
    clock: Clock
    batcher: CallbackBatcher
    submissions: SubmissionBatcher
    callback_authenticator: CallbackAuthenticator
    api_keys: ApiKeyAuthenticator
    job_waiters: JobWaiters
    followers: Followers
    metrics: CallbackMetrics
    reader: Reader
    tracing: Tracing | None = None

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self.settings.providers

    def use(self, configured: ConfiguredProviders) -> None:
        """Use other providers for the calls and callbacks that begin from now on."""
        self.settings = self.settings.configure(configured)
        self.metrics.configure(configured.providers.keys())

    def close(self) -> None:
        """Answer waiting clients, commit pending callbacks and submissions, then close all connections."""
        self.job_waiters.close()
        self.followers.close()
        close_together(self.batcher, self.submissions)
        self.callback_authenticator.close()
        self.metrics.close()
        if self.tracing:
            self.tracing.close()
        self.clock.close()
        self.reader.close()
        self.database.close()


def install_context(app: Flask, context: AppContext) -> None:
    """Attach a context to an app."""
    app.extensions[_EXTENSION] = context


def get_app_context(app: Flask) -> AppContext:
    """Return the context of an app."""
    return cast(AppContext, app.extensions[_EXTENSION])


def current_context() -> AppContext:
    """Return the context of the current app."""
    return get_app_context(current_app)
