"""One transaction per callback: the Flask endpoint that most services begin with, as a contender of benchmarks.

It verifies a Standard Webhooks signature, then inserts the callback and upserts its jobs in one transaction, on a
connection of psycopg's pool. Its tables are in the schema `naive` of the benchmark's database:

    create_tables(environment.dsn)
    with start_gunicorn(environment, "naive", NAIVE, workers) as web:
        send(web.port, callbacks, ...)
    callbacks, jobs = count_stored(environment.dsn)
"""

import hmac
import os
import time
from base64 import b64decode, b64encode
from contextlib import closing
from typing import Any

import orjson
from flask import Flask, Response, current_app, request
from psycopg import Connection
from psycopg_pool import ConnectionPool
from werkzeug.datastructures import Headers

from receiver.cli.processes import WEB
from receiver.store.connections import connect
from tests.benchmarks.environment import SECRET, query

NAIVE = (*WEB[:-1], "tests.benchmarks.naive:create_app()")
"""The arguments of python that serve `create_app` under the project's gunicorn."""

POOL_SIZE = 16
TOLERANCE_S = 300
STATUSES = {"DELIVERED": "succeeded", "UNDELIVERED": "failed", "EXPIRED": "failed"}

_KEY = b64decode(SECRET.removeprefix("whsec_"))
_TABLES = (
    "CREATE SCHEMA naive",
    """
    CREATE TABLE naive.callbacks (
        id text PRIMARY KEY, provider text NOT NULL, body bytea NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now())
    """,
    """
    CREATE TABLE naive.jobs (
        provider text, reference text, status text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (provider, reference))
    """,
)
INSERT_CALLBACK = """
INSERT INTO naive.callbacks (id, provider, body) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING
"""
UPSERT_JOB = """
INSERT INTO naive.jobs (provider, reference, status) VALUES (%s, %s, %s)
ON CONFLICT (provider, reference) DO UPDATE SET status = excluded.status, updated_at = now()
"""
_STORED = b"""
SELECT (SELECT count(*) FROM naive.callbacks), (SELECT count(*) FROM naive.jobs WHERE status = 'succeeded')
"""


def create_tables(dsn: str) -> None:
    """Create the schema `naive` and its tables."""
    with closing(connect(dsn)) as connection:
        for statement in _TABLES:
            connection.execute(statement)


def count_stored(dsn: str) -> tuple[int, int]:
    """Return the number of stored callbacks and of succeeded jobs."""
    callbacks, jobs = query(dsn, _STORED)
    return callbacks, jobs


def create_app() -> Flask:
    """Return the application, with a pool of connections to `DATABASE_URL`."""
    app = Flask(__name__, static_folder=None)
    pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE, open=True)
    app.extensions["pool"] = pool
    app.add_url_rule("/callbacks/<provider>", view_func=receive, methods=["POST"])
    return app


def receive(provider: str) -> Response:
    """Answer 200 once the callback is committed, or 401 if its signature is wrong."""
    body = request.get_data()
    if not is_signed(request.headers, body):
        return Response(status=401)
    with current_app.extensions["pool"].connection() as connection:
        store_callback(connection, provider, request.headers["webhook-id"], body)
    return Response(status=200)


def store_callback(connection: Connection[Any], provider: str, message_id: str, body: bytes) -> None:
    """Insert a callback and upsert its jobs, unless the callback is stored already; call within a transaction."""
    inserted = connection.execute(INSERT_CALLBACK, [message_id, provider, body])
    if inserted.rowcount:
        for job in parse_jobs(provider, body):
            connection.execute(UPSERT_JOB, job)


def parse_jobs(provider: str, body: bytes) -> list[tuple[str, str, str]]:
    """Return the parameters of `UPSERT_JOB` for each item of a callback."""
    items = orjson.loads(body)["results"]
    return [(provider, item["id"], STATUSES.get(item["state"], "in_progress")) for item in items]


def is_signed(headers: Headers, body: bytes) -> bool:
    """Return whether a callback has a current signature by the benchmark's secret."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    content = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    expected = "v1," + b64encode(hmac.digest(_KEY, content, "sha256")).decode()
    return hmac.compare_digest(expected, headers.get("webhook-signature", ""))
