"""`/v1/notifications` over real HTTP: what was sent to whom, resend, pause, and who may see it."""

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from receiver.outbound.notifications import queue_notifications
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.web.problems import ProblemType
from tests.support.api_calls import UNKNOWN_ID, create_key, create_request, fetch_items, send
from tests.support.http import Json, Server, parse_problem

NOTIFY_URL = "https://shop.example/notifications"


@pytest.fixture(scope="module")
def web_database(web_dsn: str) -> Iterator[Database]:
    """The database of `web`, as a worker uses it."""
    with closing(Database(web_dsn, size=1)) as database:
        yield database


@pytest.fixture
def notify(api: Server, web_database: Database) -> "Notify":
    """A function that cancels a request and queues the notification of that."""
    return Notify(api, web_database)


class Notify:
    """Creates notifications of cancelled requests."""

    def __init__(self, api: Server, database: Database) -> None:
        self.api = api
        self.database = database

    def __call__(self, **submission: object) -> Json:
        request = create_request(self.api, notify_url=NOTIFY_URL, **submission)
        return self.cancel(request["id"])

    def cancel(self, request_id: str) -> Json:
        assert send(self.api, "POST", f"/v1/requests/{request_id}/cancel").status == 200
        queue_notifications(self.database)
        notification: Json
        [notification] = send(self.api, "GET", f"/v1/notifications?request_id={request_id}").json["items"]
        return notification


def set_state(connection: Connection, notification: Json, status: str, *, finished: bool = True) -> None:
    """Set the status of a queued notification as a worker would."""
    connection.execute(
        """UPDATE requests SET status = %s, detail = 'by a test', due_at = NULL, attempts = 1,
            finished_at = CASE WHEN %s THEN now() END,
            leased_until = CASE WHEN NOT %s THEN now() + interval '1 hour' END
            WHERE id = %s""",
        [status, finished, finished, notification["id"]],
    )
    connection.execute(
        """INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status)
            VALUES (gen_random_uuid(), %s, 1, now(), now(), 503)""",
        [notification["id"]],
    )


def show(api: Server, notification: Json, key: str | None = None) -> Json:
    response = send(api, "GET", f"/v1/notifications/{notification['id']}", key=key)
    assert response.status == 200, response
    return response.json


def test_notification_shows_what_is_sent_to_whom(api: Server, notify: Notify, web_connection: Connection) -> None:
    notification = notify(metadata={"order": 7})
    assert {name: notification[name] for name in ("type", "url", "provider", "status", "attempt_count")} == {
        "type": "request.finished",
        "url": NOTIFY_URL,
        "provider": "sandbox",
        "status": "queued",
        "attempt_count": 0,
    }
    assert notification["next_attempt_at"] is not None
    set_state(web_connection, notification, "failed")
    detail = show(api, notification)
    assert (detail["status"], detail["detail"], detail["response_status"]) == ("failed", "by a test", 503)
    assert [attempt["response_status"] for attempt in detail["attempts"]] == [503]
    assert detail["last_attempt_at"] == detail["attempts"][0]["started_at"]
    assert detail["body"]["data"]["metadata"] == {"order": 7}
    assert (detail["next_attempt_at"], detail["finished_at"] is not None) == (None, True)


def test_notifications_are_filtered(api: Server, notify: Notify, web_connection: Connection) -> None:
    other_provider = notify(provider="another")
    delivered, failed = notify(), notify()
    set_state(web_connection, delivered, "completed")
    set_state(web_connection, failed, "failed")
    for query, expected in (
        ("status=delivered", delivered),
        ("status=failed", failed),
        ("provider=another", other_provider),
        (f"created_from={failed['created_at'].replace('+', '%2B')}", failed),
        (f"request_id={delivered['request_id']}", delivered),
        (f"request_id={delivered['request_id']}&status=delivered", delivered),
    ):
        assert send(api, "GET", f"/v1/notifications?{query}&limit=1").json["items"][0]["id"] == expected["id"], query
    assert send(api, "GET", f"/v1/notifications?request_id={delivered['request_id']}&status=failed").json["items"] == []
    assert send(api, "GET", "/v1/notifications?created_to=2020-01-01T00:00:00Z").json["items"] == []


def test_notifications_are_listed_newest_first(api: Server, notify: Notify, web_connection: Connection) -> None:
    ids = [notify()["id"] for _ in range(5)]
    set_state(web_connection, {"id": ids[2]}, "failed")
    assert [item["id"] for item in fetch_items(api, "/v1/notifications", 2)][:5] == ids[::-1]


@pytest.mark.parametrize("status", ["completed", "failed", "rejected", "cancelled"])
def test_resend_queues_finished_notification_again(
    api: Server, notify: Notify, web_connection: Connection, status: str
) -> None:
    notification = notify()
    set_state(web_connection, notification, status)
    body = show(api, notification)["body"]
    response = send(api, "POST", f"/v1/notifications/{notification['id']}/resend", {"reason": "they are back"})
    resent = response.json
    assert (response.status, resent["id"], resent["status"]) == (202, notification["id"], "queued")
    assert (resent["body"], resent["detail"], resent["finished_at"]) == (body, None, None)
    [action] = resent["actions"]
    assert (action["action"], action["reason"], action["actor"]) == ("resend", "they are back", "bootstrap")
    row = web_connection.execute(
        "SELECT failures, deadline_at > now() + interval '2 days' FROM requests WHERE id = %s", [notification["id"]]
    ).fetchone()
    assert row == (0, True)


def test_resend_makes_waiting_notification_due_now(api: Server, notify: Notify, web_connection: Connection) -> None:
    notification = notify()
    web_connection.execute(
        "UPDATE requests SET due_at = now() + interval '4 hours' WHERE id = %s", [notification["id"]]
    )
    resent = send(api, "POST", f"/v1/notifications/{notification['id']}/resend").json
    assert resent["next_attempt_at"] < show(api, notify())["created_at"]


def test_resend_during_an_attempt_is_a_conflict(api: Server, notify: Notify, web_connection: Connection) -> None:
    notification = notify()
    set_state(web_connection, notification, "sending", finished=False)
    response = send(api, "POST", f"/v1/notifications/{notification['id']}/resend")
    assert "is being sent" in parse_problem(response, ProblemType.STATE_CONFLICT)["detail"]
    set_state_back = "UPDATE requests SET status = 'completed', leased_until = NULL, finished_at = now() WHERE id = %s"
    web_connection.execute(set_state_back, [notification["id"]])


def test_resend_without_stored_body_is_a_conflict(api: Server, notify: Notify, web_connection: Connection) -> None:
    notification = notify()
    web_connection.execute("UPDATE requests SET payload = NULL, erased_at = now() WHERE id = %s", [notification["id"]])
    response = send(api, "POST", f"/v1/notifications/{notification['id']}/resend")
    assert "no longer stored" in parse_problem(response, ProblemType.STATE_CONFLICT)["detail"]
    detail = show(api, notification)
    assert (detail["url"], detail["body"], detail["job_ids"]) == (None, None, [])


def test_requests_are_no_notifications(api: Server) -> None:
    for notification_id in (create_request(api)["id"], UNKNOWN_ID):
        for method, path in (("GET", ""), ("POST", "/resend")):
            response = send(api, method, f"/v1/notifications/{notification_id}{path}")
            assert parse_problem(response, ProblemType.NOT_FOUND)["detail"] == "No such notification."


def test_notification_is_its_clients_own(api: Server, notify: Notify) -> None:
    own, other = create_key(api, scopes=["submit"]), create_key(api, scopes=["submit"])
    submission = {"provider": "sandbox", "operation": "send", "notify_url": NOTIFY_URL}
    payload = {"client_reference": uuid4().hex, "to": ["2348030000000"], "text": "hello"}
    request = send(api, "POST", "/v1/requests", submission | {"payload": payload}, key=own).json["id"]
    tail = f"/v1/tail?cursor={send(api, 'GET', '/v1/tail').json['cursor']}"
    notification = notify.cancel(request)
    assert {change["provider"] for change in send(api, "GET", tail, key=own).json["items"]} == {"sandbox"}
    path = f"/v1/notifications/{notification['id']}"
    assert [item["id"] for item in send(api, "GET", "/v1/notifications", key=own).json["items"]] == [notification["id"]]
    assert show(api, notification, own)["body"]["data"]["id"] == request
    assert send(api, "POST", f"{path}/resend", key=own).status == 202
    assert send(api, "GET", "/v1/notifications", key=other).json["items"] == []
    assert send(api, "GET", path, key=other).status == send(api, "POST", f"{path}/resend", key=other).status == 404
    for query in ("", f"?metadata.request_id={request}", "?provider=notify"):
        ids = [item["id"] for item in send(api, "GET", f"/v1/requests{query}", key=own).json["items"]]
        assert notification["id"] not in ids


def test_restricted_key_sees_notifications_of_its_providers(api: Server, notify: Notify) -> None:
    key = create_key(api, providers=["another"])
    hidden, visible = notify(), notify(provider="another")
    items = send(api, "GET", "/v1/notifications", key=key).json["items"]
    assert {item["provider"] for item in items} == {"another"}
    assert show(api, visible, key)["id"] == visible["id"]
    assert send(api, "GET", f"/v1/notifications/{hidden['id']}", key=key).status == 404
    assert send(api, "GET", "/v1/stats", key=key).json["notifications"] is None


def test_pause_of_notifications_is_shown_and_recorded(api: Server, web_connection: Connection) -> None:
    assert send(api, "POST", "/v1/notifications/pause", {"reason": "they move"}).json["paused"] is True
    page = send(api, "GET", "/v1/notifications?limit=1").json
    assert (page["paused"], page["pause_reason"]) == (True, "paused by bootstrap: they move")
    assert page["paused_at"] is not None
    assert send(api, "GET", "/v1/stats").json["notifications"]["paused"] is True
    resumed = send(api, "POST", "/v1/notifications/resume").json
    assert resumed == {"paused": False, "paused_at": None, "pause_reason": None}
    actions = web_connection.execute("SELECT action FROM actions WHERE subject = 'notify' ORDER BY id").fetchall()
    assert actions[-2:] == [("pause",), ("resume",)]  # pages pause notifications too


def test_restricted_key_cannot_pause_notifications(api: Server) -> None:
    key = create_key(api, scopes=["admin"], providers=["another"])
    for action in ("pause", "resume"):
        response = send(api, "POST", f"/v1/notifications/{action}", key=key)
        parse_problem(response, ProblemType.PROVIDER_NOT_ALLOWED)


def test_failed_notifications_are_counted(api: Server, notify: Notify, web_connection: Connection) -> None:
    before = send(api, "GET", "/v1/stats").json["notifications"]
    set_state(web_connection, notify(), "failed")
    set_state(web_connection, notify(), "completed")
    after = send(api, "GET", "/v1/stats").json["notifications"]
    assert (after["failed"], after["delivered"]) == (before["failed"] + 1, before["delivered"] + 1)
    assert send(api, "GET", "/v1/stats?provider=sandbox").json["notifications"] is None
