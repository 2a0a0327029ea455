"""The app factory: the one place where the web process is put together."""

import os

from flask import Flask

from receiver.inbound.documents import Documents
from receiver.inbound.guard import Guardian, GuardLog
from receiver.inbound.receive import Inbox
from receiver.logs import configure_logs
from receiver.settings import Settings, load_settings
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.web.callbacks import CallbackEndpoint
from receiver.web.docs import documentation
from receiver.web.health import health
from receiver.web.keyring import Keyring
from receiver.web.meters import Meters
from receiver.web.metrics import metrics
from receiver.web.problems import register_problems
from receiver.web.v1 import api
from receiver.web.waiting import Waiters
from receiver.web.wiring import Wiring, install


def create_app(settings: Settings | None = None) -> Flask:
    """Make the app of one web process; call it after the process was forked.

    Args:
        settings: read from the environment unless given; `database_url` must be set.

    Raises:
        SettingsError: the environment or the file has faults.
    """
    settings = settings or load_settings(os.environ)
    configure_logs(settings.log_level, settings.log_format)
    if settings.database_url is None:
        raise ValueError("create_app needs settings.database_url; `receiver web` supplies the embedded Postgres's")
    app = Flask(__name__, static_folder=None)
    database = Database(settings.database_url)
    clock = Clock(database)
    inbox, waiters = Inbox(settings.database_url), Waiters(database)
    wired = Wiring(
        settings,
        database,
        clock,
        inbox,
        Guardian(GuardLog(database), Documents()),
        Keyring(database, settings.admin_key, settings.rate_limit),
        waiters,
        Meters(settings.database_url, settings.providers.keys(), inbox, waiters),
    )
    install(app, wired)
    for blueprint in (api.blueprint, health, metrics, documentation(settings)):
        app.register_blueprint(blueprint)
    register_problems(app)
    app.wsgi_app = CallbackEndpoint(wired, app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to put WSGI ahead
    return app
