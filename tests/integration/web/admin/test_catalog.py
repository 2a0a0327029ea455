"""The pages of the catalog: what they show, the URL of this installation, and that every signed-in key sees them."""

from collections.abc import Callable

from receiver.providers.catalog.entries import list_entries
from tests.support.admin_pages import Browser, browse
from tests.support.catalog import SAMPLE
from tests.support.processes import Web

MAX_BYTES = 60_000


def list_shown(browser: Browser, query: str = "") -> list[str]:
    """Return the names of the entries that the list shows."""
    urls = browser.open(f"/admin/providers/catalog{query}").urls
    return [url.rpartition("/")[2] for url in urls if url.startswith("/admin/providers/catalog/")]


def test_catalog_lists_every_entry(browser: Browser) -> None:
    assert sorted(list_shown(browser)) == list_entries()
    page = browser.open("/admin/providers/catalog")
    assert f"{len(list_entries())} providers" in page.text
    assert len(page.source.encode()) < MAX_BYTES
    assert "/admin/providers/catalog" in browser.open("/admin/providers").urls


def test_catalog_is_filtered_by_field_and_text(browser: Browser) -> None:
    page = browser.submit(browser.open("/admin/providers/catalog"), "/catalog", field="sms", search="messaGES")
    assert page.url == "/admin/providers/catalog?field=sms&search=messaGES"
    assert {"/admin/providers/catalog/telnyx", "/admin/providers/catalog/twilio"} <= set(page.urls)
    assert page.find_form("/catalog").fields == {"field": "sms", "search": "messaGES"}
    assert "replicate" not in list_shown(browser, "?field=sms")
    assert list_shown(browser, "?search=Twilio+Messages") == ["twilio"]
    assert "No provider of the catalog matches." in browser.open("/admin/providers/catalog?field=none").text
    assert "&lt;b&gt;" in browser.open("/admin/providers/catalog?search=%3Cb%3E").source


def test_entry_shows_what_its_users_need(browser: Browser) -> None:
    page = browser.open("/admin/providers/catalog/twilio")
    assert page.title.startswith("Twilio Messages")
    assert "start them again: a running process does not see new variables" in page.text
    for text in (
        'data-copy="https://receiver.example/callbacks/twilio"',
        'data-copy="receiver provider add twilio"',
        "auth_token = &#34;env:TWILIO_AUTH_TOKEN&#34;",
    ):
        assert text in page.source
    for text in (
        "The URL is sent with each request.",
        "Trust signature : The signature covers everything that decides about a job.",
        "Auth Token, from the first page of the console; it signs callbacks too yes yes",
        "send POST /Messages.json To StatusCallback",
        "partially_delivered ? unresolved callback, poll",
        "Verified by vendor's documents",
    ):
        assert text in page.text
    assert "https://www.twilio.com/docs/usage/webhooks/webhooks-security" in page.urls
    assert len(page.ids) == len(set(page.ids))


def test_entries_of_all_fields_have_a_page(browser: Browser) -> None:
    for name in SAMPLE:
        page = browser.open(f"/admin/providers/catalog/{name}")
        assert page.status == 200, name
        assert f"https://receiver.example/callbacks/{name}" in page.text
        assert len(page.source.encode()) < MAX_BYTES, name


def test_misspelt_entry_is_suggested(browser: Browser) -> None:
    page = browser.open("/admin/providers/catalog/twillio")
    assert page.status == 404
    assert "The catalog has no provider twillio. Did you mean twilio?" in page.text


def test_every_signed_in_key_sees_the_catalog(web: Web, browse_as: Callable[..., Browser]) -> None:
    for fields in ({"scopes": ["submit"]}, {"scopes": ["read"], "providers": ["another"]}):
        browser = browse_as(**fields)
        assert browser.open("/admin/providers/catalog").status == 200
        assert browser.open("/admin/providers/catalog/twilio").status == 200
    assert browse(web).open("/admin/providers/catalog").url.startswith("/admin/login")
