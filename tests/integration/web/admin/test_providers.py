"""The pages of providers: setup, state, pause and resume, and what keys of other scopes see."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.domain.jobs import JobStatus
from receiver.settings import load_settings
from receiver.signatures.base import fingerprint_secret
from receiver.store.callbacks import Refusal, save_refusals
from receiver.store.connections import Connection
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.admin_pages import Browser, HtmlPage, browse, browse_app
from tests.support.api_calls import create_job, create_key, send
from tests.support.factories import SECRET, settings
from tests.support.factories import provider as build_provider
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web
from tests.support.provider import Reply, listening

PAUSED = "silent"
"""The provider that these tests pause; others must not send to it."""


@pytest.fixture
def resumed(api: Server) -> Iterator[None]:
    """Send to `PAUSED` again at the end."""
    yield
    send(api, "POST", f"/v1/providers/{PAUSED}/resume")


def create_removed_provider(connection: Connection) -> str:
    """Create an open job of a provider that is not configured any more, and return its name."""
    name = f"removed-{uuid4().hex}"
    create_job(connection, JobStatus.IN_PROGRESS, provider=name)
    return name


def test_providers_are_listed(browser: Browser, web_connection: Connection) -> None:
    removed = create_removed_provider(web_connection)
    page = browser.open("/admin/providers")
    assert {"/admin/providers/sandbox", f"/admin/providers/{removed}"} <= set(page.urls)
    assert "unconfigured" in page.text
    filtered = browser.open("/admin/providers?provider=another")
    assert "/admin/providers/sandbox" not in filtered.urls
    assert "No provider of this name." in browser.open("/admin/providers?provider=nobody").text
    assert browser.open("/admin/providers?colour=red").status == 400


def test_provider_shows_its_setup(browser: Browser) -> None:
    page = browser.open("/admin/providers/another")
    assert "https://receiver.example/callbacks/another" in page.text
    assert 'data-copy="https://receiver.example/callbacks/another"' in page.source
    assert "The signature covers everything that decides about a job." in page.text
    assert fingerprint_secret(SECRET) in page.text
    assert SECRET not in page.source
    assert "no endpoint that tells whether our account works" in page.text
    assert len(page.ids) == len(set(page.ids))


def test_provider_shows_its_jobs_and_refusals(browser: Browser, web_connection: Connection) -> None:
    create_job(web_connection, JobStatus.UNRESOLVED, provider="by-attempt")
    save_refusals(web_connection, [Refusal("by-attempt", "signature", "192.0.2.1", 3, datetime.now(UTC))])
    page = browser.open("/admin/providers/by-attempt")
    assert "/admin/jobs?provider=by-attempt&status=unresolved" in page.urls
    assert "/admin/callbacks?provider=by-attempt&verdict=refused" in page.urls
    assert "192.0.2.1" in page.text
    assert "refused: 3, at most 3 per h" in page.text
    assert "signature, or its time or nonce" in page.text


def test_number_of_providers_agrees_with_its_noun(browser: Browser) -> None:
    assert "1 provider or account, by name" in browser.open("/admin/providers?provider=silent").text
    assert "providers and accounts, by name" in browser.open("/admin/providers").text


def test_provider_says_that_all_callbacks_were_refused(browser: Browser, web_connection: Connection) -> None:
    assert "No callback came yet" in browser.open("/admin/providers/silent").text
    save_refusals(web_connection, [Refusal("silent", "signature", "192.0.2.1", 3, datetime.now(UTC))])
    assert "No callback was accepted yet: those that came were refused" in browser.open("/admin/providers/silent").text


def test_removed_provider_says_what_is_left(browser: Browser, web_connection: Connection) -> None:
    name = create_removed_provider(web_connection)
    page = browser.open(f"/admin/providers/{name}")
    assert "is not configured any more" in page.text
    assert "1 request or job waits for a removed provider" in page.text
    assert not page.has_form("/pause")


def test_unknown_provider_is_not_found(browser: Browser) -> None:
    assert browser.open("/admin/providers/nobody").status == 404
    assert browser.open("/admin/providers/sandbox/nobody").status == 404


@pytest.mark.usefixtures("resumed")
def test_provider_is_paused_and_resumed(browser: Browser) -> None:
    page = browser.submit(browser.open(f"/admin/providers/{PAUSED}"), "/pause", reason="their <outage>")
    assert f"Sending to {PAUSED} is paused." in page.text
    assert "paused by bootstrap: their <outage>" in page.text
    assert "1 provider is paused" in browser.open("/admin/").text
    page = browser.submit(page, "/resume")
    assert f"Sending to {PAUSED} is resumed." in page.text
    assert page.has_form("/pause")
    assert "resume" in page.text.partition("What operators did")[2]


def test_invalid_reason_is_named_at_its_field(browser: Browser) -> None:
    page = browser.submit(browser.open(f"/admin/providers/{PAUSED}"), "/pause", reason="nul\0")
    assert page.status == 400
    assert "#field-reason" in page.urls


def test_url_token_is_for_admin_only(browser: Browser, web: Web, api: Server, web_connection: Connection) -> None:
    save_refusals(web_connection, [Refusal("tokened", "signature", "192.0.2.9", 1, datetime.now(UTC))])
    assert "an-unguessable-end-of-the-url" in browser.open("/admin/providers/tokened").source
    reader = browse(web)
    reader.sign_in(create_key(api, scopes=["read"]))
    page = reader.open("/admin/providers/tokened")
    assert "an-unguessable-end-of-the-url" not in page.source
    assert "192.0.2.9" not in page.source
    assert not page.has_form("/pause")
    assert reader.open("/admin/providers/tokened").status == 200
    fields = page.find_form("/logout").fields
    for action in ("pause", "resume", "check"):
        assert reader.post(f"/admin/providers/tokened/{action}", fields).status == 403, action


def test_restricted_key_sees_its_providers_only(web: Web, api: Server) -> None:
    reader = browse(web)
    reader.sign_in(create_key(api, scopes=["admin"], providers=["another"]))
    page = reader.open("/admin/providers")
    urls = [url for url in page.urls if url.startswith("/admin/providers/")]
    assert urls == ["/admin/providers/catalog", "/admin/providers/another"]
    fields = page.find_form("/logout").fields
    assert reader.open("/admin/providers/sandbox").status == 404
    for action in ("pause", "resume", "check"):
        assert reader.post(f"/admin/providers/sandbox/{action}", fields).status == 404, action


def test_submitting_key_sees_no_providers(web: Web, api: Server) -> None:
    browser = browse(web)
    page = browser.sign_in(create_key(api, scopes=["submit"]))
    assert "/admin/providers" not in page.urls
    for path in ("/admin/providers", "/admin/providers/sandbox"):
        assert browser.open(path).status == 403


def test_accounts_are_shown_and_paused_with_their_provider(dsn: str, tmp_path: Path) -> None:
    names = ("acme/north", "acme/south")
    configured = settings(dsn, tmp_path, {name: build_provider(name=name) for name in names})
    app = create_app(replace(configured, admin_key=ADMIN_KEY))
    with closing(get_app_context(app)):
        browser = browse_app(app)
        browser.sign_in(ADMIN_KEY)
        page = browser.submit(browser.open("/admin/providers/acme/north"), "/pause", reason="moved")
        assert "Sending to acme/north is paused." in page.text
        assert not browser.open("/admin/providers/acme/south").has_form("/resume")
        page = browser.open("/admin/providers/acme")
        assert {f"/admin/providers/{name}" for name in names} <= set(page.urls)
        browser.submit(page, "/admin/providers/acme/pause")
        assert browser.open("/admin/providers/acme/south").has_form("/resume")


CECULA = """
[providers.cecula]
kind = "cecula"
base_url = "{url}/cecula"
auth = {{ scheme = "bearer", secret = "key-of-our-account" }}
signature = {{ scheme = "token", secrets = ["an-unguessable-token"] }}
"""


def check_account(dsn: str, tmp_path: Path, url: str) -> HtmlPage:
    (tmp_path / "receiver.toml").write_text(CECULA.format(url=url))
    environ = {
        "DATABASE_URL": dsn,
        "RECEIVER_CONFIG": str(tmp_path / "receiver.toml"),
        "RECEIVER_SECRET_KEY": "a-secret-key-of-this-test",
        "RECEIVER_ADMIN_KEY": ADMIN_KEY,
        "LOG_LEVEL": "ERROR",
    }
    app = create_app(load_settings(environ))
    with closing(get_app_context(app)):
        browser = browse_app(app)
        browser.sign_in(ADMIN_KEY)
        return browser.submit(browser.open("/admin/providers/cecula"), "/check")


def test_account_is_checked_on_demand(dsn: str, tmp_path: Path) -> None:
    with listening() as provider:
        provider.script("check-balance", Reply(200, b'{"balance": "118.00"}'))
        provider.script("identities", Reply(401, b"{}"))
        page = check_account(dsn, tmp_path, provider.url)
    account = page.text.partition("Our account")[2]
    assert "118.00" in account
    assert "✕" in account
    assert "key-of-our-account" not in page.source
