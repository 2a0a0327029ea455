"""Celery with Redis, as a peer: the endpoint verifies a callback and enqueues it, a worker stores it.

As Celery's guide to optimizing recommends for many short tasks: results are ignored, messages are prefetched, and the
endpoint has a pool of connections to the broker. Messages are acknowledged late, so that a killed worker loses none.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init
from flask import Flask, Response, request
from psycopg import Connection, connect
from redis import Redis

from tests.benchmarks.naive import is_signed, store_callback

WORKER = (
    "-m",
    "celery",
    "--app",
    "tests.benchmarks.celery_peer",
    "worker",
    "--concurrency",
    "2",
    "--loglevel",
    "ERROR",
)

app = Celery("celery_peer", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    broker_pool_limit=64,
    broker_connection_retry_on_startup=True,
)
_connections: list[Connection[Any]] = []


def create_app() -> Flask:
    """Return the endpoint."""
    flask_app = Flask(__name__, static_folder=None)
    flask_app.add_url_rule("/callbacks/<provider>", view_func=_receive, methods=["POST"])
    return flask_app


def count_queued(url: str) -> int:
    """Return the number of callbacks in the queue, and with workers that have not acknowledged them."""
    with Redis.from_url(url) as redis:
        return int(redis.llen(app.conf.task_default_queue)) + int(redis.hlen("unacked"))


def _receive(provider: str) -> Response:
    body = request.get_data()
    if not is_signed(request.headers, body):
        return Response(status=401)
    store.delay(provider, request.headers["webhook-id"], body.decode())
    return Response(status=200)


def _store(provider: str, message_id: str, body: str) -> None:
    """Store a callback in a transaction of its own."""
    (connection,) = _connections
    with connection.transaction():
        store_callback(connection, provider, message_id, body.encode())


def _connect(**_: Any) -> None:
    _connections.append(connect(os.environ["DATABASE_URL"], autocommit=True))


store = app.task(_store)
worker_process_init.connect(_connect, weak=False)
