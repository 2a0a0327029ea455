"""The sandbox's HTTP API: accepts messages, returns their states, and returns the ledger.

It runs only under gevent.pywsgi: it relies on that server's handling of errors and sockets to withhold responses.
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

HANG_S = 30.0


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
    """Return the WSGI application of one run."""
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    _add_client_routes(app, ledger, callbacks, api_key)
    _add_ledger_routes(app, ledger, callbacks)
    return app


def _add_client_routes(app: Flask, ledger: Ledger, callbacks: CallbackSender, api_key: str) -> None:
    intake = Intake(ledger)
    expected = f"Bearer {api_key}".encode()

    @app.before_request
    def authenticate() -> None:
        credentials = request.headers.get("Authorization", "").encode()
        if request.path.startswith("/v1/") and not hmac.compare_digest(credentials, expected):
            abort(_build_response({"error": "unknown API key"}, HTTPStatus.UNAUTHORIZED))

    @app.post("/v1/messages")
    def submit() -> Response:
        response = intake.respond(_parse_message(), request.headers.get("Idempotency-Key"), time.time())
        callbacks.start(response.jobs)
        if response.delivery is ResponseDelivery.HANG:
            _wait_for_hangup(HANG_S)
        if response.delivery is not ResponseDelivery.NORMAL:
            _drop_connection()
        return _build_response(response.body, response.status, response.headers)

    @app.get("/v1/messages/<reference>")
    def get_state(reference: str) -> Response:
        job = ledger.jobs.get(reference)
        if job is None:
            return _build_response({"error": "unknown message"}, HTTPStatus.NOT_FOUND)
        return _build_response(build_result(job, *job.get_state(time.time())))


def _add_ledger_routes(app: Flask, ledger: Ledger, callbacks: CallbackSender) -> None:
    @app.get("/ledger")
    def get_ledger() -> Response:
        return _build_response(ledger.as_document(callbacks.pending))

    @app.get("/ledger/totals")
    def get_totals() -> Response:
        return _build_response(ledger.build_totals(callbacks.pending))

    @app.get("/healthz")
    def check_health() -> Response:
        return _build_response({"status": "ok"})


def _build_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = b"" if body is None else orjson.dumps(body)
    return Response(content, status, headers, mimetype="application/json")


def _parse_message() -> Message:
    """Return the message in the request's body; abort with 400 if there is none."""
    try:
        body: dict[str, Any] = MESSAGE_SCHEMA.loads(request.get_data(as_text=True))
    except (ValidationError, ValueError) as error:
        abort(_build_response({"error": str(error)}, HTTPStatus.BAD_REQUEST))
    return Message(body["client_reference"], tuple(body["to"]), body["callback_url"])


def _wait_for_hangup(seconds: float) -> None:
    """Wait until the client closes the connection, the time is over, or the server stops."""
    connection = request.environ["wsgi.input"].rfile
    with suppress(TimeoutError, GreenletExit):
        wait_read(connection.fileno(), timeout=seconds)


def _drop_connection() -> NoReturn:
    """End the request without a response: pywsgi treats this error as a lost client and closes the connection."""
    raise BrokenPipeError(errno.EPIPE, "dropped as scripted")
