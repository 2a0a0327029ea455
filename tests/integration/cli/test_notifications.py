"""`receiver notification`: list, show, resend, pause and resume."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from receiver.outbound.notifications import queue_notifications
from receiver.store.database import Database
from tests.support.command_service import FAR_FUTURE, Service, parse_rows

URL = "https://shop.example/hook"
FAIL = """UPDATE requests SET status = 'failed', detail = 'by a test', due_at = NULL, finished_at = now()
    WHERE provider = 'notify' AND metadata ->> 'request_id' = %s"""


@pytest.fixture
def database(service: Service) -> Iterator[Database]:
    """The database of the service, as a worker uses it."""
    with closing(Database(service.scene.dsn, size=1)) as opened:
        yield opened


def create_failed_notification(service: Service, database: Database, name: str, url: str = URL) -> str:
    """Create a notification that was given up; return the id of its request."""
    request = service.submit(name, "--notify-url", url, "--send-after", FAR_FUTURE)
    service.ok("request", "cancel", request)
    queue_notifications(database)
    service.scene.connection.execute(FAIL, [request])
    return request


def test_notification_is_listed_and_shown(service: Service, database: Database, name: str) -> None:
    request = create_failed_notification(service, database, name)
    [item] = service.json("notification", "list", "--request", request)["items"]
    rows = parse_rows(service.ok("notification", "list", "--request", request, "--status", "failed"))
    assert [item["id"], "failed", "request.finished"] == rows[1][:3]
    shown = service.ok("notification", "show", item["id"])
    assert ["URL", URL] in parse_rows(shown)
    assert f"`receiver notification resend {item['id']}` sends it again." in shown


def test_notification_is_resent_by_its_id(service: Service, database: Database, name: str) -> None:
    request = create_failed_notification(service, database, name)
    [item] = service.json("notification", "list", "--request", request)["items"]
    shown = service.ok("notification", "resend", item["id"], "--reason", "they are back")
    assert ["status", "queued"] in parse_rows(shown)
    assert "they are back" in shown


def test_notifications_to_a_url_are_resent(service: Service, database: Database, name: str) -> None:
    urls = [f"{URL}/{name}", f"{URL}/{name}", f"{URL}/other"]
    requests = [create_failed_notification(service, database, name, url) for url in urls]
    command = ("notification", "resend", "--status", "failed", "--url", urls[0])
    assert service.json(*command, "--dry-run") == {"found": 2, "resent": 0, "failed": [], "dry_run": True}
    assert parse_rows(service.ok(*command, "--dry-run")) == [["would be resent", "2"]]
    assert parse_rows(service.ok(*command)) == [["found", "2"], ["resent", "2"], ["failed", "0"]]
    statuses = [
        service.json("notification", "list", "--request", request)["items"][0]["status"] for request in requests
    ]
    assert statuses == ["queued", "queued", "failed"]


@pytest.mark.parametrize("arguments", [(), ("018f0000-0000-7000-8000-000000000000", "--url", URL)])
def test_resend_takes_an_id_or_filters(service: Service, arguments: tuple[str, ...]) -> None:
    assert "Pass either an ID or filter options." in service.fails("notification", "resend", *arguments, code=2)


def test_resend_of_unknown_notification_fails(service: Service) -> None:
    output = service.fails("notification", "resend", "018f0000-0000-7000-8000-000000000000")
    assert "No such notification" in output


def test_notifications_are_paused_and_resumed(service: Service) -> None:
    assert ["paused", "yes"] in parse_rows(service.ok("notification", "pause", "--reason", "they move"))
    assert service.json("notification", "list", "--limit", "1")["paused"] is True
    assert parse_rows(service.ok("notification", "resume")) == [["paused", "no"]]
