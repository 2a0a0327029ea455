"""A Cecula broadcast to 1,000 recipients with mixed codes, whose reports come one by one, in bulk and twice.

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
from receiver.providers.cecula import Cecula
from receiver.store.database import Connection, Database
from receiver.store.requests import submit_requests
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.cecula import TOKEN, FakeCecula, Fate, cecula, id_of
from tests.factories import settings
from tests.processes import wait_for
from tests.scene import SETTLED, send_policy

RECIPIENTS = 1_000
TAKEN = 1801
UNLISTED = 1899

# What happens to recipients in turn, and what must be known of each in the end; None for no job at all.
CASES: Sequence[tuple[Fate, str | None]] = (
    (Fate(TAKEN, ("SENT", "DELIVRD")), "succeeded"),
    (Fate("1801", ("delivered",)), "succeeded"),
    (Fate(TAKEN, ("QUEUED", "BUFFERED", "UNDELIV")), "failed"),
    (Fate(TAKEN, ("Expired",)), "failed"),
    (Fate(TAKEN, ("ENROUTE",)), "in_progress"),
    (Fate(TAKEN, ("TELEPORTED",)), "accepted"),
    (Fate(TAKEN, ("TELEPORTED", "DELIVERED")), "succeeded"),
    (Fate(TAKEN), "accepted"),
    (Fate(1806), "failed"),
    (Fate("1806", has_id=False), None),
    (Fate(1804), "failed"),
    (Fate(UNLISTED), None),
    (Fate(UNLISTED, ("DELIVRD",)), "succeeded"),
    (Fate("18O1"), None),
)
MOBILES = [f"23480{number:08}" for number in range(RECIPIENTS)]
FATES = {mobile: CASES[number % len(CASES)][0] for number, mobile in enumerate(MOBILES)}
TRUTH = {id_of(mobile): CASES[number % len(CASES)][1] for number, mobile in enumerate(MOBILES)}


@pytest.fixture
def fake() -> Iterator[FakeCecula]:
    with closing(FakeCecula(FATES)) as listening:
        listening.listen()
        yield listening


@pytest.fixture
def provider(fake: FakeCecula) -> Cecula:
    return cecula(origin=fake.url)


@pytest.fixture
def app(provider: Cecula, dsn: str, tmp_path: Path) -> Iterator[Flask]:
    made = create_app(settings(dsn, tmp_path, {provider.name: provider}))
    with closing(get_app_context(made)):
        yield made


def broadcast(connection: Connection, provider: Cecula, database: Database) -> UUID:
    """Submit the broadcast and let the dispatcher send it."""
    payload = {"recipients": MOBILES, "text": "Sample TexT", "sender": "Cecula", "flash": False}
    request = prepare_request({provider.name: provider}, Submission(provider.name, "send", payload, {}))
    submit_requests(connection, [request])
    with send_policy(database, provider) as dispatcher:
        dispatcher.step()
    wait_for(lambda: look(connection, request.id)[0] in SETTLED)
    return request.id


def look(connection: Connection, request: UUID) -> tuple[str, str]:
    row = connection.execute("SELECT status, detail FROM requests WHERE id = %s", [request]).fetchone()
    assert row is not None
    return row


def jobs(connection: Connection) -> Mapping[str, tuple[str, bool, UUID | None]]:
    rows = connection.execute("SELECT reference, status, disputed, request_id FROM jobs").fetchall()
    return {reference: (status, disputed, request) for reference, status, disputed, request in rows}


def bodies() -> list[bytes]:
    """Give the callbacks: a third of the reports one by one, a third in arrays, a third in objects; each twice."""
    reports = [{"id": id_of(mobile), "status": word} for mobile, fate in FATES.items() for word in fate.words]
    chance = Random(20)  # spreads reports, guards nothing
    chance.shuffle(reports)
    third = len(reports) // 3
    alone, listed, named = reports[:third], reports[third : 2 * third], reports[2 * third :]
    told: list[object] = [*alone]
    told += [listed[start : start + 37] for start in range(0, third, 37)]
    told += [{"messageReference": "m", "reports": named[start : start + 50]} for start in range(0, len(named), 50)]
    told += [alone[start : start + 100] for start in range(0, third, 100)]  # again, in bulk
    given = [json.dumps(body).encode() for body in told] * 2
    chance.shuffle(given)
    return given


def deliver(app: Flask, body: bytes, token: str = TOKEN) -> int:
    """Deliver a callback through the endpoint as gunicorn would; give the status of its answer."""
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
        assert set(pool.map(lambda body: deliver(app, body), bodies())) == {200}


def test_every_job_of_a_broadcast_to_1000_recipients_ends_right(
    app: Flask, provider: Cecula, fake: FakeCecula, connection: Connection, database: Database
) -> None:
    request = broadcast(connection, provider, database)
    assert [json.loads(received.body)["recipients"] for received in fake.received] == [MOBILES]
    deliver_all(app)
    found = jobs(connection)
    assert found.keys() <= TRUTH.keys()
    assert {reference: found.get(reference, (None,))[0] for reference in TRUTH} == TRUTH
    assert not any(disputed for _, disputed, _ in found.values())
    answered = {
        id_of(mobile) for mobile, fate in FATES.items() if fate.has_id and fate.code in {TAKEN, "1801", 1806, 1804}
    }
    assert {reference for reference, (_, _, owner) in found.items() if owner == request} == answered
    status, detail = look(connection, request)
    assert status == "accepted"
    assert "rejected, 1806, Invalid recipients. Each mobile number must be correctly formatted." in detail
    assert f"not in the provider's map, {UNLISTED}, This code is not documented." in detail


def test_reports_that_overtake_the_answer_decide_the_same(
    app: Flask, provider: Cecula, connection: Connection, database: Database
) -> None:
    deliver_all(app)
    broadcast(connection, provider, database)
    found = jobs(connection)
    assert {reference: found.get(reference, (None,))[0] for reference in TRUTH} == TRUTH


def test_a_report_under_another_url_is_told_to_nobody(app: Flask, connection: Connection) -> None:
    body = json.dumps({"id": id_of(MOBILES[0]), "status": "DELIVRD"}).encode()
    assert deliver(app, body, token="a-guess") == 404
    assert jobs(connection) == {}
