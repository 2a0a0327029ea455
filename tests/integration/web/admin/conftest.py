"""Browsers for the tests of the admin pages."""

from collections.abc import Callable

import pytest

from tests.support.admin_pages import Browser, browse
from tests.support.api_calls import create_key
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web


@pytest.fixture
def browser(web: Web) -> Browser:
    """A browser, signed in with the bootstrap key."""
    browser = browse(web)
    browser.sign_in(ADMIN_KEY)
    return browser


@pytest.fixture
def browse_as(web: Web, api: Server) -> Callable[..., Browser]:
    """A function that returns a browser, signed in with a new key of these fields."""

    def sign_in(**fields: object) -> Browser:
        browser = browse(web)
        browser.sign_in(create_key(api, **fields))
        return browser

    return sign_in
