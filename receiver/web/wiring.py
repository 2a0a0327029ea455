"""What the app's views work with, made once per process and found through the current app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from receiver.inbound.guard import Guardian
from receiver.inbound.receive import Inbox
from receiver.providers.base import Provider
from receiver.settings import Settings
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.web.keyring import Keyring
from receiver.web.meters import Meters
from receiver.web.waiting import Waiters

_KEY = "receiver"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What one web process works with: its settings and store, and what it keeps in memory."""

    settings: Settings
    database: Database
    clock: Clock
    inbox: Inbox
    guardian: Guardian
    keyring: Keyring
    waiters: Waiters
    meters: Meters

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


def install(app: Flask, wired: Wiring) -> None:
    """Give an app its wiring."""
    app.extensions[_KEY] = wired


def wiring_of(app: Flask) -> Wiring:
    """Give an app's wiring."""
    return cast(Wiring, app.extensions[_KEY])


def wiring() -> Wiring:
    """Give the current app's wiring."""
    return wiring_of(current_app)
