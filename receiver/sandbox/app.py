"""The sandbox's HTTP API: takes messages, tells states, shows the ledger.

It runs under gevent.pywsgi only, whose way of treating errors and sockets it uses to withhold answers.
"""

import errno
import hmac
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn

import orjson
from flask import Flask, Response, abort, request
from gevent import GreenletExit
from gevent.socket import wait_read
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from receiver.sandbox.callbacks import CallbackSender
from receiver.sandbox.envelopes import build_result
from receiver.sandbox.ledger import Ledger
from receiver.sandbox.responses import Intake, Message
from receiver.sandbox.scripts import ResponseDelivery

HANG_SECONDS = 30.0


class MessageSchema(Schema):
    """The body of `POST /v1/messages`."""

    class Meta:
        unknown = EXCLUDE

    client_reference = fields.String(required=True, validate=validate.Length(min=1))
    to = fields.List(fields.String(), required=True, validate=validate.Length(min=1))
    text = fields.String(required=True)
    callback_url = fields.Url(required=True, schemes={"http", "https"}, require_tld=False)


MESSAGE_SCHEMA = MessageSchema()


def create_app(ledger: Ledger, callbacks: CallbackSender, api_key: str) -> Flask:
    """Give the API of one run."""
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    _serve_clients(app, ledger, callbacks, api_key)
    _serve_truth(app, ledger, callbacks)
    return app


def _serve_clients(app: Flask, ledger: Ledger, callbacks: CallbackSender, api_key: str) -> None:
    intake = Intake(ledger)
    wanted = f"Bearer {api_key}".encode()

    @app.before_request
    def authenticate() -> None:
        given = request.headers.get("Authorization", "").encode()
        if request.path.startswith("/v1/") and not hmac.compare_digest(given, wanted):
            abort(_json({"error": "unknown API key"}, HTTPStatus.UNAUTHORIZED))

    @app.post("/v1/messages")
    def submit() -> Response:
        reply = intake.reply_to(_message(), request.headers.get("Idempotency-Key"), time.time())
        callbacks.begin(reply.jobs)
        if reply.conduct is ResponseDelivery.HANG:
            _wait_for_hangup(HANG_SECONDS)
        if reply.conduct is not ResponseDelivery.ANSWER:
            _drop_connection()
        return _json(reply.body, reply.status, reply.headers)

    @app.get("/v1/messages/<reference>")
    def state(reference: str) -> Response:
        job = ledger.jobs.get(reference)
        if job is None:
            return _json({"error": "unknown message"}, HTTPStatus.NOT_FOUND)
        return _json(build_result(job, *job.state_at(time.time())))


def _serve_truth(app: Flask, ledger: Ledger, callbacks: CallbackSender) -> None:
    @app.get("/ledger")
    def whole_ledger() -> Response:
        return _json(ledger.as_json(callbacks.pending))

    @app.get("/ledger/totals")
    def ledger_totals() -> Response:
        return _json(ledger.totals(callbacks.pending))

    @app.get("/healthz")
    def health() -> Response:
        return _json({"status": "ok"})


def _json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = b"" if body is None else orjson.dumps(body)
    return Response(content, status, headers, mimetype="application/json")


def _message() -> Message:
    """Give the message in the request's body; answers 400 where there is none."""
    try:
        body: dict[str, Any] = MESSAGE_SCHEMA.loads(request.get_data(as_text=True))
    except (ValidationError, ValueError) as fault:
        abort(_json({"error": str(fault)}, HTTPStatus.BAD_REQUEST))
    return Message(body["client_reference"], tuple(body["to"]), body["callback_url"])


def _wait_for_hangup(seconds: float) -> None:
    """Return when the client closes its connection, after so many seconds, or when the server stops."""
    connection = request.environ["wsgi.input"].rfile
    with suppress(TimeoutError, GreenletExit):
        wait_read(connection.fileno(), timeout=seconds)


def _drop_connection() -> NoReturn:
    """End the request without a byte: pywsgi takes this error for a client that is gone, and closes the connection."""
    raise BrokenPipeError(errno.EPIPE, "dropped as scripted")
