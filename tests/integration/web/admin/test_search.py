"""The search box: straight to the only object, otherwise results by kind."""

from collections.abc import Callable
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import derive_job_id
from receiver.store.connections import Connection
from tests.support.admin_pages import Browser, HtmlPage
from tests.support.api_calls import build_submission, create_job, create_key, create_request, send, submit
from tests.support.http import Server, build_report
from tests.support.processes import Web


def search(browser: Browser, text: str) -> HtmlPage:
    return browser.submit(browser.open("/admin/"), "/admin/search", q=text)


def get_path(page: HtmlPage) -> str:
    return urlsplit(page.url).path


def test_id_leads_straight_to_the_object(api: Server, browser: Browser, web: Web, web_connection: Connection) -> None:
    request_id, job_id = create_request(api)["id"], create_job(web_connection)
    web.call_back(build_report(f"ref-{uuid4().hex}"))
    callback_id = send(api, "GET", "/v1/callbacks?limit=1").json["items"][0]["id"]
    key = send(api, "POST", "/v1/keys", {"name": f"key-{uuid4().hex}", "scopes": ["read"]}).json
    for path in (
        f"/admin/requests/{request_id}",
        f"/admin/jobs/{job_id}",
        f"/admin/callbacks/{callback_id}",
        f"/admin/keys/{key['id']}",
    ):
        assert get_path(search(browser, path.rpartition("/")[2])) == path
    assert get_path(search(browser, f" {UUID(request_id).hex.upper()} ")) == f"/admin/requests/{request_id}"


def test_reference_leads_to_its_job_or_lists_several(browser: Browser, web: Web) -> None:
    reference = f"ref {uuid4().hex}"
    web.call_back(build_report(reference))
    assert get_path(search(browser, reference)) == f"/admin/jobs/{derive_job_id('sandbox', reference)}"
    web.call_back(build_report(reference), "another")
    page = search(browser, reference)
    assert get_path(page) == "/admin/search"
    assert {f"/admin/jobs/{derive_job_id(name, reference)}" for name in ("sandbox", "another")} <= set(page.urls)
    assert page.find_form("/admin/search").fields["q"] == reference


@pytest.mark.parametrize("prefix", ["metadata.", ""])
def test_metadata_finds_requests(api: Server, browser: Browser, prefix: str) -> None:
    order = uuid4().hex
    ids = [create_request(api, metadata={"the order": order})["id"] for _ in range(2)]
    page = search(browser, f"{prefix}the order={order}")
    assert {f"/admin/requests/{request_id}" for request_id in ids} <= set(page.urls)


def test_idempotency_key_finds_what_the_call_created(api: Server, browser: Browser) -> None:
    keys = [uuid4().hex for _ in range(3)]
    request_id = submit(api, build_submission(), idempotency_key=keys[0]).json["id"]
    assert get_path(search(browser, keys[0])) == f"/admin/requests/{request_id}"
    batch = {"requests": [build_submission() for _ in range(12)]}
    items = send(api, "POST", "/v1/requests/batch", batch, idempotency_key=keys[1]).json["items"]
    page = search(browser, keys[1])
    assert [f"/admin/requests/{item['id']}" in page.urls for item in items] == [True] * 10 + [False] * 2
    tracked = {"provider": "sandbox", "reference": f"ref-{uuid4().hex}"}
    job_id = send(api, "POST", "/v1/jobs", tracked, idempotency_key=keys[2]).json["id"]
    assert get_path(search(browser, keys[2])) == f"/admin/jobs/{job_id}"


def test_idempotency_key_of_several_clients_finds_each(
    api: Server, browser: Browser, browse_as: Callable[..., Browser]
) -> None:
    idempotency_key, ids = uuid4().hex, {}
    for client in (f"a-{uuid4().hex}", f"b-{uuid4().hex}"):
        key = create_key(api, client=client, scopes=["submit"])
        ids[client] = submit(api, build_submission(), key=key, idempotency_key=idempotency_key).json["id"]
    page = search(browser, idempotency_key)
    assert {f"/admin/requests/{request_id}" for request_id in ids.values()} <= set(page.urls)
    for client, request_id in ids.items():
        own = search(browse_as(client=client, scopes=["submit"]), idempotency_key)
        assert get_path(own) == f"/admin/requests/{request_id}"
    restricted = search(browse_as(scopes=["read"], providers=["another"]), idempotency_key)
    assert "Nothing found for" in restricted.text


def test_keys_find_only_what_they_may_see(api: Server, browse_as: Callable[..., Browser]) -> None:
    order = uuid4().hex
    request_id = create_request(api, metadata={"order": order})["id"]
    for key in ({"scopes": ["submit"]}, {"scopes": ["admin"], "providers": ["another"]}):
        browser = browse_as(**key)
        for text in (request_id, f"order={order}"):
            page = search(browser, text)
            assert "Nothing found for" in page.text
            assert "Your key sees only" in page.text


@pytest.mark.parametrize("text", ["nothing-has-this-name", "a" * 2_000, "=", "=a", "metadata.=", "%00", "<i>", "'\""])
def test_nothing_found_says_what_to_try(browser: Browser, text: str) -> None:
    page = browser.open(f"/admin/search?q={text if text == '%00' else quote(text)}")
    assert page.status == 200
    assert "Nothing found for" in page.text
    assert "The search finds" in page.text


def test_empty_search_explains_itself(browser: Browser) -> None:
    page = search(browser, " ")
    assert page.status == 200
    assert "metadata.customer=42" in page.text
