"""The ceiling of `intake` and `submit`: a Flask view that reads a body and discards it."""

from typing import TYPE_CHECKING

from flask import Flask, Response, request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app() -> "WSGIApplication":
    """Return the WSGI application."""
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/callbacks/<name>", "callbacks", _discard_body, methods=["POST"])
    app.add_url_rule("/v1/requests", "requests", _discard_body, methods=["POST"])
    return app.wsgi_app


def _discard_body(**_: str) -> Response:
    request.get_data(cache=False)
    return Response(status=200)
