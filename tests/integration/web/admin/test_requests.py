"""The page of one request, and the actions on it."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from tests.support.admin_pages import Browser
from tests.support.api_calls import UNKNOWN_ID, create_request, send
from tests.support.factories import event
from tests.support.http import Server

FAR_FUTURE = "2126-01-01T00:00:00Z"


def set_status(connection: Connection, request_id: str, status: str, *, conflict: bool = False) -> None:
    """Set a request's status, as after one attempt without a response and one with a response."""
    finished = "NULL" if status in {"unknown", "accepted", "queued"} else "now()"
    connection.execute(
        f"""UPDATE requests SET status = %(status)s, detail = 'as it was', attempts = 2, due_at = NULL,
            finished_at = {finished}, conflict_deadline_at = CASE WHEN %(conflict)s THEN now() + interval '1 day' END
            WHERE id = %(id)s""",
        {"status": status, "conflict": conflict, "id": UUID(request_id)},
    )
    connection.execute(
        """INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status, response_headers,
                response_body, error)
            VALUES (gen_random_uuid(), %(id)s, 1, now(), now() + interval '90 s', NULL, NULL, NULL, 'no response'),
                (gen_random_uuid(), %(id)s, 2, now(), now(), 422, '{"x-trace": "t-1"}', %(body)s, NULL)""",
        {"id": UUID(request_id), "body": b'{"error": "<script>odd</script> \xff"}'},
    )


def create_ended(api: Server, connection: Connection, status: str, **more: bool) -> str:
    request_id: str = create_request(api)["id"]
    set_status(connection, request_id, status, **more)
    return request_id


def find_status(api: Server, request_id: str) -> str:
    return str(send(api, "GET", f"/v1/requests/{request_id}").json["status"])


def test_request_shows_what_was_sent_and_answered(api: Server, browser: Browser, web_connection: Connection) -> None:
    metadata = {"order": 7, "vip": True, "nested": {"a": 1}, "none": None}
    request = create_request(api, metadata=metadata, notify_url="https://shop.example/x")
    set_status(web_connection, request["id"], "rejected")
    page = browser.open(f"/admin/requests/{request['id']}")
    for text in (
        "⊘ rejected The provider refused it for good: as it was.",
        '"client_reference": "c-',
        "Client bootstrap",
        "HTTP 422",
        "no response",
        "90 s",
        "x-trace: t-1",
        '"error": "<script>odd</script> \\xff"',
        "Notifies https://shop.example/x (request)",
    ):
        assert text in page.text, text
    assert "<script>odd" not in page.source
    assert {"/admin/requests?metadata.order=7", "/admin/requests?metadata.vip=true"} <= set(page.urls)


def test_only_admin_sees_the_responses(
    api: Server, browse_as: Callable[..., Browser], web_connection: Connection
) -> None:
    request_id = create_ended(api, web_connection, "unknown")
    page = browse_as(scopes=["read"]).open(f"/admin/requests/{request_id}")
    assert page.status == 200
    assert "x-trace" not in page.source
    assert "Keys of scope admin see the responses." in page.text
    assert "Retry…" not in page.text


def test_request_of_another_client_or_provider_is_not_found(api: Server, browse_as: Callable[..., Browser]) -> None:
    request_id = create_request(api)["id"]
    for key in ({"scopes": ["submit"]}, {"scopes": ["admin"], "providers": ["another"]}):
        assert browse_as(**key).open(f"/admin/requests/{request_id}").status == 404
        assert browse_as(**key).open(f"/admin/requests/{request_id}/cancel").status == 404


def test_jobs_of_a_request_are_links(api: Server, browser: Browser, web_connection: Connection) -> None:
    request_id = create_request(api)["id"]
    references = [f"ref-{number:03}-{uuid4().hex}" for number in range(21)]
    events = [
        event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=UUID(request_id))
        for reference in references
    ]
    reconcile(web_connection, events)
    page = browser.open(f"/admin/requests/{request_id}")
    assert sum(url.startswith("/admin/jobs/") for url in page.urls) == 20
    assert page.find_link("All 21 jobs") == f"/admin/jobs?request_id={request_id}"


def test_queued_request_is_cancelled_with_a_reason(api: Server, browser: Browser) -> None:
    request_id = create_request(api, send_after=FAR_FUTURE)["id"]
    page = browser.open(f"/admin/requests/{request_id}")
    assert "◌ queued It waits to be sent for the first time." in page.text
    page = browser.open(page.find_link("Cancel…"))
    assert "The request is not sent any more." in page.text
    page = browser.submit(page, "/cancel", reason="sent by mistake")
    assert page.url.endswith(f"/admin/requests/{request_id}")
    assert "The request will not be sent. It is cancelled." in page.text
    assert "sent by mistake" in page.text
    assert find_status(api, request_id) == "cancelled"


def test_queued_request_is_sent_now(api: Server, browser: Browser) -> None:
    request_id = create_request(api, send_after=FAR_FUTURE)["id"]
    page = browser.submit(browser.open(f"/admin/requests/{request_id}/send-now"), "/send-now")
    assert "The request is due now." in page.text
    assert send(api, "GET", f"/v1/requests/{request_id}").json["due_at"] < FAR_FUTURE


def test_retry_of_unknown_request_must_be_confirmed(api: Server, browser: Browser, web_connection: Connection) -> None:
    request_id = create_ended(api, web_connection, "unknown")
    page = browser.open(f"/admin/requests/{request_id}/retry")
    assert "The provider may act twice" in page.text
    page = browser.submit(page, "/retry", reason="asked <them>")
    assert page.status == 400
    assert "Confirmation: Confirm that the provider may act twice." in page.text
    assert page.find_form("/retry").fields["reason"] == "asked <them>"
    assert find_status(api, request_id) == "unknown"
    page = browser.submit(page, "/retry", confirm="yes")
    assert "The request will be sent again. It is queued." in page.text
    assert find_status(api, request_id) == "queued"


def test_unknown_request_without_reference_is_to_be_resolved(
    api: Server, browser: Browser, web_connection: Connection
) -> None:
    request_id = create_ended(api, web_connection, "unknown")
    web_connection.execute(
        "UPDATE requests SET detail = '1 × accepted, but no reference at `data.id`' WHERE id = %s", [request_id]
    )
    page = browser.open(f"/admin/requests/{request_id}")
    assert "The provider accepted it, but its response has no reference at data.id" in page.text
    assert "Do not retry it: the provider would act twice." in page.text
    assert f"receiver request resolve {request_id} --status accepted" in page.text
    assert "The provider would act twice" in browser.open(f"/admin/requests/{request_id}/retry").text


def test_retry_of_failed_request_needs_no_confirmation(
    api: Server, browser: Browser, web_connection: Connection
) -> None:
    request_id = create_ended(api, web_connection, "failed")
    browser.submit(browser.open(f"/admin/requests/{request_id}/retry"), "/retry")
    assert find_status(api, request_id) == "queued"


def test_unknown_request_is_resolved_with_references(api: Server, browser: Browser, web_connection: Connection) -> None:
    request_id, reference = create_ended(api, web_connection, "unknown"), f"ref-{uuid4().hex}"
    page = browser.open(f"/admin/requests/{request_id}/resolve")
    page = browser.submit(page, "/resolve", status="accepted", references=f" {reference}\r\n\r\n", reason="console")
    assert "The request is resolved. It is accepted." in page.text
    assert reference in page.text
    assert f"accepted as {reference}: console" in page.text


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({}, ["Status: Must be one of", "Reason: Field may not be null."]),
        ({"status": "accepted", "reason": "so"}, ["References: Missing data for required field."]),
        (
            {"status": "failed", "references": "r", "reason": "so"},
            ["References: Allowed only with the status accepted"],
        ),
    ],
)
def test_invalid_resolution_is_named_at_its_fields(
    api: Server, browser: Browser, web_connection: Connection, fields: dict[str, str], messages: list[str]
) -> None:
    request_id = create_ended(api, web_connection, "unknown")
    page = browser.submit(browser.open(f"/admin/requests/{request_id}/resolve"), "/resolve", **fields)
    assert page.status == 400
    for message in messages:
        assert message in page.text
    for url in page.urls:
        assert not url.startswith("#field-") or url.removeprefix("#") in page.ids
    assert len(page.ids) == len(set(page.ids))


def test_foreign_reference_is_refused(api: Server, browser: Browser, web_connection: Connection) -> None:
    request_id, reference = create_ended(api, web_connection, "accepted", conflict=True), f"ref-{uuid4().hex}"
    reconcile(web_connection, [event(reference, source=EventSource.RESPONSE, request_id=uuid4())])
    page = browser.open(f"/admin/requests/{request_id}")
    assert "≠ reference conflict" in page.text
    page = browser.open(page.find_link("Resolve…"))
    page = browser.submit(page, "/resolve", status="accepted", references=reference, reason="so")
    assert page.status == 409
    assert "belongs to request" in page.text
    assert page.find_form("/resolve").fields["references"].strip() == reference


def test_action_that_the_status_does_not_allow_is_explained(api: Server, browser: Browser) -> None:
    request_id = create_request(api, send_after=FAR_FUTURE)["id"]
    page = browser.open(f"/admin/requests/{request_id}/send-now")
    send(api, "POST", f"/v1/requests/{request_id}/cancel")
    page = browser.submit(page, "/send-now")
    assert page.status == 409
    assert "The request is cancelled. Only a queued request can be sent now." in page.text
    assert not browser.open(f"/admin/requests/{request_id}/send-now").has_form("/send-now")


def test_pause_of_the_provider_is_named_as_the_reason(api: Server, browser: Browser) -> None:
    request_id = create_request(api, provider="silent")["id"]
    send(api, "POST", "/v1/providers/silent/pause", {"reason": "tests"})
    page = browser.open(f"/admin/requests/{request_id}")
    send(api, "POST", "/v1/providers/silent/resume")
    assert "silent is paused" in page.text
    assert "/admin/providers/silent" in page.urls


def test_erased_request_has_no_payload(api: Server, browser: Browser, web_connection: Connection) -> None:
    request_id = create_ended(api, web_connection, "failed")
    web_connection.execute("UPDATE requests SET payload = NULL, erased_at = now() WHERE id = %s", [UUID(request_id)])
    page = browser.open(f"/admin/requests/{request_id}")
    assert "Erased" in page.text
    assert "Retry…" not in page.text


def test_large_request_stays_a_small_page(api: Server, browser: Browser, web_connection: Connection) -> None:
    metadata = {f"key-{number}": "<" * 300 for number in range(60)}
    request_id = create_request(api, metadata=metadata)["id"]
    set_status(web_connection, request_id, "rejected")
    large, params = "<&>" * 100_000, {"id": UUID(request_id)}
    web_connection.execute(
        "UPDATE requests SET payload = jsonb_build_object('text', %(text)s::text), detail = %(text)s WHERE id = %(id)s",
        {"text": large, **params},
    )
    web_connection.execute(
        """UPDATE attempts SET response_body = %(body)s, error = %(text)s,
            response_headers = jsonb_build_object('x', %(text)s::text) WHERE request_id = %(id)s""",
        {"body": large.encode(), "text": large, **params},
    )
    page = browser.open(f"/admin/requests/{request_id}")
    assert page.status == 200
    assert len(page.source.encode()) < 60_000
    assert "Only the beginning of" in page.text


def test_unknown_request_is_a_page(browser: Browser) -> None:
    assert browser.open(f"/admin/requests/{UNKNOWN_ID}").status == 404
    assert browser.open(f"/admin/requests/{UNKNOWN_ID}/delete").status == 404
