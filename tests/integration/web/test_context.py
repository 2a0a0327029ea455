"""The context of an app: found from the app, and closed in order."""

from pathlib import Path

import pytest
from flask import Flask

from receiver.store.errors import StoreUnavailable
from receiver.web.app import create_app
from receiver.web.context import current_context, get_app_context
from tests.support.factories import provider, settings
from tests.support.http import build_report, sign_callback


@pytest.fixture
def created_app(dsn: str, tmp_path: Path) -> Flask:
    """An app with one provider, which the test closes."""
    return create_app(settings(dsn, tmp_path, {"sandbox": provider()}))


def test_current_context_is_that_of_the_current_app(created_app: Flask) -> None:
    context = get_app_context(created_app)
    with created_app.app_context():
        assert current_context() is context
    assert context.providers.keys() == {"sandbox"}
    context.close()


def test_closed_context_has_no_connections(created_app: Flask) -> None:
    context = get_app_context(created_app)
    with context.database.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    context.close()
    with pytest.raises(StoreUnavailable), context.database.connection():
        pytest.fail("connected")


def test_callback_after_the_end_is_not_acknowledged(created_app: Flask) -> None:
    get_app_context(created_app).close()
    body = build_report("ref-too-late")
    response = created_app.test_client().post("/callbacks/sandbox", data=body, headers=sign_callback(body))
    assert response.status_code == 503
