"""The commands that start processes: `demo`, `serve`, `web` and `worker`; and `migrate`, which must run before them."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
import structlog

from receiver.cli.demo import run_demo
from receiver.cli.errors import FAILED, report_errors
from receiver.cli.generated_secrets import load_or_create_secret
from receiver.cli.process_group import ProcessGroup, StopRequested, stop_on_signals
from receiver.cli.processes import WEB, WORKER, run_process
from receiver.cli.ready_message import print_ready, wait_until_web_answers
from receiver.devtools.embedded import EmbeddedPostgres
from receiver.logs import configure_logs, configure_requested_logs, is_json_requested
from receiver.ports import PortUnavailable, check_port
from receiver.settings import DATABASE_VARIABLES, Settings, load_settings
from receiver.store.migrate import migrate as apply_migrations

_HOST = "127.0.0.1"
_MAX_PRINTED_URLS = 20
_ADMIN_KEY_FILE, _SECRET_KEY_FILE = "admin_key", "secret_key"
"""The files below `RECEIVER_HOME` of the secrets that `serve` makes."""

_log = structlog.get_logger(__name__)


@click.command()
@click.option(
    "--requests", default=200, show_default=True, type=click.IntRange(1, 100_000), help="The number of requests."
)
@click.option("--seed", default=1, show_default=True, help="The seed of the sandbox provider's misbehavior.")
@click.option("--keep", is_flag=True, help="Keep everything running afterwards; print the URL and key.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def demo(requests: int, seed: int, keep: bool, as_json: bool) -> None:
    """Run the whole service against a misbehaving provider.

    Starts Postgres, the web process, a worker and the sandbox provider on this machine. At the end, compares the
    sandbox's ledger with Postgres. Exits 0 only if they agree.
    """
    with report_errors(), stop_on_signals():
        agrees = run_demo(os.environ, requests=requests, seed=seed, keep=keep, as_json=as_json)
    sys.exit(0 if agrees else FAILED)


@click.command()
def serve() -> None:
    """Run the whole service, for development.

    Runs Postgres, the migrations, web and worker in the foreground until it is stopped. Postgres is an embedded one
    unless DATABASE_URL is set; its DATABASE_URL is printed for other commands, such as audit. An API key and
    RECEIVER_SECRET_KEY are made at the first start unless they are set, and kept in RECEIVER_HOME.
    """
    configure_requested_logs(os.environ)
    with report_errors(), _exit_normally_on_signals():
        settings = load_settings(os.environ)
        _configure_logs(settings)
        _check_ports(settings)
        with _provide_database(settings) as dsn, ProcessGroup() as processes:
            if applied := apply_migrations(dsn):
                _log.info("migrations.applied", count=len(applied))
            key = settings.admin_key or load_or_create_secret(settings.home / _ADMIN_KEY_FILE)
            secret_keys = ",".join(settings.secret_keys) or load_or_create_secret(settings.home / _SECRET_KEY_FILE)
            variables = {"DATABASE_URL": dsn, "RECEIVER_ADMIN_KEY": key, "RECEIVER_SECRET_KEY": secret_keys}
            environ = {**os.environ, **variables}
            processes.start("web", [*WEB, "--bind", f"{_HOST}:{settings.port}"], environ)
            processes.start("worker", WORKER, environ)
            _pass_on_hangup(processes)
            wait_until_web_answers(_HOST, settings.port, processes)
            _print_urls(settings, dsn, key)
            processes.watch()


@click.command()
def web() -> None:
    """Run the web process under gunicorn.

    Serves the callback endpoint, /v1, /docs and /metrics.
    """
    configure_requested_logs(os.environ)
    with report_errors(), _exit_normally_on_signals():
        run_process(WEB)


@click.command()
def worker() -> None:
    """Run the worker process.

    Sends requests, polls jobs without a final status, and enforces deadlines.
    """
    configure_requested_logs(os.environ)
    with report_errors(), _exit_normally_on_signals():
        run_process(WORKER)


@click.command()
def migrate() -> None:
    """Migrate the database to the current schema."""
    configure_requested_logs(os.environ)
    with report_errors(), stop_on_signals():
        settings = load_settings(os.environ, required=DATABASE_VARIABLES)
        _configure_logs(settings)
        applied = apply_migrations(settings.dsn)
        click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to apply", err=True)


def _configure_logs(settings: Settings) -> None:
    """Write logs to stderr, among messages for people unless JSON is requested."""
    configure_logs(settings.log_level, settings.log_format, captures_stderr=is_json_requested(os.environ))


def _check_ports(settings: Settings) -> None:
    """Check the ports of web and worker, before a database is started.

    Raises:
        PortUnavailable: a port is in use, or may not be used.
    """
    check_port("PORT", _HOST, settings.port)
    if settings.metrics_port == settings.port:
        raise PortUnavailable("RECEIVER_METRICS_PORT: Must differ from PORT.")
    if settings.metrics_port is not None:
        check_port("RECEIVER_METRICS_PORT", "0.0.0.0", settings.metrics_port)  # noqa: S104  # where the worker listens


def _pass_on_hangup(processes: ProcessGroup) -> None:
    """Pass SIGHUP on to the processes, which reload their settings, unless the terminal was closed."""
    stop, has_terminal = signal.getsignal(signal.SIGHUP), _has_terminal()

    def pass_on(number: int, frame: FrameType | None) -> None:
        if has_terminal and not _has_terminal() and callable(stop):
            stop(number, frame)
        processes.signal(number)

    signal.signal(signal.SIGHUP, pass_on)


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextmanager
def _provide_database(settings: Settings) -> Iterator[str]:
    """Yield a DSN: `DATABASE_URL`, or that of the embedded Postgres, which runs until the context ends."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with EmbeddedPostgres(settings.home) as postgres:
        yield postgres.dsn


def _print_urls(settings: Settings, dsn: str, key: str) -> None:
    """Print what a developer needs: among the logs, unless these are JSON, in which nothing secret may be."""
    is_text = not is_json_requested(os.environ)
    if settings.database_url is None:
        click.echo(f"DATABASE_URL={shlex.quote(dsn)}  (embedded; for `receiver audit` and others)", err=is_text)
    for name in list(settings.providers)[:_MAX_PRINTED_URLS]:
        click.echo(f"callback URL of {name}: {settings.callback_url(name) or 'none'}", err=is_text)
    if len(settings.providers) > _MAX_PRINTED_URLS:
        click.echo("`receiver provider check --offline` prints the callback URLs of all accounts", err=is_text)
    if not settings.providers:
        click.echo("no provider is configured; add one to receiver.toml", err=is_text)
    if settings.admin_key is None:
        click.echo(f"key: {key}  (kept in {settings.home / _ADMIN_KEY_FILE})", err=is_text)
    sign_in = "your RECEIVER_ADMIN_KEY" if settings.admin_key else "this key"
    print_ready(f"http://{_HOST}:{settings.port}", sign_in, err=is_text)


@contextmanager
def _exit_normally_on_signals() -> Iterator[None]:
    """End the context normally on SIGINT and SIGTERM, which are no failure of a process that runs until stopped."""
    with stop_on_signals():
        try:
            yield
        except StopRequested as stop:
            click.echo(f"stopped by {stop}", err=True)
