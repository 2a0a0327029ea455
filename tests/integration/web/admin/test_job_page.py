"""The page of one job: why its status is what it is, its timeline, raw data by scope, and its actions."""

from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobEvent, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from tests.support.admin_pages import Browser, browse
from tests.support.api_calls import UNKNOWN_ID, create_history, create_job, create_key, create_request, send
from tests.support.factories import event
from tests.support.http import Server, build_report
from tests.support.processes import ADMIN_KEY, Web


@pytest.fixture
def browser(web: Web) -> Browser:
    """A browser, signed in with the bootstrap key."""
    browser = browse(web)
    browser.sign_in(ADMIN_KEY)
    return browser


def store(connection: Connection, *events: JobEvent) -> str:
    """Store events of one job and return the path of its page."""
    for item in events:
        reconcile(connection, [item])
    return f"/admin/jobs/{derive_job_id('sandbox', events[0].reference)}"


def call_back(web: Web, reference: str, state: str = "DELIVERED") -> str:
    """Deliver a callback and return the path of the page of its job."""
    assert web.call_back(build_report(reference, state)).status == 200
    return f"/admin/jobs/{derive_job_id('sandbox', reference)}"


def create_sent_job(api: Server, connection: Connection, body: str = '{"items": []}') -> tuple[str, str]:
    """Create a job of a request that was accepted by its only attempt; return the paths of their pages."""
    request = create_request(api, metadata={"order": 7, "customer": "Ada"})
    connection.execute(
        """INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status, response_headers,
            response_body) VALUES (%s, %s, 1, %s, now() + interval '1 s', 202, '{}', convert_to(%s, 'UTF8'))""",
        [uuid4(), request["id"], request["created_at"], body],
    )
    connection.execute("UPDATE requests SET status = 'accepted', due_at = NULL WHERE id = %s", [request["id"]])
    offset = (datetime.now(UTC) - datetime(2026, 11, 23, 12, tzinfo=UTC)).total_seconds()
    accepted = event(
        f"ref-{uuid4().hex}",
        JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        request_id=UUID(request["id"]),
        at=offset,
    )
    return store(connection, accepted), f"/admin/requests/{request['id']}"


def test_page_explains_the_status_and_shows_the_steps(browser: Browser, web_connection: Connection) -> None:
    reference = f"ref-{uuid4().hex}"
    path = store(
        web_connection,
        event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), at=0),
        event(reference, JobStatus.SUCCEEDED, at=60),
        event(reference, JobStatus.FAILED, at=8_100),
    )
    page = browser.open(path)
    assert page.title.startswith(f"Job {reference}")
    assert "● succeeded ≠ disputed" in page.text
    assert (
        "Succeeded: the provider's callback of 2026-11-23 12:01:00 UTC reported succeeded ; later, the provider's "
        "callback of 2026-11-23 14:15:00 UTC reported failed , which contradicts it, so the job is disputed."
    ) in page.text
    assert "nothing for 2 h 14 min" in page.text
    assert [name for name in page.ids if name.startswith("step-")] == ["step-1", "step-2", "step-3"]
    assert "● succeeded ✓ applied decides the status" in page.text
    assert "✕ failed ≠ disputed" in page.text


def test_page_shows_the_sending_and_raw_data(browser: Browser, api: Server, web_connection: Connection) -> None:
    job_path, request_path = create_sent_job(api, web_connection, '{"items": ["<b>raw</b>"]}')
    page = browser.open(job_path)
    for text in ("Submitted send", "Attempt 1", "Response 202", "order: 7 , customer: Ada", "client bootstrap"):
        assert text in page.text
    assert request_path in page.urls
    assert "&lt;b&gt;raw&lt;/b&gt;" in page.source
    assert "<b>raw</b>" not in page.source


def test_page_of_open_job_names_deadline_and_poll(browser: Browser, web_connection: Connection) -> None:
    page = browser.open(f"/admin/jobs/{create_job(web_connection)}")
    assert "Deadline" in page.text
    assert "none is planned" in page.text or "due since" in page.text or "Next poll in" in page.text
    assert "(expected) Deadline ? unresolved" in page.text
    assert page.has_form("/poll")


def test_page_of_final_job_offers_no_poll(browser: Browser, web: Web) -> None:
    page = browser.open(call_back(web, f"ref-{uuid4().hex}"))
    assert "∅ unmatched" in page.text
    assert not page.has_form("/poll")
    assert page.has_form("/resolve")


def test_page_links_the_callback_and_shows_its_body(browser: Browser, web: Web) -> None:
    reference = f"ref-{uuid4().hex}"
    page = browser.open(call_back(web, reference))
    assert browser.open(page.find_link("callback")).title.startswith("Callback of")
    assert f'"id": "{reference}"' in unescape(page.source)


def test_page_stays_small_with_many_events(browser: Browser, web_connection: Connection) -> None:
    reference = f"ref-{uuid4().hex}"
    statuses = [JobStatus.SUCCEEDED, JobStatus.IN_PROGRESS, JobStatus.FAILED]
    events = [event(reference, statuses[n % 3], at=97 * n, callback_id=uuid4()) for n in range(400)]
    for number, item in enumerate(events):
        item.provider_status, item.detail = f"STATUS_{number}", "subscriber absent " * 50  # type: ignore[misc]
    reconcile(web_connection, events)
    page = browser.open(f"/admin/jobs/{derive_job_id('sandbox', reference)}")
    assert page.status == 200
    assert len(page.source.encode()) < 60_000
    assert "STATUS_399" in page.text
    assert "steps are left out" in page.text
    assert "Steps after it are left out." in page.text
    listed = browser.open(page.find_link("All events of the job"))
    assert "Step" not in listed.text.partition("STATUS_399")[0]
    assert len(listed.source.encode()) < 60_000
    assert "STATUS_340" in browser.open(listed.find_link("Older")).text


def test_repeated_events_are_folded(browser: Browser, web_connection: Connection) -> None:
    page = browser.open(f"/admin/jobs/{create_history(web_connection, 90)}")
    assert "88 × Callback" in page.text
    assert "and 87 more like it until" in page.text


def test_all_events_of_a_job_are_listed(browser: Browser, web_connection: Connection) -> None:
    path = f"/admin/jobs/{create_history(web_connection, 60)}/events"
    page = browser.open(path)
    assert len([name for name in page.ids if name.startswith("step-")]) == 50
    assert "decides the status" in browser.open(page.find_link("Older")).text
    assert browser.open(f"{path}?cursor=x").status == 400


def test_resolve_asks_for_status_and_reason(browser: Browser, web_connection: Connection) -> None:
    path = f"/admin/jobs/{create_job(web_connection)}"
    refused = browser.submit(browser.open(path), "/resolve", reason="")
    assert refused.status == 400
    assert {"field-status", "field-reason"} <= set(refused.ids)
    assert {"#field-status", "#field-reason"} <= set(refused.urls)
    page = browser.submit(browser.open(path), "/resolve", status="failed", reason="They said so <on the phone>")
    assert page.status == 200
    assert "You resolved the job as failed." in page.text
    assert "bootstrap resolved it at" in page.text
    assert "They said so <on the phone>" in page.text


def test_poll_now_is_recorded(browser: Browser, web_connection: Connection) -> None:
    path = f"/admin/jobs/{create_job(web_connection)}"
    page = browser.submit(browser.open(path), "/poll", reason="the customer asks")
    assert "The provider is polled within seconds." in page.text
    assert "poll requested: the customer asks" in page.text


def test_poll_of_job_that_became_final_is_refused(browser: Browser, web_connection: Connection) -> None:
    path = f"/admin/jobs/{create_job(web_connection)}"
    page = browser.open(path)
    browser.submit(page, "/resolve", status="failed", reason="known")
    refused = browser.submit(page, "/poll")
    assert (refused.status, "There is nothing to poll." in refused.text) == (409, True)


def test_callback_of_job_is_replayed(browser: Browser, web: Web) -> None:
    path = call_back(web, f"ref-{uuid4().hex}")
    page = browser.submit(browser.open(path), "/replay", reason="after a change")
    assert "Its verdict is accepted; the job is succeeded as before." in page.text
    callback = browser.open(page.find_link("callback"))
    assert "replay by bootstrap: after a change" in callback.text


def test_callback_of_another_job_is_not_replayed(browser: Browser, web: Web) -> None:
    page = browser.open(call_back(web, f"ref-{uuid4().hex}"))
    for callback_id in (UNKNOWN_ID, "", "x"):
        refused = browser.submit(page, "/replay", callback_id=callback_id)
        assert (refused.status, "Choose one of the callbacks of this job." in refused.text) == (400, True)


def test_read_key_sees_no_raw_data_and_no_actions(api: Server, web: Web, web_connection: Connection) -> None:
    path, _ = create_sent_job(api, web_connection, '{"items": ["raw-response"]}')
    reader = browse(web)
    reader.sign_in(create_key(api, scopes=["read"]))
    page = reader.open(path)
    assert (page.status, "raw-response" in page.source) == (200, False)
    assert "that takes the scope admin" in page.text
    assert "Response 202" in page.text
    assert not any(page.has_form(action) for action in ("/resolve", "/poll", "/replay"))
    assert reader.post(f"{path}/resolve", {"status": "failed", "reason": "x"}).status == 403


def test_submit_key_sees_only_jobs_of_its_client(api: Server, web: Web, web_connection: Connection) -> None:
    path, _ = create_sent_job(api, web_connection)
    client = browse(web)
    client.sign_in(create_key(api, scopes=["submit"]))
    assert client.open(path).status == 404
    own = send(api, "POST", "/v1/jobs", {"provider": "sandbox", "reference": f"ref-{uuid4().hex}"}).json
    assert client.open(f"/admin/jobs/{own['id']}").status == 404


def test_unknown_job_is_not_found(browser: Browser) -> None:
    for path in (f"/admin/jobs/{UNKNOWN_ID}", f"/admin/jobs/{UNKNOWN_ID}/events"):
        assert browser.open(path).status == 404


def test_tracked_job_shows_who_tracks_it(browser: Browser, api: Server) -> None:
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job = send(
        api, "POST", "/v1/jobs", {"provider": "sandbox", "reference": f"ref-{uuid4().hex}", "deadline": deadline}
    ).json
    page = browser.open(f"/admin/jobs/{job['id']}")
    assert "Accepted: bootstrap tracks it since" in page.text
    assert "Tracked by bootstrap" in page.text
