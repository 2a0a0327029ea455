"""A service with data, chromium, and signed-in pages that fail a test which loads something from elsewhere."""

from collections.abc import Iterator
from typing import Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from tests.browser.chromium import log_in, running_chromium
from tests.browser.service import AdminService, running_service


class OpenPage(Protocol):
    """Open a page that is signed in."""

    def __call__(self, key: str = "", *, javascript: bool = True, width: int = 1_280) -> Page: ...


@pytest.fixture(scope="module")
def admin_service(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminService]:
    """The service whose pages are shown."""
    with running_service(server, tmp_path_factory.mktemp("admin")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def open_page(admin_service: AdminService, chromium: Browser) -> Iterator[OpenPage]:
    """Return a function that opens a page in a browser context of its own, signed in with a key, by default the
    bootstrap key. At the end, every page has loaded nothing from another host, and logged no error.
    """
    contexts, faults = [], list[str]()

    def check_request(request: Request) -> None:
        if not request.url.startswith((f"{admin_service.origin}/", "data:")):
            faults.append(f"loaded {request.url}")

    def check_message(message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text:  # the pages of errors that tests open
            faults.append(message.text)

    def open_page(key: str = "", *, javascript: bool = True, width: int = 1_280) -> Page:
        context = chromium.new_context(java_script_enabled=javascript, viewport={"width": width, "height": 900})
        contexts.append(context)
        context.on("request", check_request)
        context.on("console", check_message)
        page = context.new_page()
        log_in(page, admin_service.origin, key or admin_service.admin_key)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
