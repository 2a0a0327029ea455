"""`/openapi.json` and `/docs`: the API's description for programs and for people. Neither asks for a key."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

import orjson
from flask import Blueprint, Response, render_template
from markupsafe import Markup

from receiver.settings import Settings
from receiver.web.docs_page import ReferencePage
from receiver.web.openapi import build_document
from receiver.web.v1 import api


def build_docs_blueprint(settings: Settings) -> Blueprint:
    """Give the blueprint that serves the descriptions; each is made when it is first asked for, and kept."""
    docs = Blueprint("docs", __name__)
    style = (files("receiver.web") / "templates/docs.css").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _policy(style),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @cache
    def document() -> bytes:
        return orjson.dumps(build_document(settings, api.operations))

    @cache
    def page() -> str:
        shown = ReferencePage(orjson.loads(document()))
        return render_template("docs.html", page=shown, style=Markup(style))  # noqa: S704  # our own style sheet

    @docs.get("/openapi.json")
    def show_openapi() -> Response:
        """Give the OpenAPI document."""
        return Response(document(), content_type="application/json")

    @docs.get("/docs")
    def show_docs() -> Response:
        """Give the document as a page for people."""
        return Response(page(), headers=headers, content_type="text/html; charset=utf-8")

    return docs


def _policy(style: str) -> str:
    """Give the Content-Security-Policy of a page that loads nothing; its one style is known by its hash."""
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    only = ["default-src 'none'", f"style-src 'sha256-{hashed}'"]
    return "; ".join([*only, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
