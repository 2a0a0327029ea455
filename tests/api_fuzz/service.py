"""The service to fuzz: one web process with a database that contains objects of every kind."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

from receiver.domain.jobs import EventSource, JobStatus
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import claim_requests
from tests.support.api_calls import build_submission, create_key, create_request, send
from tests.support.factories import SECRET, event
from tests.support.http import Server, build_report, build_reports
from tests.support.processes import ADMIN_KEY, Web, build_provider_toml, running_web

RATE_LIMIT = "1000000"
DECLARED = f"""
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
auth = {{ scheme = "bearer", secret = "key" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}

[providers.acme.operations.render]
path = "/v1/renders/{{template}}"
required = ["title"]
callback_url = "webhook_url"
defaults = {{ quality = "high" }}

[providers.acme.operations.still]
path = "/v1/stills"
body = "form"

[providers.acme.response]
reference = "id"

[providers.acme.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = {{ RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }}
"""
NOTIFY_ENVIRON = {"RECEIVER_NOTIFY_HOSTS": "shop.example", "RECEIVER_NOTIFY_SECRETS": SECRET}
CONFIG = build_provider_toml() + DECLARED
_FAIL = "UPDATE requests SET status = 'failed', finished_at = now(), leased_until = NULL WHERE id = %s"


@contextmanager
def run_service(directory: Path, dsn: str) -> Iterator[Web]:
    """Run the service on a migrated, empty database, and check at the end that its log has no traceback."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, dsn, CONFIG, listener, RECEIVER_RATE_LIMIT=RATE_LIMIT, **NOTIFY_ENVIRON) as web,
        closing(connect(dsn)) as connection,
        closing(Database(dsn, size=1)) as database,
    ):
        api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        create_objects(api, connection)
        create_notifications(api, database)
        yield web
        assert "Traceback" not in web.output, web.output


def create_notifications(api: Server, database: Database) -> None:
    """Create notifications of cancelled requests."""
    for _ in range(3):
        request = create_request(api, notify_url="https://shop.example/notifications")
        send(api, "POST", f"/v1/requests/{request['id']}/cancel")
    queue_notifications(database)


def create_objects(api: Server, connection: Connection) -> None:
    """Create requests, jobs, callbacks and API keys in every state."""
    for _ in range(3):
        request = UUID(create_request(api, metadata={"order": 7})["id"])
        name = f"ref-{request}"
        accepted = event(name, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request)
        reconcile(connection, [accepted, event(f"{name}-b", JobStatus.ACCEPTED, source=EventSource.RESPONSE)])
        api.call_back(build_report(name, "SENT"))
        api.call_back(build_report(name, "DELIVERED"), webhook_id=f"msg_{request}")
        api.call_back(build_report(name, "DELIVERED"), webhook_id=f"msg_{request}")
        api.call_back(build_report(name, "EXPIRED"))
        api.call_back(build_report(name, "ABDUCTED"))
        api.call_back(build_reports({"id": 7}))
        api.call_back(build_report(name), age=4_000.0)
        create_key(api, providers=["acme"])
    rendering = build_submission(provider="acme", operation="render", payload={"template": "t", "title": "a title"})
    for _ in range(4):
        create_request(api, **rendering)
    for number, attempt in enumerate(claim_requests(connection, [ProviderCapacity("acme", 4)], {"acme": 3_600.0})):
        # The first attempt is running; the others have a response, and the requests of two of them have failed.
        if number > 0:
            connection.execute(
                "UPDATE attempts SET finished_at = now(), response_status = 500 WHERE id = %s", [attempt.id]
            )
        if number > 1:
            connection.execute(_FAIL, [attempt.request_id])
