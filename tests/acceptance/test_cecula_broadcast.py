"""A Cecula broadcast to 1,000 recipients with mixed codes, whose reports arrive one by one, in bulk and twice.

The request goes through the dispatcher to a real HTTP server, the reports through the callback endpoint into a real
Postgres. Then every recipient's job is compared with what the fake Cecula knows.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from flask import Flask

from receiver.outbound.submit import Submission, prepare_request
from receiver.providers.base import Provider
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.requests import submit_requests
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.cecula import TOKEN, FakeCecula, RecipientScript, build_cecula, derive_reference
from tests.support.factories import settings
from tests.support.processes import wait_for
from tests.support.scene import SETTLED, running_send_loop

RECIPIENTS = 1_000
ACCEPTED = 1801
UNLISTED = 1899

# What happens to recipients in turn, and the final status of each one's job; None for no job.
CASES: Sequence[tuple[RecipientScript, str | None]] = (
    (RecipientScript(ACCEPTED, ("SENT", "DELIVRD")), "succeeded"),
    (RecipientScript("1801", ("delivered",)), "succeeded"),
    (RecipientScript(ACCEPTED, ("QUEUED", "BUFFERED", "UNDELIV")), "failed"),
    (RecipientScript(ACCEPTED, ("Expired",)), "failed"),
    (RecipientScript(ACCEPTED, ("ENROUTE",)), "in_progress"),
    (RecipientScript(ACCEPTED, ("TELEPORTED",)), "accepted"),
    (RecipientScript(ACCEPTED, ("TELEPORTED", "DELIVERED")), "succeeded"),
    (RecipientScript(ACCEPTED), "accepted"),
    (RecipientScript(1806), "failed"),
    (RecipientScript("1806", has_id=False), None),
    (RecipientScript(1804), "failed"),
    (RecipientScript(UNLISTED), None),
    (RecipientScript(UNLISTED, ("DELIVRD",)), "succeeded"),
    (RecipientScript("18O1"), None),
)
MOBILES = [f"23480{number:08}" for number in range(RECIPIENTS)]
SCRIPTS = {mobile: CASES[number % len(CASES)][0] for number, mobile in enumerate(MOBILES)}
EXPECTED_STATUSES = {derive_reference(mobile): CASES[number % len(CASES)][1] for number, mobile in enumerate(MOBILES)}


@pytest.fixture
def fake() -> Iterator[FakeCecula]:
    with closing(FakeCecula(SCRIPTS)) as server:
        server.listen()
        yield server


@pytest.fixture
def provider(fake: FakeCecula) -> Provider:
    return build_cecula(origin=fake.url)


@pytest.fixture
def broadcast_app(provider: Provider, dsn: str, tmp_path: Path) -> Iterator[Flask]:
    flask_app = create_app(settings(dsn, tmp_path, {provider.name: provider}))
    with closing(get_app_context(flask_app)):
        yield flask_app


def send_broadcast(connection: Connection, provider: Provider, database: Database) -> UUID:
    """Submit the broadcast and wait until the dispatcher has sent it."""
    payload = {"recipients": MOBILES, "text": "Sample TexT", "sender": "Cecula", "flash": False}
    request = prepare_request({provider.name: provider}, Submission(provider.name, "send", payload, {}))
    submit_requests(connection, [request])
    with running_send_loop(database, provider) as dispatcher:
        dispatcher.step()
    wait_for(lambda: find_request(connection, request.id)[0] in SETTLED)
    return request.id


def find_request(connection: Connection, request: UUID) -> tuple[str, str]:
    row = connection.execute("SELECT status, detail FROM requests WHERE id = %s", [request]).fetchone()
    assert row is not None
    return row


def find_jobs(connection: Connection) -> Mapping[str, tuple[str, bool, UUID | None]]:
    rows = connection.execute("SELECT reference, status, disputed, request_id FROM jobs").fetchall()
    return {reference: (status, disputed, request) for reference, status, disputed, request in rows}


def build_bodies() -> list[bytes]:
    """Return the callbacks: a third of the reports one by one, a third in arrays, a third in objects; each twice."""
    reports = [
        {"id": derive_reference(mobile), "status": status}
        for mobile, script in SCRIPTS.items()
        for status in script.statuses
    ]
    random = Random(20)
    random.shuffle(reports)
    third = len(reports) // 3
    single, in_arrays, in_objects = reports[:third], reports[third : 2 * third], reports[2 * third :]
    documents: list[object] = [*single]
    documents += [in_arrays[start : start + 37] for start in range(0, third, 37)]
    documents += [
        {"messageReference": "m", "reports": in_objects[start : start + 50]} for start in range(0, len(in_objects), 50)
    ]
    documents += [single[start : start + 100] for start in range(0, third, 100)]  # the single ones again, in bulk
    encoded = [json.dumps(document).encode() for document in documents] * 2
    random.shuffle(encoded)
    return encoded


def deliver(app: Flask, body: bytes, token: str = TOKEN) -> int:
    """Deliver a callback to the endpoint as gunicorn would; return the status of the response."""
    path = f"/callbacks/cecula/{token}"
    return (
        app.test_client()
        .open(
            path,
            method="POST",
            input_stream=BytesIO(body),
            content_type="application/json",
            content_length=len(body),
            environ_overrides={"RAW_URI": path},
        )
        .status_code
    )


def deliver_all(app: Flask) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda body: deliver(app, body), build_bodies())) == {200}


def test_every_job_of_a_large_broadcast_has_its_true_status(
    broadcast_app: Flask, provider: Provider, fake: FakeCecula, connection: Connection, database: Database
) -> None:
    request = send_broadcast(connection, provider, database)
    assert [json.loads(received.body)["recipients"] for received in fake.received] == [MOBILES]
    deliver_all(broadcast_app)
    jobs = find_jobs(connection)
    assert jobs.keys() <= EXPECTED_STATUSES.keys()
    assert {reference: jobs.get(reference, (None,))[0] for reference in EXPECTED_STATUSES} == EXPECTED_STATUSES
    assert not any(disputed for _, disputed, _ in jobs.values())
    references_in_response = {
        derive_reference(mobile)
        for mobile, script in SCRIPTS.items()
        if script.has_id and script.code in {ACCEPTED, "1801", 1806, 1804}
    }
    assert {reference for reference, (_, _, owner) in jobs.items() if owner == request} == references_in_response
    status, detail = find_request(connection, request)
    assert status == "accepted"
    assert "rejected, 1806, Invalid recipients. Each mobile number must be correctly formatted." in detail
    assert f"not in the provider's map, {UNLISTED}, This code is not documented." in detail


def test_reports_before_the_response_decide_the_same(
    broadcast_app: Flask, provider: Provider, connection: Connection, database: Database
) -> None:
    deliver_all(broadcast_app)
    send_broadcast(connection, provider, database)
    jobs = find_jobs(connection)
    assert {reference: jobs.get(reference, (None,))[0] for reference in EXPECTED_STATUSES} == EXPECTED_STATUSES


def test_report_with_wrong_token_is_not_found(broadcast_app: Flask, connection: Connection) -> None:
    body = json.dumps({"id": derive_reference(MOBILES[0]), "status": "DELIVRD"}).encode()
    assert deliver(broadcast_app, body, token="a-guess") == 404
    assert find_jobs(connection) == {}
