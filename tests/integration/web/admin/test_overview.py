"""The overview: what needs attention, charts, providers, and what a key without rights or a new service shows."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from receiver.domain.jobs import JobStatus
from receiver.settings import Settings
from receiver.store.connections import Connection, connect
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.admin_pages import Browser, HtmlPage, browse, browse_app
from tests.support.api_calls import build_submission, create_job, create_key, create_request, send
from tests.support.factories import provider as build_provider
from tests.support.factories import settings
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web

MAX_BYTES = 60_000


@pytest.fixture
def new_service(dsn: str, tmp_path: Path) -> Settings:
    """The settings of a web process of a service that has received nothing."""
    return replace(settings(dsn, tmp_path, {}), admin_key=ADMIN_KEY, secret_keys=("a-secret-key-of-this-test",))


def open_overview(configured: Settings) -> HtmlPage:
    app = create_app(configured)
    with closing(get_app_context(app)):
        browser = browse_app(app)
        browser.sign_in(ADMIN_KEY)
        return browser.open("/admin/")


def insert_activity(connection: Connection, at: datetime, outcome: str, count: int, kind: str = "callbacks") -> None:
    bucket = 10 if kind == "jobs" else 0
    params = [at, kind, outcome, bucket, count]
    connection.execute("INSERT INTO activity VALUES (60, %s, 'acme', %s, %s, %s, %s)", params)


@pytest.fixture
def busy_service(new_service: Settings, dsn: str) -> Iterator[tuple[Settings, Connection]]:
    """The settings of a web process of a service with one provider and an accepted job, and a connection."""
    with closing(connect(dsn)) as connection:
        create_job(connection, provider="acme")
        yield replace(new_service, providers={"acme": build_provider(name="acme")}), connection


def test_attention_links_to_lists(browser: Browser, web_connection: Connection) -> None:
    web_connection.execute(
        "UPDATE jobs SET disputed = true WHERE id = %s", [create_job(web_connection, JobStatus.FAILED)]
    )
    page = browser.open("/admin/")
    urls = [url for url in page.urls if urlsplit(url).query]
    assert "/admin/jobs?disputed=true" in urls
    assert "contradicting final status" in page.text
    assert len(page.source) < MAX_BYTES
    assert len(page.ids) == len(set(page.ids))


def test_charts_show_the_counted_minutes(busy_service: tuple[Settings, Connection]) -> None:
    configured, connection = busy_service
    now = datetime.now(UTC)
    connection.execute("UPDATE activity_progress SET counted_until = %s", [now - timedelta(minutes=5)])
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=7)
    insert_activity(connection, minute, "accepted", 1_234)
    insert_activity(connection, minute, "unmapped", 5)
    insert_activity(connection, minute, "submitted", 77, "requests")
    insert_activity(connection, minute, "succeeded", 9, "jobs")

    page = open_overview(configured)

    assert "accepted: 1,234, at most 1,234 per min; duplicate: 0" in page.text.replace("✓ ", "").replace("= ", "")
    assert "invalid, unmapped: 5" in page.text
    assert "submitted: 77" in page.text
    assert "9 in all. p50:" in page.text
    assert f"{minute:%H:%M} 1,234 0 5 0" in page.text
    assert "Not counted:" in page.text
    assert "The charts end at 5 min ago" in page.text


def test_open_jobs_are_linked_by_age(busy_service: tuple[Settings, Connection]) -> None:
    configured, connection = busy_service
    connection.execute("UPDATE jobs SET accepted_at = now() - interval '2 hours'")

    page = open_overview(configured)

    [url] = [url for url in page.urls if "accepted_from" in url]
    assert urlsplit(url).path == "/admin/jobs"
    assert "status=accepted" in url
    assert "accepted_to=" in url
    assert "< 1 day: 1; older: 0." in page.text


def test_nothing_to_do_is_said(busy_service: tuple[Settings, Connection]) -> None:
    configured, connection = busy_service
    connection.execute("UPDATE jobs SET request_id = gen_random_uuid()")
    assert "Nothing needs attention." in open_overview(configured).text


def test_paused_provider_needs_attention(busy_service: tuple[Settings, Connection]) -> None:
    configured, connection = busy_service
    connection.execute("INSERT INTO providers (name, paused_at, pause_reason) VALUES ('acme', now(), 'their outage')")
    page = open_overview(configured)
    assert "1 provider is paused acme" in page.text
    assert page.urls.count("/admin/providers/acme") == 2


def test_many_providers_fit_the_page(new_service: Settings, dsn: str) -> None:
    names = [f"acme/account-{number:02}" for number in range(60)]
    with closing(connect(dsn)) as connection:
        create_job(connection, JobStatus.UNRESOLVED, provider=names[-1])
    page = open_overview(replace(new_service, providers={name: build_provider(name=name) for name in names}))
    assert "40 more providers" in page.text
    assert f"/admin/providers/{names[-1]}" in page.urls, "what needs attention comes first"
    assert len(page.source) < MAX_BYTES


def test_service_without_provider_says_what_to_do(new_service: Settings) -> None:
    page = open_overview(new_service)
    assert "/admin/providers/catalog" in page.urls


def test_service_that_received_nothing_shows_urls_to_register(new_service: Settings) -> None:
    page = open_overview(replace(new_service, providers={"acme": build_provider(name="acme")}))
    assert "/callbacks/acme" in page.text
    assert "receiver request submit" in page.text


def test_restricted_key_sees_its_providers_only(web: Web, api: Server, web_connection: Connection) -> None:
    create_job(web_connection, JobStatus.UNRESOLVED, provider="sandbox")
    create_job(web_connection, JobStatus.UNRESOLVED, provider="another")
    page = browse(web).sign_in(create_key(api, scopes=["read"], providers=["another"]))
    assert "another" in page.text
    assert "sandbox" not in page.text
    assert "silent" not in page.text


def test_submitting_key_sees_its_own_requests(web: Web, api: Server) -> None:
    client = f"client-{uuid4().hex}"
    key = create_key(api, scopes=["submit"], client=client)
    empty = browse(web).sign_in(key)
    assert "Nothing was submitted yet." in empty.text
    other = create_request(api)
    created = send(api, "POST", "/v1/requests", build_submission(), key=key).json
    page = browse(web).sign_in(key)
    assert f"Requests of {client}" in page.text
    assert f"/admin/requests/{created['id']}" in page.urls
    assert f"/admin/requests/{other['id']}" not in page.urls
