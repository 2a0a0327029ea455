"""The pages of API keys: a key is shown once, only in the response that creates it, and is revoked on confirmation."""

from uuid import uuid4

import pytest

from receiver.store.connections import Connection
from tests.support.admin_pages import Browser, HtmlPage, browse
from tests.support.api_calls import UNKNOWN_ID, create_key, send
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web


@pytest.fixture
def browser(web: Web) -> Browser:
    """A browser, signed in with the bootstrap key."""
    browser = browse(web)
    browser.sign_in(ADMIN_KEY)
    return browser


def create(browser: Browser, **fields: str) -> HtmlPage:
    return browser.submit(browser.open("/admin/keys/new"), "/admin/keys/new", **fields)


def read_key(page: HtmlPage) -> str:
    """Return the key that a page shows; it begins like all keys, and is longer than its prefix."""
    [key] = {part.split('"')[0] for part in page.source.split('data-copy="') if part.startswith("rcv_")}
    return key


def count_keys(connection: Connection, name: str) -> int:
    return int(connection.execute("SELECT count(*) FROM api_keys WHERE name = %s", [name]).fetchall()[0][0])


def test_created_key_is_shown_once(browser: Browser, web: Web, api: Server, web_connection: Connection) -> None:
    name = f"shop-{uuid4().hex}"
    fields = {
        "name": name,
        "client": "shop",
        "scopes": "submit,read",
        "providers": "sandbox, another",
        "per_minute": "90",
        "expires_at": "2099-12-31",
    }
    form = browser.open("/admin/keys/new").find_form("/admin/keys/new")
    cookies = dict(browser.cookies)
    page = create(browser, **fields)
    key = read_key(page)
    assert page.status == 201
    assert (page.url.rpartition("/admin")[2], page.headers["cache-control"]) == ("/keys/new", "no-store")
    assert send(api, "GET", "/v1/jobs", key=key).status == 200
    for url in ("/admin/keys", page.find_link("What the key may do"), "/admin/keys/new", "/admin/"):
        assert key not in browser.open(url).source, url
    assert key not in "".join(browser.cookies.values()), "signed, but readable"
    assert key not in web.output
    assert key not in str(web_connection.execute("SELECT api_keys::text FROM api_keys").fetchall())

    shown = browser.open(page.find_link("What the key may do")).text
    for text in ("shop", "read, submit", "sandbox, another", "at most 90", "2099-12-31 00:00:00 UTC", "create"):
        assert text in shown, text
    assert cookies.keys() == browser.cookies.keys()
    assert form.fields["form_id"]


def test_reload_creates_no_second_key(browser: Browser, web_connection: Connection) -> None:
    name = f"shop-{uuid4().hex}"
    form = browser.open("/admin/keys/new").find_form("/admin/keys/new")
    fields = form.fields | {"name": name, "scopes": "read"}
    first = browser.post(form.action, fields)
    second = browser.post(form.action, fields)
    assert (first.status, second.status) == (201, 303)
    assert b"rcv_" not in second.body
    assert "shown only once" in browser.open("/admin/keys").text
    assert count_keys(web_connection, name) == 1


def test_reload_after_a_mistake_is_no_reload(browser: Browser, web_connection: Connection) -> None:
    name = f"shop-{uuid4().hex}"
    page = create(browser, name=name)
    assert page.status == 400
    assert {"#field-scopes"} <= set(page.urls)
    assert page.find_form("/admin/keys/new").fields["name"] == name
    browser.submit(page, "/admin/keys/new", scopes="read")
    assert count_keys(web_connection, name) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "bootstrap"),
        ("scopes", "everything"),
        ("providers", "nobody"),
        ("per_minute", "many"),
        ("per_minute", "0"),
        ("per_minute", "²"),
        ("expires_at", "2001-01-01"),
        ("expires_at", "soon"),
    ],
)
def test_invalid_field_is_named(browser: Browser, field: str, value: str) -> None:
    page = create(browser, **{"name": "shop", "scopes": "read", field: value})
    assert page.status == 400
    assert f"#field-{field}" in page.urls
    assert f"field-{field}" in page.ids


def test_key_is_revoked_with_reason_and_confirmation(browser: Browser, api: Server) -> None:
    created = send(api, "POST", "/v1/keys", {"name": f"shop-{uuid4().hex}", "scopes": ["read"]}).json
    url = f"/admin/keys/{created['id']}"
    page = browser.submit(browser.open(url), "/revoke", reason="it leaked")
    assert page.status == 400
    assert "#field-confirm" in page.urls
    assert page.find_form("/revoke").fields["reason"] == "it leaked"
    page = browser.submit(page, "/revoke", confirm="yes")
    assert "The key is revoked." in page.text
    assert "it leaked" in page.text.partition("What operators did")[2]
    assert not page.has_form("/revoke")
    assert "revoked" in browser.open("/admin/keys").text


def test_expired_key_is_shown_as_expired(browser: Browser, api: Server, web_connection: Connection) -> None:
    created = send(api, "POST", "/v1/keys", {"name": f"shop-{uuid4().hex}", "scopes": ["read"]}).json
    web_connection.execute("UPDATE api_keys SET expires_at = now() WHERE id = %s", [created["id"]])
    assert "expired" in browser.open(f"/admin/keys/{created['id']}").text


def test_own_key_is_marked(web: Web, api: Server) -> None:
    browser = browse(web)
    name = f"ops-{uuid4().hex}"
    browser.sign_in(create_key(api, name=name, scopes=["admin"]))
    page = browser.open("/admin/keys")
    assert "signed in with this key" in browser.open(page.find_link(name)).text


def test_unknown_key_is_not_found(browser: Browser) -> None:
    assert browser.open(f"/admin/keys/{UNKNOWN_ID}").status == 404


@pytest.mark.parametrize("fields", [{"scopes": ["read"]}, {"scopes": ["admin"], "providers": ["another"]}])
def test_other_keys_administer_no_keys(web: Web, api: Server, fields: dict[str, list[str]]) -> None:
    created = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"]}).json
    browser = browse(web)
    browser.sign_in(create_key(api, **fields))
    for path in ("/admin/keys", f"/admin/keys/{created['id']}"):
        page = browser.open(path)
        assert page.status == 403, path
        assert created["prefix"] not in page.source
    token = browser.open("/admin/").find_form("/logout").fields
    body = token | {"name": "more", "scopes": "admin", "confirm": "yes"}
    for path in ("/admin/keys/new", f"/admin/keys/{created['id']}/revoke"):
        assert browser.post(path, body).status == 403, path
