"""Actions on all requests that match a filter: preview, confirmation, result."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from receiver.store.connections import Connection
from tests.support.admin_pages import Browser
from tests.support.api_calls import UNKNOWN_ID, create_request, send
from tests.support.http import Server

FAR_FUTURE = "2126-01-01T00:00:00Z"


@pytest.fixture
def campaign() -> str:
    """A value of metadata that no other test uses."""
    return uuid4().hex


def submit_many(api: Server, campaign: str, count: int) -> list[str]:
    return [create_request(api, metadata={"campaign": campaign}, send_after=FAR_FUTURE)["id"] for _ in range(count)]


def test_matching_requests_are_cancelled_after_a_preview(api: Server, browser: Browser, campaign: str) -> None:
    ids = submit_many(api, campaign, 3)
    page = browser.open(f"/admin/requests?metadata.campaign={campaign}&status=queued")
    page = browser.open(page.find_link("Act on all that match…"))
    assert f"Requests with metadata.campaign={campaign} and status=queued" in page.text.replace(" .", ".")
    page = browser.submit(page, "/requests/bulk", action="cancel", reason="by mistake")
    assert "Cancel 3 requests?" in page.text
    assert {f"/admin/requests/{request_id}" for request_id in ids} <= set(page.urls)
    assert send(api, "GET", f"/v1/requests/{ids[0]}").json["status"] == "queued"
    submit_many(api, campaign, 1)
    send(api, "POST", f"/v1/requests/{ids[0]}/cancel")
    page = browser.submit(page, "/carry-out")
    assert "Cancel 3 requests: done" in page.text
    assert "2 of 3 requests were changed. Skipped: 1" in page.text
    listed = browser.open(page.find_link("See the requests"))
    assert "4 requests" in listed.text
    [action] = send(api, "GET", f"/v1/requests/{ids[1]}").json["actions"]
    assert (action["actor"], action["action"], action["reason"]) == ("bootstrap", "cancel", "by mistake")


def test_action_continues_until_nothing_remains(
    api: Server, browser: Browser, web_connection: Connection, campaign: str
) -> None:
    ids = submit_many(api, campaign, 2)
    page = browser.open(f"/admin/requests/bulk?metadata.campaign={campaign}")
    page = browser.submit(page, "/requests/bulk", action="cancel")
    # As if an earlier call had been interrupted after the first request.
    web_connection.execute(
        "UPDATE bulk_actions SET processed = 1, applied = 1 WHERE id = %s",
        [UUID(page.find_form("/carry-out").fields["token"])],
    )
    page = browser.submit(page, "/carry-out")
    assert "2 of 2 requests were changed" in page.text
    assert send(api, "GET", f"/v1/requests/{ids[1]}").json["status"] == "cancelled"


def test_unknown_requests_are_resolved(
    api: Server, browser: Browser, web_connection: Connection, campaign: str
) -> None:
    ids = submit_many(api, campaign, 2)
    web_connection.execute(
        "UPDATE requests SET status = 'unknown', due_at = NULL WHERE id = ANY(%s)", [[*map(UUID, ids)]]
    )
    page = browser.open(f"/admin/requests/bulk?metadata.campaign={campaign}&status=unknown")
    page = browser.submit(page, "/requests/bulk", action="resolve", status="failed")
    assert page.status == 400
    assert "Reason: Missing data for required field." in page.text
    page = browser.submit(page, "/requests/bulk", action="resolve", status="failed", reason="they say so")
    page = browser.submit(page, "/carry-out")
    assert "2 of 2 requests were changed" in page.text
    assert send(api, "GET", f"/v1/requests/{ids[0]}").json["status"] == "failed"


def test_preview_of_nothing_says_what_to_do(browser: Browser, campaign: str) -> None:
    page = browser.open(f"/admin/requests/bulk?metadata.campaign={campaign}")
    page = browser.submit(page, "/requests/bulk", action="retry")
    assert "No request to retry" in page.text
    assert not page.has_form("/carry-out")


def test_only_fitting_actions_are_offered(browser: Browser, browse_as: Callable[..., Browser]) -> None:
    def find_actions(page_browser: Browser, query: str) -> str:
        page = page_browser.open(f"/admin/requests/bulk{query}")
        return page.source

    for query, offered in (("?status=queued", {"cancel", "send-now"}), ("?status=unknown", {"retry", "resolve"})):
        source = find_actions(browser, query)
        for action in ("retry", "cancel", "resolve", "send-now"):
            assert (f'value="{action}"' in source) is (action in offered)
    assert "No action applies" in find_actions(browser, "?status=completed")
    assert 'value="resolve"' not in find_actions(browse_as(scopes=["submit"]), "")


def test_form_without_action_is_named(browser: Browser) -> None:
    page = browser.submit(browser.open("/admin/requests/bulk"), "/requests/bulk")
    assert page.status == 400
    assert "Action: Must be one of" in page.text


def test_invalid_filter_or_token_is_explained(browser: Browser, campaign: str) -> None:
    page = browser.submit(browser.open("/admin/requests/bulk?created_from=odd"), "/requests/bulk", action="retry")
    assert page.status == 400
    assert "filter.created_from: Not a valid datetime." in page.text
    page = browser.open(f"/admin/requests/bulk?metadata.campaign={campaign}")
    fields = page.find_form("/requests/bulk").fields | {"action": "retry", "token": UNKNOWN_ID}
    response = browser.post(f"/admin/requests/bulk/carry-out?metadata.campaign={campaign}", fields)
    assert response.status == 404
    assert b"Preview the action again" in response.body


def test_filter_of_any_name_makes_no_other_link(browser: Browser) -> None:
    page = browser.open("/admin/requests/bulk?_external=1&_scheme=javascript&_anchor=a")
    assert all(url.startswith(("/", "#")) for url in page.urls)


def test_read_key_may_not_act(browse_as: Callable[..., Browser]) -> None:
    browser = browse_as(scopes=["read"])
    assert "Act on all" not in browser.open("/admin/requests").text
    page = browser.submit(browser.open("/admin/requests/bulk"), "/requests/bulk", action="retry")
    assert page.status == 403
