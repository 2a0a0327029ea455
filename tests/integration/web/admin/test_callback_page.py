"""The page of one callback: whether it is genuine, what it says, what became of it, and its replay."""

from uuid import uuid4

import pytest

from receiver.store.connections import Connection
from tests.support.admin_pages import Browser, HtmlPage, browse
from tests.support.api_calls import UNKNOWN_ID, create_key
from tests.support.http import Json, Server, build_report, build_reports, sign_callback
from tests.support.processes import ADMIN_KEY, Web, wait_for

OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def browser(web: Web) -> Browser:
    """A browser, signed in with the bootstrap key."""
    browser = browse(web)
    browser.sign_in(ADMIN_KEY)
    return browser


def find_newest(api: Server, verdict: str, provider: str = "sandbox") -> Json:
    """Return the newest callback with a verdict; refused ones are stored a little later."""
    path = f"/v1/callbacks?limit=1&verdict={verdict}&provider={provider}"
    item: Json = wait_for(lambda: api.call("GET", path).json["items"])[0]
    return item


def call_back(web: Web, api: Server, body: bytes, verdict: str = "accepted") -> str:
    """Deliver a callback and return the path of its page."""
    web.call_back(body)
    return f"/admin/callbacks/{find_newest(api, verdict)['id']}"


def open_page(browser: Browser, web: Web, api: Server, state: str = "DELIVERED", verdict: str = "accepted") -> HtmlPage:
    """Deliver a callback about a new job and open its page."""
    return browser.open(call_back(web, api, build_report(f"ref-{uuid4().hex}", state), verdict))


def test_page_of_accepted_callback(browser: Browser, web: Web, api: Server) -> None:
    page = open_page(browser, web, api)
    for text in (
        "✓ accepted It is genuine, and was recorded.",
        "Its signature matched the secret with the fingerprint",
        "The signature covers everything that decides about a job.",
        "POST /callbacks/sandbox",
        "127.0.0.1",
        "● succeeded DELIVERED ✓ applied",
        "JSON,",
        "webhook-signature",
    ):
        assert text in page.text
    assert any(url.startswith("/admin/jobs/") for url in page.urls)


def test_page_of_duplicate_links_the_first_delivery(browser: Browser, web: Web, api: Server) -> None:
    body = build_report(f"ref-{uuid4().hex}")
    headers = sign_callback(body)
    for _ in range(3):
        assert web.call("POST", "/callbacks/sandbox", body, headers).status == 200
    first, duplicate = find_newest(api, "accepted")["id"], find_newest(api, "duplicate")["id"]
    page = browser.open(f"/admin/callbacks/{duplicate}")
    assert "It is genuine, and was received before: this delivery changed nothing." in page.text
    assert "The provider sent the same callback 3 times." in page.text
    assert page.urls.count(f"/admin/callbacks/{first}") == 2
    assert "● succeeded DELIVERED ✓ applied" in page.text
    replayed = browser.submit(page, "/replay")
    assert (replayed.url.endswith(f"/admin/callbacks/{first}"), "was processed again" in replayed.text) == (True, True)


def test_page_of_unmapped_callback_says_what_to_do(browser: Browser, web: Web, api: Server) -> None:
    page = open_page(browser, web, api, "PAINTED", "unmapped")
    assert "not mapped PAINTED" in page.text
    assert "Add the status there, reload the configuration (SIGHUP), and replay the callback." in page.text


def test_page_of_invalid_callback_lists_what_is_wrong(browser: Browser, web: Web, api: Server) -> None:
    page = browser.open(call_back(web, api, b'{"results": [{"id": "\\u0000"}], "x": "<script>"}', "invalid"))
    assert "It is genuine, but cannot be read as the configuration says" in page.text
    assert "What is wrong Part Message" in page.text
    assert "Nothing of it was recorded." in page.text
    assert "<script>&#34;" not in page.source


def test_page_of_refused_callback_explains_why(browser: Browser, web: Web, api: Server) -> None:
    body = build_report(f"ref-{uuid4().hex}")
    assert web.call("POST", "/callbacks/another", body, sign_callback(body, secret=OTHER_SECRET)).status == 401
    page = browser.open(f"/admin/callbacks/{find_newest(api, 'refused', 'another')['id']}")
    assert "⊘ refused It is not proven to be genuine: no job was changed." in page.text
    assert "If it is from the provider: correct the cause in receiver.toml" in page.text
    assert "webhook-signature" in page.text
    assert "Its signature matched" not in page.text
    refused = browser.submit(page, "/replay", reason="try again")
    assert (refused.status, "The callback is still refused" in refused.text) == (409, True)
    assert "try again" in refused.source


def test_replay_shows_what_it_did(browser: Browser, web: Web, api: Server) -> None:
    page = browser.submit(open_page(browser, web, api), "/replay", reason="a new mapping")
    assert "The callback was processed again. Its verdict is accepted as before." in page.text
    assert "replay by bootstrap: a new mapping" in page.text


def test_large_callback_is_cut_and_its_size_named(browser: Browser, web: Web, api: Server) -> None:
    reports = [{"id": f"ref-{uuid4().hex}", "state": "DELIVERED", "note": "<&'\">" * 9} for _ in range(900)]
    body = build_reports(*reports)
    path = call_back(web, api, body)
    page = browser.open(path)
    assert page.status == 200
    assert len(page.source.encode()) < 60_000
    assert f"JSON, {len(body):,} characters; only the beginning is shown." in page.text
    assert f"receiver callback show {path.rpartition('/')[2]} --json" in page.text
    assert "30 first reports" in page.text


def test_binary_body_is_shown_as_escapes(browser: Browser, web: Web, api: Server) -> None:
    web.call("POST", "/callbacks/tokened/an-unguessable-end-of-the-url", b"\x89PNG\x00\xff\xfe\xfd\xfc\x1b[31m")
    page = browser.open(f"/admin/callbacks/{find_newest(api, 'invalid', 'tokened')['id']}")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "\\x89PNG\\x00\\xff\\xfe\\xfd\\xfc\\x1b[31m" in page.text
    assert "an-unguessable-end" not in page.source


def test_erased_callback_cannot_be_replayed(
    browser: Browser, web: Web, api: Server, web_connection: Connection
) -> None:
    path = call_back(web, api, build_report(f"ref-{uuid4().hex}"))
    web_connection.execute(
        "UPDATE callbacks SET body = '', headers = '{}', caller_address = NULL, erased_at = now() WHERE id = %s",
        [path.rpartition("/")[2]],
    )
    page = browser.open(path)
    assert "Its address, headers and body were erased on" in page.text
    assert "● succeeded DELIVERED" in page.text
    assert not page.has_form("/replay")


def test_read_key_sees_no_raw_data(browser: Browser, web: Web, api: Server) -> None:
    body = build_report(f"ref-{uuid4().hex}", note="raw-callback")
    path = call_back(web, api, body)
    assert "raw-callback" in browser.open(path).source
    reader = browse(web)
    reader.sign_in(create_key(api, scopes=["read"]))
    page = reader.open(path)
    assert page.status == 200
    assert "● succeeded DELIVERED ✓ applied" in page.text
    assert "Your key does not show its body, headers and caller's address" in page.text
    assert not any(text in page.source for text in ("raw-callback", "webhook-signature", "127.0.0.1"))
    assert not page.has_form("/replay")


def test_submit_key_sees_no_callbacks(web: Web, api: Server) -> None:
    client = browse(web)
    client.sign_in(create_key(api, scopes=["submit"]))
    assert client.open(call_back(web, api, build_report(f"ref-{uuid4().hex}"))).status == 403


def test_unknown_callback_is_not_found(browser: Browser) -> None:
    assert browser.open(f"/admin/callbacks/{UNKNOWN_ID}").status == 404
    token = browser.open("/admin/").find_form("/admin/logout").fields
    assert browser.post(f"/admin/callbacks/{UNKNOWN_ID}/replay", token).status == 404
