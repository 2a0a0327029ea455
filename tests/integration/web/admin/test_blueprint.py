"""The frame of the admin pages: forms of other sites, response headers, and pages of errors."""

from pathlib import Path

import pytest

from receiver.web.admin.blueprint import HEADERS
from tests.support.admin_pages import Browser, browse, browse_app
from tests.support.api_calls import UNKNOWN_ID, create_key, send
from tests.support.http import Server
from tests.support.metrics import serve_app
from tests.support.processes import ADMIN_KEY, Web, block_database


def test_form_without_the_token_of_its_session_is_refused(web: Web, browser: Browser) -> None:
    other = browse(web)
    foreign_token = other.sign_in(ADMIN_KEY).find_form("/admin/logout").fields["csrf_token"]
    for fields in ({}, {"csrf_token": ""}, {"csrf_token": foreign_token}, {"csrf_token": "ü"}):
        assert browser.post("/admin/logout", fields).status == 403
    assert browser.open("/admin/").title.startswith("Overview")


def test_form_of_another_site_is_refused(browser: Browser) -> None:
    fields = browser.open("/admin/").find_form("/admin/logout").fields
    assert browser.post("/admin/logout", fields, sec_fetch_site="cross-site").status == 403
    assert browser.post("/admin/logout", fields, sec_fetch_site="same-origin").status == 302


def test_sign_in_from_another_site_is_refused(web: Web) -> None:
    assert browse(web).post("/admin/login", {"key": ADMIN_KEY}).status == 403


@pytest.mark.parametrize("body", [b"csrf_token=%ff", b"\xff", b"a=1&" * 101])
def test_invalid_form_is_refused(browser: Browser, body: bytes) -> None:
    response = browser.request("POST", "/admin/logout", body)
    assert (response.status, response.headers["content-type"]) == (400, "text/html; charset=utf-8")


def test_large_form_is_refused(browser: Browser) -> None:
    response = browser.request("POST", "/admin/logout", b"a" * (1 << 21))
    assert (response.status, response.headers["content-type"]) == (413, "text/html; charset=utf-8")


def test_every_response_has_the_headers(browser: Browser) -> None:
    responses = {
        "page": browser.request("GET", "/admin/"),
        "invalid filter": browser.request("GET", "/admin/jobs?status=odd"),
        "unknown page": browser.request("GET", "/admin/unknown"),
        "unknown object": browser.request("GET", f"/admin/jobs/{UNKNOWN_ID}"),
        "not a form": browser.request("POST", "/admin/jobs", b""),
        "redirect": browser.request("GET", "/admin"),
    }
    statuses = {name: response.status for name, response in responses.items()}
    assert statuses == {
        "page": 200,
        "invalid filter": 400,
        "unknown page": 404,
        "unknown object": 404,
        "not a form": 403,
        "redirect": 302,
    }
    for name, response in responses.items():
        assert response.headers["content-type"] == "text/html; charset=utf-8", name
        assert {key.lower(): value for key, value in HEADERS.items()}.items() <= response.headers.items(), name
        assert response.headers["cache-control"] == "no-store", name
        assert response.headers["x-content-type-options"] == "nosniff", name


def test_pages_load_nothing_from_elsewhere_and_nothing_inline(browser: Browser) -> None:
    page = browser.open("/admin/jobs")
    for forbidden in ("http://", "https://", " style=", "<style", "onclick", "javascript:"):
        assert forbidden not in page.source, forbidden


def test_unknown_page_links_to_the_overview(browser: Browser) -> None:
    page = browser.open("/admin/nothing/here")
    assert page.status == 404
    assert "No such page." in page.text
    assert page.find_link("Overview") == "/admin/"


@pytest.mark.parametrize("scope", ["read", "submit"])
def test_navigation_shows_what_the_key_may_see(web: Web, api: Server, scope: str) -> None:
    browser = browse(web)
    page = browser.sign_in(create_key(api, scopes=[scope]))
    assert {"/admin/", "/admin/jobs"} <= set(page.urls)


def test_key_of_certain_providers_sees_no_others(web: Web, api: Server, browser: Browser) -> None:
    job = send(api, "POST", "/v1/jobs", {"provider": "sandbox", "reference": "of-the-sandbox"}).json
    other = browse(web)
    other.sign_in(create_key(api, scopes=["admin"], providers=["another"]))
    assert browser.open(f"/admin/jobs/{job['id']}").status == 200
    assert other.open(f"/admin/jobs/{job['id']}").status == 404


def test_unavailable_store_is_a_page_with_the_time_to_try_again(server: str, dsn: str, tmp_path: Path) -> None:
    with serve_app(dsn, tmp_path) as client:
        browser = browse_app(client.application)
        assert browser.sign_in(ADMIN_KEY).status == 200
        with block_database(server, dsn):
            page = browser.open("/admin/jobs")
            assert page.status == 503
            assert "The database is unavailable" in page.text
            response = browser.request("GET", f"/admin/jobs/{UNKNOWN_ID}")
            assert (response.status, "retry-after" in response.headers) == (503, True)
