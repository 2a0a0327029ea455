"""One transaction per callback: the contender stores what it acknowledges."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.benchmarks.naive import count_stored, create_app, create_tables
from tests.benchmarks.signed import write_callbacks


@pytest.fixture
def client(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A client of the application."""
    create_tables(empty_database)
    monkeypatch.setenv("DATABASE_URL", empty_database)
    app = create_app()
    yield app.test_client()
    app.extensions["pool"].close()


def read_callback(path: Path) -> tuple[dict[str, str], bytes]:
    head, _, body = write_callbacks(path, 1).path.read_bytes().partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


def test_naive_endpoint_stores_callback_once(client: FlaskClient, empty_database: str, tmp_path: Path) -> None:
    headers, body = read_callback(tmp_path / "callback")

    statuses = [client.post("/callbacks/sandbox", headers=headers, data=body).status_code for _ in range(2)]

    assert statuses == [200, 200]
    assert count_stored(empty_database) == (1, 1)


def test_naive_endpoint_refuses_forged_callback(client: FlaskClient, empty_database: str, tmp_path: Path) -> None:
    headers, body = read_callback(tmp_path / "callback")

    assert client.post("/callbacks/sandbox", headers=headers, data=body + b" ").status_code == 401
    assert count_stored(empty_database) == (0, 0)
