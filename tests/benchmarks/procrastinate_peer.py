"""procrastinate, as a peer: the endpoint verifies a callback and defers a job in Postgres, a worker stores it.

As its documentation recommends: the endpoint opens the app synchronously, tasks are asynchronous, several run at once,
and jobs that succeeded are deleted.
"""

import os

from flask import Flask, Response, request
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from psycopg_pool import AsyncConnectionPool

from tests.benchmarks.environment import query
from tests.benchmarks.naive import INSERT_CALLBACK, POOL_SIZE, UPSERT_JOB, is_signed, parse_jobs

WORKER = (
    *("-m", "procrastinate", "--log-level", "error", "--app", "tests.benchmarks.procrastinate_peer.app", "worker"),
    *("--concurrency", str(POOL_SIZE), "--delete-jobs", "successful"),
)
_DSN = os.environ.get("DATABASE_URL", "")

app = App(connector=PsycopgConnector(conninfo=_DSN, min_size=4, max_size=POOL_SIZE))
_pool = AsyncConnectionPool(_DSN, min_size=1, max_size=POOL_SIZE, open=False)


def create_app() -> Flask:
    """Return the endpoint."""
    flask_app = Flask(__name__, static_folder=None)
    app.open()
    flask_app.add_url_rule("/callbacks/<provider>", view_func=_receive, methods=["POST"])
    return flask_app


def create_tables(dsn: str) -> None:
    """Create the tables and functions of procrastinate."""
    with App(connector=SyncPsycopgConnector(conninfo=dsn)).open() as schema_app:
        schema_app.schema_manager.apply_schema()


def count_queued(dsn: str) -> int:
    """Return the number of callbacks that no worker has stored; the jobs of stored ones are deleted."""
    (queued,) = query(dsn, b"SELECT count(*) FROM procrastinate_jobs")
    return int(queued)


def _receive(provider: str) -> Response:
    body = request.get_data()
    if not is_signed(request.headers, body):
        return Response(status=401)
    store.defer(provider=provider, message_id=request.headers["webhook-id"], body=body.decode())
    return Response(status=200)


async def _store(provider: str, message_id: str, body: str) -> None:
    """Store a callback in a transaction of its own."""
    await _pool.open()
    async with _pool.connection() as connection:
        inserted = await connection.execute(INSERT_CALLBACK, [message_id, provider, body.encode()])
        if inserted.rowcount:
            for job in parse_jobs(provider, body.encode()):
                await connection.execute(UPSERT_JOB, job)


store = app.task(_store)
