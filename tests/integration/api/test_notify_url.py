"""`notify_url` in submissions: what may be given, what is refused, and how what was told is found."""

from typing import Any
from uuid import uuid4

import pytest

from receiver.providers.webhook import DELIVER, NAME
from receiver.store.database import Connection
from receiver.store.requests import NewRequest, submit_requests
from tests.http import Server, problem_of
from tests.integration.api.calls import new_key, post, send, submission, submitted

TOLD = "https://shop.example/told?order=7"


def test_it_is_shown_wherever_the_request_is(api: Server) -> None:
    request = submitted(api, notify_url=TOLD, metadata={"notify": (name := uuid4().hex)})
    assert request["notify_url"] == TOLD
    assert send(api, "GET", f"/v1/requests/{request['id']}").json["notify_url"] == TOLD
    [listed] = send(api, "GET", f"/v1/requests?metadata.notify={name}").json["items"]
    assert listed["notify_url"] == TOLD
    assert submitted(api)["notify_url"] is None
    assert submitted(api, notify_url=None)["notify_url"] is None


def test_each_of_a_batch_may_have_its_own(api: Server) -> None:
    batch = {"requests": [submission(notify_url=TOLD), submission(), submission(notify_url="https://eu.shop.example/")]}
    taken = send(api, "POST", "/v1/requests/batch", batch)
    assert taken.status == 202
    assert [one["notify_url"] for one in taken.json["items"]] == [TOLD, None, "https://eu.shop.example/"]


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://evil.example/", "list it in RECEIVER_NOTIFY_HOSTS"),
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
def test_what_may_not_be_called_is_refused_with_the_remedy(api: Server, url: Any, remedy: str) -> None:
    response = post(api, submission(notify_url=url))
    assert response.status == 400
    [told] = problem_of(response)["errors"]["notify_url"]
    assert remedy in told
    response = send(api, "POST", "/v1/requests/batch", {"requests": [submission(), submission(notify_url=url)]})
    assert response.status == 400
    assert problem_of(response)["errors"]["requests"]["1"]["notify_url"] == [told]


def test_it_is_part_of_what_an_idempotency_key_was_used_for(api: Server) -> None:
    key, body = uuid4().hex, submission(notify_url=TOLD)
    first = post(api, body, idempotency_key=key)
    assert post(api, body, idempotency_key=key).body == first.body
    assert post(api, body | {"notify_url": "https://shop.example/"}, idempotency_key=key).status == 409
    del body["notify_url"]
    assert post(api, body, idempotency_key=key).status == 409


def test_nobody_submits_a_notification(api: Server) -> None:
    response = post(
        api, submission(provider=NAME, operation=DELIVER, payload={"url": "https://evil.example/", "body": {}})
    )
    assert response.status == 400
    assert "is not configured" in problem_of(response)["errors"]["provider"][0]


def test_what_is_told_is_found_by_its_request_cancelled_and_retried(api: Server, connection: Connection) -> None:
    request = submitted(api, notify_url=TOLD)["id"]
    payload = {"url": TOLD, "body": {"type": "request.finished"}}
    told = NewRequest(uuid4(), NAME, DELIVER, payload, {"request_id": request}, None, None, 60.0)
    submit_requests(connection, [told])
    for query in (f"metadata.request_id={request}", f"provider={NAME}&metadata.request_id={request}"):
        [found] = send(api, "GET", f"/v1/requests?{query}").json["items"]
        assert (found["id"], found["status"]) == (str(told.id), "queued")
    assert send(api, "POST", f"/v1/requests/{told.id}/cancel").json["status"] == "cancelled"
    assert send(api, "POST", f"/v1/requests/{told.id}/retry").json["status"] == "queued"
    bound = new_key(api, providers=["sandbox"])
    assert send(api, "GET", f"/v1/requests/{told.id}", key=bound).status == 404
    assert NAME not in {one["name"] for one in send(api, "GET", "/v1/providers").json["items"]}
