"""All pages: axe's checks of WCAG 2.2 AA, the keyboard, narrow screens, and enlarged text."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage
from tests.browser.service import AdminService
from tests.browser.tour import list_pages

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
CONTROLS = (
    "main :is(a[href], button, input:not([type=hidden], [type=radio]), select, textarea, summary):not([tabindex='-1'])"
)
"""What must be reached by keyboard; the timeline's links stand in the list beneath as well. A group of radio buttons is
one stop.
"""
HEADER_CONTROLS = 30
MIN_WIDTH = 320
"""CSS pixels, which 1,280 at 400 % are (WCAG 2.2, 1.4.10 Reflow)."""


def iterate_pages(page: Page, admin_service: AdminService) -> Iterator[str]:
    """Show each page, with all that is folded open, and yield its name."""
    for name, target in list_pages(admin_service.stories).items():
        page.goto(f"{admin_service.origin}{target}")
        for summary in page.locator("details:not([open]) > summary").all():
            if summary.is_visible():
                summary.click()
        yield name


def describe(violation: dict[str, Any]) -> str:
    targets = [node["target"] for node in violation["nodes"]]
    return f"{violation['id']}: {violation['help']} {targets[:5]}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: OpenPage, admin_service: AdminService, scheme: Literal["light", "dark"]) -> None:
    page = open_page()
    page.emulate_media(color_scheme=scheme)
    violations = {
        name: [describe(violation) for violation in Axe().run(page, options=RULES).response["violations"]]
        for name in iterate_pages(page, admin_service)
    }

    assert {name: found for name, found in violations.items() if found} == {}


def test_no_page_is_wider_than_a_narrow_screen(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page(width=MIN_WIDTH)
    widths = {
        name: page.evaluate("document.documentElement.scrollWidth") for name in iterate_pages(page, admin_service)
    }

    assert {name: width for name, width in widths.items() if width > MIN_WIDTH} == {}


def test_everything_is_reached_by_keyboard(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    missing = {}
    for name, target in list_pages(admin_service.stories).items():
        page.goto(f"{admin_service.origin}{target}")
        expected = page.locator(CONTROLS).evaluate_all("elements => elements.filter(e => e.checkVisibility()).length")
        page.evaluate("window.reached = new Set()")
        for _ in range(expected + HEADER_CONTROLS):
            page.keyboard.press("Tab")
            page.evaluate("window.reached.add(document.activeElement)")
        reached = page.evaluate(
            "selector => [...window.reached].filter(element => element.matches(selector)).length", CONTROLS
        )
        if reached < expected:
            missing[name] = (reached, expected)

    assert missing == {}


def test_focus_is_visible(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    page.goto(f"{admin_service.origin}/admin/jobs")
    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_pages_without_colours_of_their_own_show_every_status(open_page: OpenPage, admin_service: AdminService) -> None:
    page = open_page()
    page.emulate_media(forced_colors="active")
    page.goto(f"{admin_service.origin}/admin/jobs")

    assert "● succeeded" in page.locator("tbody").inner_text()
