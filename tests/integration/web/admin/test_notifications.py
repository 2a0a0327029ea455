"""The pages of notifications: what was sent to whom, resend, pause and resume."""

from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from receiver.outbound.notifications import queue_notifications
from receiver.store.database import Database
from tests.support.admin_pages import Browser
from tests.support.api_calls import UNKNOWN_ID, create_request, send
from tests.support.http import Json, Server

NOTIFY_URL = "https://shop.example/notifications"


@pytest.fixture(scope="module")
def web_database(web_dsn: str) -> Iterator[Database]:
    """The database of `web`, as a worker uses it."""
    with closing(Database(web_dsn, size=1)) as database:
        yield database


@pytest.fixture
def notification(api: Server, web_database: Database) -> Json:
    """A queued notification of a cancelled request."""
    request_id = create_request(api, notify_url=NOTIFY_URL)["id"]
    send(api, "POST", f"/v1/requests/{request_id}/cancel")
    queue_notifications(web_database)
    created: Json
    [created] = send(api, "GET", f"/v1/notifications?request_id={request_id}").json["items"]
    return created


def test_notification_is_listed_and_shown(browser: Browser, notification: Json) -> None:
    url = f"/admin/notifications/{notification['id']}"
    page = browser.open(f"/admin/notifications?request_id={notification['request_id']}")
    assert url in page.urls
    assert url in browser.open(f"/admin/requests/{notification['request_id']}").urls
    page = browser.open(url)
    assert "◌ queued It is due" in page.text
    assert NOTIFY_URL in page.text
    assert '"type": "request.finished"' in page.text
    assert f"/admin/requests/{notification['request_id']}" in page.urls
    assert urlsplit(browser.open(f"/admin/search?q={notification['id']}").url).path == url
    assert urlsplit(browser.open(f"/admin/requests/{notification['id']}").url).path == url


def test_notification_is_sent_again_with_a_reason(browser: Browser, notification: Json) -> None:
    page = browser.open(f"/admin/notifications/{notification['id']}")
    page = browser.open(page.find_link("Send now…"))
    assert "The same body is sent with the same webhook-id" in page.text
    page = browser.submit(page, "/resend", reason="their host was down")
    assert "The notification is queued and will be sent again." in page.text
    assert "their host was down" in page.text


def test_notification_that_is_being_sent_is_not_resent(
    browser: Browser, web_database: Database, notification: Json
) -> None:
    with web_database.connection() as connection:
        connection.execute(
            """UPDATE requests SET status = 'sending', due_at = NULL, leased_until = now() + interval '1 h'
            WHERE id = %s""",
            [notification["id"]],
        )
    page = browser.submit(browser.open(f"/admin/notifications/{notification['id']}/resend"), "/resend")
    assert page.status == 409
    assert "Wait for the end of this attempt" in page.text


def test_all_notifications_are_paused_and_resumed(browser: Browser) -> None:
    page = browser.open(browser.open("/admin/notifications").find_link("Pause all notifications…"))
    page = browser.submit(page, "/notifications/pause", reason="their holidays")
    try:
        assert "Notifications are paused" in page.text
        assert "‖ paused No notification is sent since" in page.text
        assert "their holidays" in page.text
    finally:
        page = browser.submit(browser.open(page.find_link("Resume all notifications…")), "/notifications/resume")
    assert "Notifications are being sent again." in page.text
    assert "‖ paused" not in page.text


def test_others_neither_pause_nor_see_foreign_notifications(
    browse_as: Callable[..., Browser], notification: Json
) -> None:
    browser = browse_as(scopes=["submit"])
    assert "Pause all" not in browser.open("/admin/notifications").text
    assert browser.open(f"/admin/notifications/{notification['id']}").status == 404
    page = browser.submit(browser.open("/admin/notifications/pause"), "/notifications/pause")
    assert page.status == 403


def test_unknown_notification_is_a_page(browser: Browser) -> None:
    assert browser.open(f"/admin/notifications/{UNKNOWN_ID}").status == 404
