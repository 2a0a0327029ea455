"""The app factory, the composition root of the web process."""

import os
from collections.abc import Sequence

from flask import Flask

from receiver.exchange.key_documents import KeyDocuments
from receiver.inbound.authentication import AuthLog, CallbackAuthenticator
from receiver.inbound.receive import CallbackBatcher
from receiver.outbound.submission_batcher import SubmissionBatcher
from receiver.settings import SERVICE_VARIABLES, Settings, load_settings
from receiver.signatures.public_keys import parse_key_document
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.store.reading import Reader, Replica
from receiver.tracing.loading import load_tracing
from receiver.web.access_log import install_access_log
from receiver.web.admin import admin
from receiver.web.admin.sessions import configure_sessions
from receiver.web.auth.api_keys import ApiKeyAuthenticator
from receiver.web.callbacks import CallbackEndpoint
from receiver.web.context import AppContext, get_app_context, install_context
from receiver.web.health import build_health_blueprint
from receiver.web.held_providers import held_providers
from receiver.web.metrics import views as metrics
from receiver.web.metrics.callback_metrics import CallbackMetrics
from receiver.web.openapi.docs import build_docs_blueprint
from receiver.web.paths import CanonicalPaths
from receiver.web.problems import register_error_handlers
from receiver.web.security_headers import add_security_headers
from receiver.web.server.request_ids import IdentifyRequests
from receiver.web.server.worker import DirectEndpoint
from receiver.web.submissions import SubmissionEndpoint
from receiver.web.tailing import Followers
from receiver.web.upgrades import IgnoreUpgrades
from receiver.web.v1 import api
from receiver.web.v1.requests import SUBMISSIONS
from receiver.web.waiting import JobWaiters


def create_app(settings: Settings | None = None) -> Flask:
    """Create the app of one web process; must be called after the process was forked.

    Args:
        settings: by default read from the environment, with the providers that gunicorn's master holds.

    Raises:
        SettingsError: the environment or the configuration file is invalid.
    """
    settings = settings or load_settings(os.environ, required=SERVICE_VARIABLES, configured=held_providers.configured)
    app = Flask(__name__, static_folder=None)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_map.merge_slashes = False  # a redirect of werkzeug's is no problem document, and clients may not follow it
    database = Database(settings.dsn, size=settings.database_pool_size, prepare=settings.database_prepare)
    replica = None
    if settings.database_read_url is not None:
        replica = Replica(
            settings.database_read_url, size=settings.database_pool_size, prepare=settings.database_prepare
        )
    reader = Reader(database, replica)
    clock = Clock(database)
    batcher, submissions, job_waiters = CallbackBatcher(database), SubmissionBatcher(database), JobWaiters(database)
    context = AppContext(
        settings,
        database,
        clock,
        batcher,
        submissions,
        CallbackAuthenticator(AuthLog(database), KeyDocuments(lambda document: bool(parse_key_document(document)))),
        ApiKeyAuthenticator(database, settings.admin_key, settings.rate_limit_per_minute),
        job_waiters,
        Followers(database),
        CallbackMetrics(
            database,
            reader,
            settings.providers.keys(),
            batcher=batcher,
            submissions=submissions,
            job_waiters=job_waiters,
        ),
        reader,
        load_tracing(os.environ, database),
    )
    install_context(app, context)
    configure_sessions(app, settings.secret_keys)
    for blueprint in (
        api.blueprint,
        build_health_blueprint(database.health),
        metrics.blueprint,
        build_docs_blueprint(lambda: context.settings),
        admin,
    ):
        app.register_blueprint(blueprint)
    register_error_handlers(app)
    install_access_log(app, context)
    app.after_request(add_security_headers)
    other_paths = CanonicalPaths(IgnoreUpgrades(app.wsgi_app))
    endpoint = CallbackEndpoint(context, other_paths)
    app.wsgi_app = IdentifyRequests(endpoint)  # type: ignore[method-assign]  # as Flask documents it
    return app


def build_direct_endpoints(app: Flask) -> Sequence[DirectEndpoint]:
    """Build the endpoints that answer callbacks and submissions in front of Flask."""
    context = get_app_context(app)
    submissions = [operation for operation in api.operations if operation.name in SUBMISSIONS]
    return CallbackEndpoint(context, app.wsgi_app), SubmissionEndpoint(context, submissions)
