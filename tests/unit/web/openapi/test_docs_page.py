"""The reference page: complete, accessible, and without scripts."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask

from receiver.providers.registry import build_provider
from receiver.web.openapi.docs import build_docs_blueprint
from receiver.web.v1 import api
from tests.support.factories import settings
from tests.support.openapi import AUTHENTICATED, CONFIGURATIONS, DOCUMENT, NOTIFY, iterate_operations


class PageParser(HTMLParser):
    """Collects the parts of a page that the tests check."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.links += [attributes["href"] or ""] if tag == "a" else []
        self.loads += [value or "" for name, value in attrs if name in {"src", "srcset", "style", "action", "poster"}]
        self.loads += [attributes["href"] or ""] if "href" in attributes and tag != "a" else []
        assert not any(name.startswith("on") for name in attributes)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> PageParser:
    app = Flask("receiver.web.app", static_folder=None)
    configured = settings("", Path(), CONFIGURATIONS["all"], notify=NOTIFY)
    app.register_blueprint(build_docs_blueprint(lambda: configured))
    response = app.test_client().get("/docs")
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    parser = PageParser()
    parser.feed(response.text)
    return parser


def test_page_shows_every_operation(page: PageParser) -> None:
    text = " ".join("".join(page.text).split())
    for name, operation in iterate_operations(DOCUMENT):
        method, _, path = name.partition(" ")
        assert operation["operationId"] in page.ids
        assert f"{method.upper()} {path}" in text
        assert f"Call {operation['operationId']} with curl" in text
        for status in operation["responses"]:
            assert f"{status} " in text
    for name in (*DOCUMENT["webhooks"], *DOCUMENT["components"]["schemas"]):
        assert name in text
    assert text.count("Requires a key with the scope") == len(api.operations)


def test_page_begins_with_the_submission_of_a_request(page: PageParser) -> None:
    names = {operation["operationId"] for _, operation in iterate_operations(DOCUMENT)}
    shown = [each for each in page.ids if each in names]
    assert shown[:4] == ["submit_request", "browse_requests", "submit_batch", "show_request"]
    assert shown.index("act_on_requests") + 1 == shown.index("track_job")


def test_page_loads_nothing_and_needs_no_script(page: PageParser) -> None:
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    style = "".join(page.text)
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_of_page_has_a_target(page: PageParser) -> None:
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "/openapi.json" or link.removeprefix("#") in page.ids


def test_page_has_landmarks_and_skip_link(page: PageParser) -> None:
    assert {"main", "nav", "header", "h1", "caption", "title"} <= set(page.tags)
    assert page.links[0] == "#content"


def test_configuration_is_escaped_on_page() -> None:
    odd = build_provider(
        "odd", {**AUTHENTICATED, "operations": {"render": {"path": "/v1", "required": ["<script>alert(1)"]}}}
    )
    app, configured = Flask("receiver.web.app", static_folder=None), settings("", Path(), {"odd": odd})
    app.register_blueprint(build_docs_blueprint(lambda: configured))
    assert "<script>" not in app.test_client().get("/docs").text
