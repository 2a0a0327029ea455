"""`/healthz` and `/readyz`: liveness without the database, readiness with it."""

import threading
import time

from flask import Blueprint, Response

from receiver.store.database import Database, StoreUnavailable

_CHECK_INTERVAL_S = 1.0


class ReadinessCheck:
    """Whether the database can be read, checked at most once a second, whoever asks and how often."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._checked_at = float("-inf")
        self._error: str | None = None

    def check(self) -> None:
        """Check the database, or repeat the result of the last check; callers wait for a check that is running.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        with self._lock:
            if time.monotonic() >= self._checked_at + _CHECK_INTERVAL_S:
                self._error = self._find_error()
                self._checked_at = time.monotonic()
            error = self._error
        if error is not None:
            raise StoreUnavailable(error)

    def _find_error(self) -> str | None:
        try:
            with self._database.connection() as connection:
                connection.execute("SELECT 1 FROM requests LIMIT 1")
        except StoreUnavailable as error:
            return str(error)
        return None


def build_health_blueprint(database: Database) -> Blueprint:
    """Build the blueprint that serves `/healthz` and `/readyz`."""
    blueprint = Blueprint("health", __name__)
    readiness = ReadinessCheck(database)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        """Return 200 while the process responds."""
        return Response("ok\n", content_type="text/plain")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        """Return 200 while the process can read the database, else 503."""
        readiness.check()
        return Response("ready\n", content_type="text/plain")

    return blueprint
