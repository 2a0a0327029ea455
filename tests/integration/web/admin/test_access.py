"""Sign-in and sign-out of the admin pages, and where the sign-in goes on to."""

import pytest

from tests.support.admin_pages import browse
from tests.support.api_calls import create_key
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web


@pytest.mark.parametrize(
    ("path", "heading"), [("/admin/", "Overview"), ("/admin", "Overview"), ("/admin/jobs?status=failed", "Jobs")]
)
def test_sign_in_goes_on_to_the_page(web: Web, path: str, heading: str) -> None:
    browser = browse(web)
    page = browser.submit(browser.open(path), "/admin/login", key=f" {ADMIN_KEY}\n")
    assert page.title.startswith(heading)
    assert page.url.endswith(path.removeprefix("/admin") or "/")
    assert "bootstrap" in page.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/admin/",
        "//evil.example/admin/",
        "/\\evil.example/admin/",
        "\\\\evil.example",
        "/admin/\nSet-Cookie: a=b",
        "/admin.evil.example/",
        "javascript:alert(1)",
        "/v1/jobs",
        "http:admin",
        "https://receiver.example/admin/jobs",
    ],
)
def test_sign_in_goes_on_to_no_other_site(web: Web, target: str) -> None:
    browser = browse(web)
    page = browser.open("/admin/login")
    response = browser.post("/admin/login", page.find_form("/login").fields | {"key": ADMIN_KEY, "next": target})
    assert (response.status, response.headers["location"]) == (302, "/admin/")


def test_invalid_key_is_named_at_its_field(web: Web) -> None:
    browser = browse(web)
    for key, status, message in (("", 400, "API key: Missing data for"), ("wrong", 401, "Invalid API key: unknown")):
        page = browser.submit(browser.open("/admin/jobs"), "/admin/login", key=key)
        assert page.status == status
        assert message in page.text
        assert page.find_form("/admin/login").fields["next"] == "/admin/jobs"
        assert page.find_form("/admin/login").fields["key"] == ""


def test_sign_in_says_where_a_key_comes_from(web: Web) -> None:
    text = browse(web).open("/admin/login").text
    assert "receiver key create or receiver serve printed, or the RECEIVER_ADMIN_KEY of the service" in text
    assert "receiver serve prints a key at the start" in text


def test_key_of_each_scope_signs_in(web: Web, api: Server) -> None:
    for scope in ("read", "submit", "admin"):
        page = browse(web).sign_in(create_key(api, scopes=[scope]))
        assert page.status == 200
        assert f"({scope})" in page.text


def test_assets_are_public_and_cached(web: Web) -> None:
    browser = browse(web)
    page = browser.open("/admin/login")
    for name, media_type in (("admin.css", "text/css"), ("admin.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        [url] = [part.split('"')[0] for part in page.source.split('="') if f"/static/{name}" in part.split('"')[0]]
        response = browser.request("GET", url)
        assert response.status == 200
        assert response.headers["content-type"].startswith(media_type)
        assert "immutable" in response.headers["cache-control"]
        assert "set-cookie" not in response.headers
    assert browser.request("GET", "/admin/static/admin.py").status == 404
