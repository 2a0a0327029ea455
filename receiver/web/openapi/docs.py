"""`/openapi.json` and `/docs`: the API reference for programs and for people. Neither requires a key.

With a valid key they show more: the networks that providers call from, and the hosts of webhook notifications.
"""

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
from receiver.web.operations import has_unrestricted_key
from receiver.web.v1 import api

_VARY = {"Vary": "Authorization"}


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
    def document(*, is_public: bool) -> bytes:
        return orjson.dumps(build_document(settings, api.operations, is_public=is_public))

    @cache
    def page(*, is_public: bool) -> str:
        reference = ReferencePage(orjson.loads(document(is_public=is_public)))
        return render_template("docs.html", page=reference, style=Markup(style))  # noqa: S704  # our own style sheet

    @docs.get("/openapi.json")
    def show_openapi() -> Response:
        """Return the OpenAPI document."""
        content = document(is_public=not has_unrestricted_key())
        return Response(content, headers=_VARY, content_type="application/json")

    @docs.get("/docs")
    def show_docs() -> Response:
        """Return the reference as a page for people."""
        content = page(is_public=not has_unrestricted_key())
        return Response(content, headers=headers | _VARY, content_type="text/html; charset=utf-8")

    return docs


def _build_policy(style: str) -> str:
    """Build the Content-Security-Policy of a page that loads nothing; its one style is allowed by its hash."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sources = ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    return "; ".join([*sources, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
