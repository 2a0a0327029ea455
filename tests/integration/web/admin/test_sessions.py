"""Sessions of the admin pages: how they begin, how they end, and what the cookie is worth to others."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from receiver.web.admin.sessions import IDLE_S, LIFETIME_S
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.admin_pages import Browser, HtmlPage, browse, browse_app
from tests.support.api_calls import create_key, send
from tests.support.factories import settings
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web

COOKIE = "receiver_admin"
SECRET_KEY = "a-secret-key-of-tests"


def is_sign_in(page: HtmlPage) -> bool:
    return page.has_form("/admin/login")


def sign_cookie(values: Mapping[str, Any], age_s: float, secret_key: str = SECRET_KEY) -> str:
    """Sign a cookie as the service did some time ago."""
    app = Flask(__name__)
    app.secret_key = secret_key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    signer = cast(TimestampSigner, serializer.make_signer(serializer.salt))
    signer.get_timestamp = lambda: int(time.time() - age_s)  # type: ignore[method-assign]  # the only way to set it
    return signer.sign(serializer.dump_payload(dict(values))).decode()


def read_cookie(browser: Browser) -> Mapping[str, Any]:
    """Return what the cookie of a session contains."""
    app = Flask(__name__)
    app.secret_key = SECRET_KEY
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    values: Mapping[str, Any] = serializer.loads(browser.cookies[COOKIE])
    return values


def test_cookie_holds_no_key_and_is_kept_from_scripts(web: Web, browser: Browser) -> None:
    fresh = browse(web)
    page = fresh.open("/admin/login")
    response = fresh.post("/admin/login", page.find_form("/admin/login").fields | {"key": ADMIN_KEY})
    attributes = response.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/admin"} <= set(attributes)
    assert "Secure" not in attributes
    assert ADMIN_KEY not in str(read_cookie(browser))


def test_cookie_is_sent_over_tls_only_where_the_page_was(web: Web) -> None:
    response = browse(web, host="receiver.example").request("GET", "/admin/login")
    assert "Secure" in response.headers["set-cookie"].split("; ")


def test_session_ends_when_it_is_idle(web: Web, browser: Browser) -> None:
    values = read_cookie(browser)
    for age_s, has_ended in ((IDLE_S - 60, False), (IDLE_S + 60, True)):
        other = browse(web)
        other.cookies[COOKIE] = sign_cookie(values, age_s)
        assert is_sign_in(other.open("/admin/")) is has_ended


def test_session_ends_after_its_lifetime(web: Web, browser: Browser) -> None:
    values = read_cookie(browser)
    for age_s, has_ended in ((LIFETIME_S - 60, False), (LIFETIME_S + 60, True)):
        other = browse(web)
        other.cookies[COOKIE] = sign_cookie({**values, "signed_in_at": int(time.time() - age_s)}, 0)
        assert is_sign_in(other.open("/admin/")) is has_ended


def test_cookie_under_another_secret_is_worthless(web: Web, browser: Browser) -> None:
    other = browse(web)
    other.cookies[COOKIE] = sign_cookie(read_cookie(browser), 0, secret_key="another-secret-key")
    assert is_sign_in(other.open("/admin/"))


def test_revoked_key_ends_its_sessions(web: Web, api: Server) -> None:
    created = send(api, "POST", "/v1/keys", {"name": "leaver", "client": "leaver", "scopes": ["read"]}).json
    browser = browse(web)
    assert "leaver" in browser.sign_in(created["key"]).text
    send(api, "POST", f"/v1/keys/{created['id']}/revoke")
    assert is_sign_in(browser.open("/admin/"))


def test_sign_out_ends_the_session(browser: Browser) -> None:
    page = browser.submit(browser.open("/admin/"), "/admin/logout")
    assert is_sign_in(page)
    assert "You are signed out." in page.text
    assert is_sign_in(browser.open("/admin/jobs"))


def test_sign_in_replaces_the_session_and_its_token(api: Server, browser: Browser) -> None:
    before = browser.open("/admin/").find_form("/admin/logout").fields["csrf_token"]
    page = browser.sign_in(create_key(api, name="second", client="second"))
    assert "second" in page.text
    assert page.find_form("/admin/logout").fields["csrf_token"] != before


@pytest.fixture
def build_app(web_dsn: str, tmp_path: Path) -> Iterator[Any]:
    """A function that creates an app with another bootstrap key or other secret keys."""
    apps: list[Flask] = []

    def build(admin_key: str | None, secret_keys: Sequence[str] = (SECRET_KEY,)) -> Flask:
        app = create_app(replace(settings(web_dsn, tmp_path, {}), admin_key=admin_key, secret_keys=secret_keys))
        apps.append(app)
        return app

    yield build
    for app in apps:
        with closing(get_app_context(app)):
            pass


@pytest.mark.parametrize(("replacement", "has_ended"), [(ADMIN_KEY, False), ("another-admin-key", True), (None, True)])
def test_replaced_bootstrap_key_ends_its_sessions(
    build_app: Any, browser: Browser, replacement: str | None, has_ended: bool
) -> None:
    other = browse_app(build_app(replacement))
    other.cookies = dict(browser.cookies)
    assert is_sign_in(other.open("/admin/")) is has_ended


@pytest.mark.parametrize(
    ("secret_keys", "has_ended"), [(["another-secret-key", SECRET_KEY], False), (["another-secret-key"], True)]
)
def test_rotated_secret_key_ends_no_session_while_the_old_one_is_live(
    build_app: Any, browser: Browser, secret_keys: Sequence[str], has_ended: bool
) -> None:
    other = browse_app(build_app(ADMIN_KEY, secret_keys))
    other.cookies = dict(browser.cookies)
    assert is_sign_in(other.open("/admin/")) is has_ended


@pytest.mark.parametrize(
    "values",
    [
        {"key_id": str(UUID(int=7)), "signed_in_at": 4e9},
        {"key_id": str(UUID(int=0)), "signed_in_at": 4e9},
        {"key_id": str(UUID(int=0)), "signed_in_at": 4e9, "key_proof": "of another key"},
        {},
    ],
)
def test_cookie_with_other_values_signs_nobody_in(web: Web, values: Mapping[str, Any]) -> None:
    browser = browse(web)
    browser.cookies[COOKIE] = sign_cookie(values, 0)
    assert is_sign_in(browser.open("/admin/"))
