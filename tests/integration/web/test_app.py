"""The app factory: what it requires, and what it serves."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.factories import provider, settings
from tests.support.http import build_report, sign_callback


def test_app_requires_a_database_url(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"settings\.database_url is None"):
        create_app(replace(settings("", tmp_path, {}), database_url=None))


def test_settings_are_read_from_the_environment_by_default(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("RECEIVER_SECRET_KEY", "a-secret-key-of-tests")
    monkeypatch.setenv("RECEIVER_PUBLIC_URL", "https://other.example")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    with closing(get_app_context(create_app())) as context:
        assert context.settings.public_url == "https://other.example"
        assert context.settings.database_url == dsn


def test_app_serves_api_documents_and_callbacks(dsn: str, tmp_path: Path) -> None:
    app = create_app(settings(dsn, tmp_path, {"sandbox": provider()}))
    with closing(get_app_context(app)):
        client = app.test_client()
        statuses = {
            path: client.get(path).status_code
            for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/jobs", "/nothing")
        }
        assert statuses == {
            **dict.fromkeys(("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"), 200),
            "/v1/jobs": 401,
            "/nothing": 404,
        }
        body = build_report("ref-of-app")
        assert client.post("/callbacks/sandbox", data=body, headers=sign_callback(body)).status_code == 200


def test_path_with_two_slashes_is_not_redirected(dsn: str, tmp_path: Path) -> None:
    app = create_app(settings(dsn, tmp_path, {}))
    with closing(get_app_context(app)):
        assert app.test_client().get("/v1//jobs").status_code == 404
