"""Callbacks to URLs that do not exist: logged within limits and without the URL, and counted by provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from receiver.web import unknown_urls
from receiver.web.unknown_urls import UnknownUrlLog, UnknownUrlReason
from tests.support.logs import capture_log
from tests.support.metrics import scrape, serve_app

CALLER = "198.51.100.7"


@pytest.fixture
def client(dsn: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of an app in this process."""
    with serve_app(dsn, tmp_path) as test_client:
        yield test_client


@pytest.mark.parametrize(
    ("path", "provider", "reason"),
    [
        ("nobody", None, "unknown_provider"),
        ("nobody/a/north", None, "unknown_provider"),
        ("", None, "unknown_provider"),
        ("sandbox/a-wrong-token", "sandbox", "wrong_token"),
        ("sandbox/a/north/a-token", "sandbox", "unknown_account"),
    ],
)
def test_unknown_url_is_logged_and_counted_by_provider(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str, provider: str | None, reason: str
) -> None:
    entries = capture_log(monkeypatch, unknown_urls)
    assert client.post(f"/callbacks/{path}", environ_base={"REMOTE_ADDR": CALLER}).status_code == 404
    line = {"event": "callback.not_found", "provider": provider, "reason": reason, "caller": CALLER, "count": 1}
    assert entries == [{**line, "log_level": "info"}]
    counts = scrape(client).get("receiver_callbacks_total", provider=provider or "_unknown", outcome="not_found")
    assert counts == 1


def test_strangers_do_not_use_up_the_lines_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, log = capture_log(monkeypatch, unknown_urls), UnknownUrlLog()
    for _ in range(50):
        log.record(None, UnknownUrlReason.UNKNOWN_PROVIDER, CALLER, 100.0)
    log.record("sandbox", UnknownUrlReason.WRONG_TOKEN, CALLER, 100.0)
    log.record(None, UnknownUrlReason.UNKNOWN_PROVIDER, CALLER, 106.0)
    assert [(entry["provider"], entry["count"]) for entry in entries] == [(None, 1)] * 10 + [("sandbox", 1), (None, 41)]
