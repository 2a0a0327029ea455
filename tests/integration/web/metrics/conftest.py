"""An app in the process of the test, with a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.metrics import serve_app


@pytest.fixture
def client(dsn: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of an app in this process."""
    with serve_app(dsn, tmp_path) as test_client:
        yield test_client
