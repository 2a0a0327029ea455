"""The ceiling of `intake`: a Flask view that takes a callback's body and does nothing with it."""

from typing import TYPE_CHECKING

from flask import Flask, Response, request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app() -> "WSGIApplication":
    """Make the app; gunicorn is given its WSGI side, as it has no wiring to close."""
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/callbacks/<name>", view_func=_take_nothing, methods=["POST"])
    return app.wsgi_app


def _take_nothing(**_: str) -> Response:
    request.get_data(cache=False)
    return Response(status=200)
