"""`notify_url` in submissions: what is accepted, what is refused, and how notifications are found."""

from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.notifications import NotificationType
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.connections import Connection
from receiver.store.requests import NewRequest, submit_requests
from tests.support.api_calls import build_submission, create_key, create_request, send, submit
from tests.support.http import Json, Server, parse_problem

NOTIFY_URL = "https://shop.example/notifications?order=7"


def test_notify_url_is_shown_with_request(api: Server) -> None:
    request = create_request(api, notify_url=NOTIFY_URL, metadata={"notify": (marker := uuid4().hex)})
    assert request["notify_url"] == NOTIFY_URL
    assert send(api, "GET", f"/v1/requests/{request['id']}").json["notify_url"] == NOTIFY_URL
    [item] = send(api, "GET", f"/v1/requests?metadata.notify={marker}").json["items"]
    assert item["notify_url"] == NOTIFY_URL
    assert create_request(api)["notify_url"] is None
    assert create_request(api, notify_url=None)["notify_url"] is None


def test_notify_events_are_shown_with_request(api: Server) -> None:
    for submitted, shown in (
        (["job"], ["job"]),
        (["request", "job_change", "job"], ["request", "job_change", "job"]),
        (["request"], ["request"]),
    ):
        request = create_request(api, notify_url=NOTIFY_URL, notify_events=submitted)
        assert send(api, "GET", f"/v1/requests/{request['id']}").json["notify_events"] == shown
    assert create_request(api, notify_url=NOTIFY_URL)["notify_events"] == ["request"]
    assert create_request(api)["notify_events"] is None
    assert create_request(api, notify_url=None, notify_events=["job"])["notify_events"] is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"notify_events": ["job"]}, "Allowed only with a notify_url."),
        ({"notify_events": [], "notify_url": NOTIFY_URL}, "Length must be between 1 and 3."),
        ({"notify_events": "job", "notify_url": NOTIFY_URL}, "Not a valid list."),
        ({"notify_events": None, "notify_url": NOTIFY_URL}, "Field may not be null."),
    ],
)
def test_invalid_notify_events_are_refused(api: Server, fields: Json, error: str) -> None:
    assert parse_problem(submit(api, build_submission(**fields)))["errors"] == {"notify_events": [error]}
    tracking = {"provider": "sandbox", "reference": "ref-1", **fields}
    assert parse_problem(send(api, "POST", "/v1/jobs", tracking))["errors"] == {"notify_events": [error]}


def test_unknown_notify_event_is_refused(api: Server) -> None:
    response = submit(api, build_submission(notify_url=NOTIFY_URL, notify_events=["job", "poll"]))
    assert parse_problem(response)["errors"] == {"notify_events": {"1": ["Must be one of: request, job, job_change."]}}


def test_batch_items_have_their_own_notify_url(api: Server) -> None:
    batch = {
        "requests": [
            build_submission(notify_url=NOTIFY_URL),
            build_submission(),
            build_submission(notify_url="https://eu.shop.example/"),
        ]
    }
    response = send(api, "POST", "/v1/requests/batch", batch)
    assert response.status == 202
    assert [item["notify_url"] for item in response.json["items"]] == [NOTIFY_URL, None, "https://eu.shop.example/"]


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://evil.example/", "Add it to RECEIVER_NOTIFY_HOSTS"),
        ("http://shop.example/", "RECEIVER_NOTIFY_NETWORKS"),
        ("https://10.0.0.5/", "RECEIVER_NOTIFY_NETWORKS"),
        ("https://user@shop.example/", "user"),
        ("https://shop.example/#there", "fragment"),
        ("https://shop.example/ü", "ASCII"),
        ("https://shop.example/" + "a" * 2_000, "2000"),
        ("told", "https://"),
        ("", "1 and 2000"),
        (7, "string"),
        (["https://shop.example/"], "string"),
    ],
)
def test_forbidden_notify_url_is_refused_with_remedy(api: Server, url: Any, remedy: str) -> None:
    response = submit(api, build_submission(notify_url=url))
    assert response.status == 400
    [error] = parse_problem(response)["errors"]["notify_url"]
    assert remedy in error
    response = send(
        api, "POST", "/v1/requests/batch", {"requests": [build_submission(), build_submission(notify_url=url)]}
    )
    assert response.status == 400
    assert parse_problem(response)["errors"]["requests"]["1"]["notify_url"] == [error]


def test_notify_url_is_part_of_idempotency_fingerprint(api: Server) -> None:
    key, body = uuid4().hex, build_submission(notify_url=NOTIFY_URL)
    first = submit(api, body, idempotency_key=key)
    assert submit(api, body, idempotency_key=key).body == first.body
    assert submit(api, body | {"notify_url": "https://shop.example/"}, idempotency_key=key).status == 409
    del body["notify_url"]
    assert submit(api, body, idempotency_key=key).status == 409


def test_notification_cannot_be_submitted(api: Server) -> None:
    response = submit(
        api,
        build_submission(
            provider=PROVIDER_NAME,
            operation=NotificationType.REQUEST_FINISHED,
            payload={"url": "https://evil.example/", "body": {}},
        ),
    )
    assert response.status == 400
    assert "is not configured" in parse_problem(response)["errors"]["provider"][0]


def test_notification_is_found_cancelled_and_retried(api: Server, web_connection: Connection) -> None:
    request = create_request(api, notify_url=NOTIFY_URL)["id"]
    payload = {"url": NOTIFY_URL, "body": {"type": "request.finished"}}
    notification = NewRequest(
        uuid4(), PROVIDER_NAME, NotificationType.REQUEST_FINISHED, payload, {"request_id": request}, None, None, 60.0
    )
    submit_requests(web_connection, [notification])
    for query in (f"metadata.request_id={request}", f"provider={PROVIDER_NAME}&metadata.request_id={request}"):
        [item] = send(api, "GET", f"/v1/requests?{query}").json["items"]
        assert (item["id"], item["status"]) == (str(notification.id), "queued")
    assert send(api, "POST", f"/v1/requests/{notification.id}/cancel").json["status"] == "cancelled"
    assert send(api, "POST", f"/v1/requests/{notification.id}/retry").json["status"] == "queued"
    restricted_key = create_key(api, providers=["sandbox"])
    assert send(api, "GET", f"/v1/requests/{notification.id}", key=restricted_key).status == 404
    assert PROVIDER_NAME not in {item["name"] for item in send(api, "GET", "/v1/providers").json["items"]}
