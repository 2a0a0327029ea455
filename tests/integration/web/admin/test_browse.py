"""The lists of requests, jobs, callbacks and notifications."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from receiver.domain.jobs import JobStatus
from receiver.store.connections import Connection
from tests.support.admin_pages import Browser
from tests.support.api_calls import create_job, create_request
from tests.support.http import Server, build_report
from tests.support.processes import Web


@pytest.fixture
def order() -> str:
    """A value of metadata that no other test uses."""
    return uuid4().hex


def test_request_is_found_by_its_metadata(api: Server, browser: Browser, order: str) -> None:
    request = create_request(api, metadata={"order": order, "odd": "<b>"})
    page = browser.submit(browser.open("/admin/requests"), "/admin/requests", metadata=f"order={order}")
    assert f"/admin/requests/{request['id']}" in page.urls
    assert "1 request, newest first" in page.text
    assert f"order={order[:27]}" in page.text
    assert "odd=<b>" in page.text
    assert page.find_form("/admin/requests").fields["metadata.order"] == order


def test_state_is_a_link_that_keeps_the_other_filters(api: Server, browser: Browser, order: str) -> None:
    request = create_request(api, metadata={"order": order})
    page = browser.open(f"/admin/requests?metadata.order={order}&status=queued")
    assert f"/admin/requests/{request['id']}" in page.urls
    page = browser.open(page.find_link("⊘ rejected"))
    assert "Nothing matches these filters." in page.text
    assert page.find_form("/admin/requests").fields["status"] == "rejected"
    assert f"/admin/requests/{request['id']}" in browser.open(page.find_link("All")).urls


def test_states_have_their_numbers_while_these_are_right(
    browser: Browser, browse_as: Callable[..., Browser], order: str
) -> None:
    def has_number(page_browser: Browser, query: str) -> bool:
        texts = [text for _, text in page_browser.open(f"/admin/requests{query}").links if text.startswith("◌ queued")]
        return texts[0] != "◌ queued"

    assert has_number(browser, "?provider=sandbox&status=queued")
    assert not has_number(browser, f"?metadata.order={order}")
    assert not has_number(browse_as(scopes=["submit"]), "")


def test_job_is_found_by_reference_and_flag(browser: Browser, web: Web, web_connection: Connection) -> None:
    job_id, reference = create_job(web_connection), f"ref-{uuid4().hex}"
    web.call_back(build_report(reference))
    page = browser.open(f"/admin/jobs?reference={reference}&unmatched=true")
    assert reference in page.text
    assert "∅ unmatched" in page.text
    assert f"/admin/jobs/{job_id}" not in page.urls
    page = browser.open("/admin/jobs?accepted_from=2020-01-01T00:00&status=accepted&provider=sandbox")
    assert f"/admin/jobs/{job_id}" in page.urls


def test_jobs_are_ordered_by_their_end_when_filtered_by_it(browser: Browser, web_connection: Connection) -> None:
    create_job(web_connection, JobStatus.SUCCEEDED)
    assert "newest first by when they became final" in browser.open("/admin/jobs?finished_from=2020-01-01T00:00").text


def test_callback_is_listed_with_its_errors(web: Web, browser: Browser) -> None:
    assert web.call_back(b'{"results": 7}').status == 400
    page = browser.open("/admin/callbacks?verdict=invalid&provider=sandbox")
    assert "! invalid" in page.text
    assert "results" in page.text
    assert any(url.startswith("/admin/callbacks/") for url in page.urls)


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/admin/requests?created_from=yesterday", "created_from", "Created from: Not a valid datetime."),
        ("/admin/requests?metadata=order", "metadata", "Metadata: Must be written as metadata.KEY=VALUE"),
        ("/admin/requests?status=odd", "status", "State: Must be one of"),
        ("/admin/jobs?request_id=7", "request_id", "Request id: Not a valid UUID."),
        ("/admin/callbacks?verdict=odd", "verdict", "State: Must be one of"),
        ("/admin/notifications?provider=A", "provider", "Provider: Not a valid provider name"),
        ("/admin/requests?reference_conflict=maybe", "reference_conflict", "Reference conflict: Not a valid boolean."),
    ],
)
def test_invalid_filter_is_named_at_its_field(browser: Browser, path: str, field: str, message: str) -> None:
    page = browser.open(path)
    assert page.status == 400
    assert message in page.text
    assert f"#field-{field}" in page.urls
    assert f"field-{field}" in page.ids


@pytest.mark.parametrize("query", ["limit=0", "cursor=odd", "unknown=1", "status=queued&status=failed", "status=%ff"])
def test_other_invalid_query_is_named(browser: Browser, query: str) -> None:
    page = browser.open(f"/admin/requests?{query}")
    assert page.status == 400
    assert "There is a problem" in page.text


def test_pages_follow_the_cursor(api: Server, browser: Browser, order: str) -> None:
    ids = [create_request(api, metadata={"order": order})["id"] for _ in range(3)]
    page = browser.open(f"/admin/requests?metadata.order={order}&limit=2")
    assert page.text.count("queued") >= 2
    older = browser.open(page.find_link("Older"))
    assert f"/admin/requests/{ids[0]}" in older.urls
    assert f"/admin/requests/{ids[2]}" not in older.urls
    assert f"/admin/requests/{ids[2]}" in browser.open(older.find_link("Newest")).urls


def test_submit_key_lists_what_its_client_submitted(api: Server, browse_as: Callable[..., Browser], order: str) -> None:
    client = f"client-{uuid4().hex}"
    foreign = create_request(api, metadata={"order": order})
    browser = browse_as(scopes=["submit"], client=client)
    page = browser.open("/admin/requests")
    assert "No request was submitted yet." in page.text
    assert foreign["id"] not in browser.open(f"/admin/requests?metadata.order={order}").source
    assert "Callbacks" not in [text for _, text in page.links]
    assert browser.open("/admin/callbacks").status == 403


def test_values_from_outside_are_escaped(api: Server, browser: Browser, order: str) -> None:
    create_request(api, metadata={"order": order, '<i>"': "<script>alert(1)</script>"})
    page = browser.open(f"/admin/requests?metadata.order={order}")
    assert "<script>alert" not in page.source
    assert "&lt;script&gt;alert" in page.source
    page = browser.open('/admin/requests?metadata.a="><script>alert(1)</script>')
    assert "<script>alert" not in page.source


@pytest.mark.parametrize("path", ["requests", "jobs", "callbacks", "notifications"])
def test_list_is_small(browser: Browser, path: str) -> None:
    page = browser.open(f"/admin/{path}")
    assert page.status == 200
    assert len(page.source) < 60_000


def test_list_of_removed_account_says_that_nothing_matches(browser: Browser) -> None:
    page = browser.open("/admin/jobs?provider=gone/eu")
    assert page.status == 200
    assert "Nothing matches these filters." in page.text
    assert page.find_form("/admin/jobs").fields["provider"] == "gone/eu"
