"""`/openapi.json` and `/docs`: the API reference for programs and for people. Neither requires a key.

With a valid key they show more: the networks that providers call from, and the hosts of webhook notifications. With
`webhooks=false` the document has only the operations that clients call, for generators of clients.
"""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files

import orjson
from flask import Blueprint, Response, render_template
from markupsafe import Markup

from receiver.schemas.api.openapi import DocumentQuerySchema
from receiver.settings import Settings
from receiver.web.openapi.docs_page import ReferencePage
from receiver.web.openapi.document import build_document
from receiver.web.operations import has_unrestricted_key, load_document, parse_query
from receiver.web.v1 import api

_VARY = {"Vary": "Authorization"}
_QUERY = DocumentQuerySchema()


class _Reference:
    """The reference in each form, built when it is first needed and again when the settings have changed."""

    def __init__(self, get_settings: Callable[[], Settings]) -> None:
        self._get_settings = get_settings
        self._settings: Settings | None = None
        self._documents: dict[tuple[bool, bool], bytes] = {}
        self._pages: dict[bool, ReferencePage] = {}

    def build_document(self, *, is_public: bool, has_webhooks: bool = True) -> bytes:
        """Return the OpenAPI document as JSON."""
        settings = self._get_settings()
        if settings is not self._settings:
            self._settings, self._documents, self._pages = settings, {}, {}
        documents, form = self._documents, (is_public, has_webhooks)
        if form not in documents:
            document = build_document(settings, api.operations, is_public=is_public, has_webhooks=has_webhooks)
            documents[form] = orjson.dumps(document)
        return documents[form]

    def build_page(self, *, is_public: bool) -> ReferencePage:
        """Return the document as a page for people."""
        document = self.build_document(is_public=is_public)
        pages = self._pages
        if is_public not in pages:
            pages[is_public] = ReferencePage(orjson.loads(document))
        return pages[is_public]


def build_docs_blueprint(get_settings: Callable[[], Settings]) -> Blueprint:
    """Build the blueprint that serves the reference for the settings in use."""
    reference = _Reference(get_settings)
    docs = Blueprint("docs", __name__, template_folder="templates")
    style = (files("receiver.web.openapi") / "templates/docs.css").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _build_policy(style),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @docs.get("/openapi.json")
    def show_openapi() -> Response:
        """Return the OpenAPI document."""
        query = load_document(_QUERY, parse_query())
        content = reference.build_document(is_public=not has_unrestricted_key(), has_webhooks=query["webhooks"])
        return Response(content, headers=_VARY, content_type="application/json")

    @docs.get("/docs")
    def show_docs() -> Response:
        """Return the reference as a page for people."""
        page = reference.build_page(is_public=not has_unrestricted_key())
        content = render_template("docs.html", page=page, style=Markup(style))  # noqa: S704  # our own style sheet
        return Response(content, headers=headers | _VARY, content_type="text/html; charset=utf-8")

    return docs


def _build_policy(style: str) -> str:
    """Build the Content-Security-Policy of a page that loads nothing; its one style is allowed by its hash."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sources = ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    return "; ".join([*sources, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
