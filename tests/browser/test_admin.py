"""What operators do in the pages, with and without JavaScript."""

import re
from itertools import count as count_up

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.service import CAMPAIGN_REQUESTS, CAMPAIGNS, AdminService

pytestmark = pytest.mark.browser

JAVASCRIPT = pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
_names = count_up()


def search(page: Page, text: str) -> None:
    page.get_by_role("searchbox").first.fill(text)
    page.get_by_role("button", name="Search").click()


def open_action(page: Page, name: str) -> None:
    """Open the folded form of an action."""
    page.locator("summary", has_text=name).click()


def show_keys(page: Page) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Keys").click()


@JAVASCRIPT
def test_job_is_found_by_its_reference(open_page: OpenPage, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    search(page, "order-1042")

    expect(page.get_by_role("heading", level=1)).to_contain_text("order-1042")
    expect(page.get_by_text("which contradicts it, so the job is disputed")).to_be_visible()
    steps = page.locator("ol").first
    expect(steps).to_contain_text("decides the status")
    expect(steps).to_contain_text("duplicate")
    expect(page.locator("svg").first).to_be_visible()


@JAVASCRIPT
def test_job_is_resolved_with_a_reason(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    page.goto(f"{admin_service.origin}/admin/jobs/{admin_service.stories.open_job}")
    open_action(page, "Resolve the job")
    page.get_by_label("failed").check()
    page.get_by_label("Reason").last.fill("the provider said so on the phone")
    page.get_by_role("button", name="Resolve").click()

    expect(page.get_by_role("status")).to_contain_text("resolved")
    expect(page.get_by_text("the provider said so on the phone").first).to_be_visible()


@JAVASCRIPT
def test_callback_is_replayed(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    page.goto(f"{admin_service.origin}/admin/callbacks/{admin_service.stories.unmapped_callback}")
    open_action(page, "Replay the callback")
    page.get_by_label("Reason").fill("to see whether it is mapped now")
    page.get_by_role("button", name="Replay").click()

    expect(page.get_by_role("status").first).to_contain_text("The callback was processed again.")
    expect(page.get_by_text("to see whether it is mapped now").first).to_be_visible()


@JAVASCRIPT
def test_provider_is_paused_and_resumed(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    page.goto(f"{admin_service.origin}/admin/providers/hooli")
    page.get_by_label("Reason").fill("they are migrating")
    page.get_by_role("button", name="Pause sending").click()
    expect(page.get_by_role("button", name="Resume sending")).to_be_visible()
    expect(page.get_by_text("they are migrating").first).to_be_visible()

    page.get_by_role("button", name="Resume sending").click()
    expect(page.get_by_role("button", name="Pause sending")).to_be_visible()


@JAVASCRIPT
def test_key_is_created_and_revoked(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    name = f"shop {next(_names)}"
    show_keys(page)
    page.get_by_role("link", name="Create a key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("read").check()
    page.get_by_role("button", name="Create the key").click()
    key = re.search(r"rcv_[\w-]{43}", page.content())
    assert key is not None
    assert open_page(key[0]).get_by_role("heading", name="Overview").is_visible()

    show_keys(page)
    assert key[0] not in page.content()
    page.get_by_role("link", name=name).click()
    page.get_by_label("Reason").fill("no longer used")
    page.get_by_label("Yes, the key stops working for good").check()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_text("revoked").first).to_be_visible()
    other = open_page()
    other.goto(f"{admin_service.origin}/admin/login")
    other.get_by_label("API key").fill(key[0])
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("Invalid API key")


@JAVASCRIPT
def test_requests_are_retried_in_bulk(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(javascript=javascript)
    campaign = CAMPAIGNS[javascript]
    page.goto(f"{admin_service.origin}/admin/requests?metadata.campaign={campaign}&status=cancelled")
    page.get_by_role("link", name="Act on all that match").click()
    page.get_by_label("retry").check()
    page.get_by_label("Reason").fill("the campaign starts now")
    page.get_by_role("button", name="Preview").click()
    count = CAMPAIGN_REQUESTS - 1
    expect(page.get_by_text(re.compile(rf"\b{count} requests\b")).first).to_be_visible()
    page.get_by_role("button", name=re.compile("^Retry|^Send")).click()

    expect(page.get_by_role("status").last).to_contain_text(f"{count} of {count} requests were changed")


@JAVASCRIPT
def test_read_key_sees_no_raw_body(open_page: OpenPage, admin_service: AdminService, *, javascript: bool) -> None:
    page = open_page(admin_service.read_key, javascript=javascript)
    page.goto(f"{admin_service.origin}/admin/callbacks/{admin_service.stories.unmapped_callback}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert '"results"' not in page.content()
    assert "127.0.0.1" not in page.locator("main").inner_text()
    assert page.get_by_role("button", name="Replay").count() == 0

    page.goto(f"{admin_service.origin}/admin/jobs/{admin_service.stories.disputed_job}")
    assert '"results"' not in page.content()
    assert page.get_by_role("button", name="Resolve").count() == 0
    assert page.get_by_role("link", name="Keys").count() == 0


def test_sign_out_ends_the_session(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{admin_service.origin}/admin/jobs")

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_script_adds_the_readers_zone_and_copy_buttons(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    page.goto(f"{admin_service.origin}/admin/jobs/{admin_service.stories.disputed_job}")

    assert page.locator("time").first.get_attribute("title")
    expect(page.get_by_role("button", name=re.compile("^Copy")).first).to_be_visible()


def test_error_moves_the_focus_to_its_summary(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    page.goto(f"{admin_service.origin}/admin/jobs?status=done")

    expect(page.get_by_role("alert")).to_be_focused()
