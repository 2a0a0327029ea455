"""`/openapi.json` and `/docs`: the API reference for programs and for people. Neither requires a key."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

import orjson
from flask import Blueprint, Response, render_template
from markupsafe import Markup

from receiver.settings import Settings
from receiver.web.openapi.docs_page import ReferencePage
from receiver.web.openapi.document import build_document
from receiver.web.v1 import api


def build_docs_blueprint(settings: Settings) -> Blueprint:
    """Build the blueprint that serves the reference; each form is built on its first call and cached."""
    docs = Blueprint("docs", __name__, template_folder="templates")
    style = (files("receiver.web.openapi") / "templates/docs.css").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _build_policy(style),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @cache
    def document() -> bytes:
        return orjson.dumps(build_document(settings, api.operations))

    @cache
    def page() -> str:
        reference = ReferencePage(orjson.loads(document()))
        return render_template("docs.html", page=reference, style=Markup(style))  # noqa: S704  # our own style sheet

    @docs.get("/openapi.json")
    def show_openapi() -> Response:
        """Return the OpenAPI document."""
        return Response(document(), content_type="application/json")

    @docs.get("/docs")
    def show_docs() -> Response:
        """Return the reference as a page for people."""
        return Response(page(), headers=headers, content_type="text/html; charset=utf-8")

    return docs


def _build_policy(style: str) -> str:
    """Build the Content-Security-Policy of a page that loads nothing; its one style is allowed by its hash."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sources = ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    return "; ".join([*sources, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
