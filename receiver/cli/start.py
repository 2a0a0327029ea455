"""The commands that start processes: `demo`, `serve`, `web`, `worker`, and `migrate` before them."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from receiver.cli.demo import run_demo
from receiver.cli.errors import FAILED, report_errors
from receiver.cli.process_group import ProcessGroup, StopRequested, stop_on_signals
from receiver.cli.processes import WEB, WORKER, build_environment, provide_database, run_process
from receiver.settings import Settings, load_settings
from receiver.store.migrate import migrate as apply_migrations


@click.command()
@click.option("--requests", default=200, show_default=True, type=click.IntRange(1, 100_000), help="How many to submit.")
@click.option("--seed", default=1, show_default=True, help="Decides how the sandbox provider misbehaves.")
@click.option("--keep", is_flag=True, help="Stay up afterwards and print the URL and key.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def demo(requests: int, seed: int, keep: bool, as_json: bool) -> None:
    """Show the main job against a misbehaving provider.

    Everything runs on this machine: Postgres, the web process, a worker, and a provider that misbehaves on purpose.
    """
    with report_errors(), stop_on_signals():
        agrees = run_demo(os.environ, requests=requests, seed=seed, keep=keep, as_json=as_json)
    sys.exit(0 if agrees else FAILED)


@click.command()
def serve() -> None:
    """Run everything, for development.

    Postgres, migrations, web and worker run in the foreground until they are stopped.
    """
    with report_errors(), _until_stopped():
        settings = load_settings(os.environ)
        with provide_database(settings) as dsn, ProcessGroup() as fleet:
            apply_migrations(dsn)
            key = settings.admin_key or secrets.token_urlsafe(32)
            environ = build_environment(dsn, RECEIVER_ADMIN_KEY=key)
            fleet.start("web", [*WEB, "--bind", f"127.0.0.1:{settings.port}"], environ)
            fleet.start("worker", WORKER, environ)
            _say_where(settings, key)
            fleet.watch()


@click.command()
def web() -> None:
    """Run the web process, under gunicorn.

    It serves the callback endpoint, /v1, /docs and /metrics.
    """
    with report_errors(), _until_stopped():
        run_process(WEB, load_settings(os.environ))


@click.command()
def worker() -> None:
    """Run the worker process.

    It sends requests, asks about silent jobs and keeps deadlines.
    """
    with report_errors(), _until_stopped():
        run_process(WORKER, load_settings(os.environ))


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    with report_errors(), stop_on_signals():
        with provide_database(load_settings(os.environ)) as dsn:
            applied = apply_migrations(dsn)
        click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to apply", err=True)


def _say_where(settings: Settings, key: str) -> None:
    click.echo(f"API: http://127.0.0.1:{settings.port}/v1", err=True)
    if settings.admin_key is None:
        click.echo(f"key: {key}  (for this run; set RECEIVER_ADMIN_KEY to keep one)", err=True)
    for name in settings.providers:
        click.echo(f"callback URL of {name}: {settings.callback_url(name)}", err=True)
    if not settings.providers:
        click.echo("no provider is configured; declare one in receiver.toml", err=True)


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what runs until it is told to stop; to such a process that is no failure."""
    with stop_on_signals():
        try:
            yield
        except StopRequested as stopped:
            click.echo(f"stopped by {stopped}", err=True)
