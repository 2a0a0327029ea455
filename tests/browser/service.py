"""A service with an hour of production behind it, and jobs, requests and callbacks with a story of their own."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from receiver.devtools.scratch import scratch_database
from receiver.store.activity import count_next_period
from receiver.store.connections import connect
from receiver.store.migrate import migrate
from receiver.store.row_counts import count_all_rows
from tests.support.api_service import NOTIFY_ENVIRON
from tests.support.http import Json, Server, build_report
from tests.support.population import PROVIDERS, populate
from tests.support.processes import ADMIN_KEY, Web, build_provider_toml, running_web, wait_for

CONFIG = "".join(build_provider_toml(name) for name in PROVIDERS)
CAMPAIGNS = ("spring", "summer")
"""The metadata values of the requests that bulk actions find: all but the first of each campaign are cancelled."""
CAMPAIGN_REQUESTS = 5
_OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
_JOBS, _SPAN = 4_000, timedelta(hours=26)


@dataclass(frozen=True)
class Stories:
    """Ids of objects that the pages show."""

    disputed_job: str
    open_job: str
    unmapped_callback: str
    refused_callback: str
    request: str
    cancelled_request: str


@dataclass(frozen=True)
class AdminService:
    """A web process, the bootstrap key and a key that only reads, and the objects with a story."""

    web: Web
    read_key: str
    stories: Stories

    @property
    def origin(self) -> str:
        return f"http://{self.web.host}:{self.web.port}"

    @property
    def admin_key(self) -> str:
        return ADMIN_KEY


@contextmanager
def running_service(server: str, directory: Path) -> Iterator[AdminService]:
    """Run a web process on a populated database of a Postgres server.

    Args:
        server: the DSN of the server.
        directory: an empty directory for files.
    """
    with (
        scratch_database(server) as dsn,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        migrate(dsn)
        _populate(dsn)
        with running_web(directory, dsn, CONFIG, listener, **_ENVIRON) as web:
            api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
            key: str = _post(api, "/v1/keys", {"name": "support", "scopes": ["read"]})["key"]
            yield AdminService(web, key, _tell(api))


_ENVIRON = {**NOTIFY_ENVIRON, "RECEIVER_ENVIRONMENT": "staging"}


def _populate(dsn: str) -> None:
    """Store the jobs of the last day, and count them as a worker does."""
    now = datetime.now(UTC)
    with closing(connect(dsn)) as connection:
        connection.execute("UPDATE activity_progress SET counted_until = %s", [now - _SPAN])
        populate(connection, _JOBS, now, _SPAN)
        connection.execute("DELETE FROM callbacks WHERE received_at > %s", [now])
        with connection.transaction():
            count_all_rows(connection)
        while True:
            with connection.transaction():
                if count_next_period(connection) is None:
                    break


def _tell(api: Server) -> Stories:
    """Have a story happen to some objects."""
    disputed = _post(api, "/v1/jobs", {"provider": "acme", "reference": "order-1042", "metadata": {"order": 1042}})
    deliveries = [build_report("order-1042", state) for state in ("QUEUED", "DELIVERED", "UNDELIVERED")]
    for number, body in enumerate([*deliveries, deliveries[1]]):
        assert api.call_back(body, "acme", webhook_id=f"msg_story_{number % 3}").status == 200
    open_job = _post(api, "/v1/jobs", {"provider": "acme", "reference": "order-1043"})
    assert api.call_back(build_report("order-1044", "LOST_IN_TRANSIT"), "globex").status == 200
    assert api.call_back(build_report("order-1045"), "globex", secret=_OTHER_SECRET).status == 401
    for campaign in CAMPAIGNS:
        requests = [_submit(api, campaign, number) for number in range(CAMPAIGN_REQUESTS)]
        for request in requests[1:]:
            _post(api, f"/v1/requests/{request['id']}/cancel", {"reason": "the campaign starts later"})
    return Stories(
        disputed_job=disputed["id"],
        open_job=open_job["id"],
        unmapped_callback=_find_first(api, "/v1/callbacks?verdict=unmapped&provider=globex"),
        refused_callback=_find_first(api, "/v1/callbacks?verdict=refused&provider=globex"),
        request=requests[0]["id"],
        cancelled_request=requests[1]["id"],
    )


def _submit(api: Server, campaign: str, number: int) -> Json:
    payload = {
        "client_reference": f"{campaign}-{number}",
        "to": ["2348030000000"],
        "text": "The new collection is here.",
    }
    document = {
        "provider": "initech",
        "operation": "send",
        "payload": payload,
        "metadata": {"campaign": campaign, "number": number},
        "send_after": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
    }
    return _post(api, "/v1/requests", document)


def _post(api: Server, path: str, document: Any) -> Json:
    response = api.call("POST", path, json.dumps(document).encode(), {"content-type": "application/json"})
    assert response.status < 300, response
    return response.json


def _find_first(api: Server, path: str) -> str:
    """Return the id of the first item of a list; refused callbacks are stored some time after the response."""
    items: list[Json] = wait_for(lambda: api.call("GET", path).json["items"])
    identifier: str = items[0]["id"]
    return identifier
