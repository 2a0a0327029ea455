"""The processes of the demo: Postgres, the sandbox provider, the web process and a worker, all real and temporary."""

import secrets
import shutil
import socket
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psycopg
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPSocketPoolResponse

from receiver.cli.process_group import ProcessGroup, defer_signals
from receiver.cli.processes import WEB, WORKER
from receiver.devtools.embedded import EmbeddedPostgres
from receiver.devtools.programs import inherit_environment
from receiver.devtools.scratch import scratch_database
from receiver.domain.errors import ReceiverError
from receiver.store.migrate import migrate

# A signal may interrupt the constructor of a response, whose destructor would then print that these are missing.
HTTPSocketPoolResponse._sock = HTTPSocketPoolResponse._pool = None  # noqa: SLF001  # they have no public names

RETRY_PROVIDER, HOLD_PROVIDER = "sandbox", "sandbox-hold"
_READY_TIMEOUT_S = 30.0

_CONFIG = """\
[providers.{name}]
kind = "sandbox"
base_url = "env:SANDBOX_URL"
auth = {{ scheme = "bearer", secret = "env:SANDBOX_API_KEY" }}
signature = {{ scheme = "standard-webhooks", secrets = ["env:SANDBOX_SECRET"] }}
max_concurrency = 32
timeout = 2
retry = {{ attempts = 6, base = 0.2, max = 2 }}
deadline = 8
poll = {{ first_after = 1, max_interval = 2, give_up_after = 60 }}
on_ambiguous = "{on_ambiguous}"
idempotent = {idempotent}
"""


class NotReady(ReceiverError):
    """A process of the demo could not be started, or was not ready in time."""


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """The running processes, and how to reach them: the API at `url` with `key`, the sandbox, and the database."""

    url: str
    key: str
    sandbox_url: str
    dsn: str
    processes: ProcessGroup


@contextmanager
def start_environment(environ: Mapping[str, str], seed: int) -> Iterator[DemoEnvironment]:
    """Start all processes on free ports with a temporary home directory; stop and delete everything at the end.

    If `DATABASE_URL` is set, a scratch database is created on that server, else an embedded Postgres is started.
    """
    with ExitStack() as stack:
        with defer_signals():
            home = Path(tempfile.mkdtemp(prefix="receiver-demo-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        dsn = stack.enter_context(_provide_database(environ.get("DATABASE_URL"), home))
        migrate(dsn)
        processes = stack.enter_context(ProcessGroup())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_024))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        secret = "whsec_" + b64encode(secrets.token_bytes(24)).decode()
        shared = {"SANDBOX_API_KEY": secrets.token_urlsafe(), "SANDBOX_SECRET": secret}
        # The sandbox is a provider: it gets what a provider knows, and no other secrets.
        sandbox = ["-m", "receiver.sandbox", "--seed", str(seed)]
        announcement = processes.start(
            "sandbox", sandbox, inherit_environment(environ) | shared, log=home / "sandbox.log", announces=True
        )
        sandbox_url = orjson.loads(announcement)["url"]
        key = secrets.token_urlsafe(32)
        service_environ = {
            **environ,
            **shared,
            "DATABASE_URL": dsn,
            "RECEIVER_CONFIG": str(_write_config(home)),
            "RECEIVER_PUBLIC_URL": url,
            "RECEIVER_ADMIN_KEY": key,
            "RECEIVER_SECRET_KEY": secrets.token_urlsafe(32),
            "SANDBOX_URL": sandbox_url,
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "json",
        }
        bind = f"fd://{listener.fileno()}"
        web = [*WEB, "--bind", bind]
        processes.start("web", web, service_environ, log=home / "web.log", pass_fds=[listener.fileno()])
        processes.start("worker", WORKER, service_environ, log=home / "worker.log")
        environment = DemoEnvironment(url, key, sandbox_url, dsn, processes)
        _wait_until_ready(environment)
        yield environment


@contextmanager
def _provide_database(url: str | None, home: Path) -> Iterator[str]:
    if url is None:
        with EmbeddedPostgres(home) as postgres:
            yield postgres.dsn
        return
    try:
        with scratch_database(url) as dsn:
            yield dsn
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotReady(f"DATABASE_URL: Cannot create a scratch database: {error}.") from error


def _write_config(home: Path) -> Path:
    path = home / "receiver.toml"
    tables = [
        _CONFIG.format(name=RETRY_PROVIDER, on_ambiguous="retry", idempotent="true"),
        _CONFIG.format(name=HOLD_PROVIDER, on_ambiguous="hold", idempotent="false"),
    ]
    path.write_text("\n".join(tables))
    return path


def _wait_until_ready(environment: DemoEnvironment) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    client = HTTPClient.from_url(environment.url, connection_timeout=_READY_TIMEOUT_S, network_timeout=_READY_TIMEOUT_S)
    try:
        while client.get("/readyz").status_code != 200:
            environment.processes.check(wait=0.1)
            if time.monotonic() > deadline:
                raise NotReady(f"The web process was not ready within {_READY_TIMEOUT_S:g} s.")
    except OSError as error:
        environment.processes.check(wait=1.0)
        raise NotReady(f"Cannot connect to the web process: {error}.") from error
    finally:
        client.close()
