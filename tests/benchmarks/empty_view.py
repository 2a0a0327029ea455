"""The ceiling of `intake`: a Flask view that reads a callback's body and discards it."""

from typing import TYPE_CHECKING

from flask import Flask, Response, request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app() -> "WSGIApplication":
    """Return the WSGI application."""
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/callbacks/<name>", view_func=_discard_body, methods=["POST"])
    return app.wsgi_app


def _discard_body(**_: str) -> Response:
    request.get_data(cache=False)
    return Response(status=200)
