"""Databases that the tests of lists share."""

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from tests.support.listed import (
    Rows,
    store_rows,
)
from tests.support.plans import JOB_COUNT
from tests.support.population import populate


@pytest.fixture
def reader_logs(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    """The log events of readers, whatever an app in this process has configured."""
    capture = LogCapture()
    wrapper = structlog.make_filtering_bound_logger(logging.NOTSET)
    log = structlog.wrap_logger(None, processors=[capture], wrapper_class=wrapper)
    monkeypatch.setattr("receiver.store.reading._log", log)
    return capture.entries


@pytest.fixture(scope="module")
def rows(server: str, template: str) -> Iterator[Rows]:
    """A database with rows of every kind, and the rows."""
    with scratch_database(server, template=template) as dsn, store_rows(dsn) as rows:
        yield rows


@pytest.fixture(scope="module")
def populated(server: str, template: str) -> Iterator[Connection]:
    """A connection to a database with many rows of every kind."""
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        populate(connection, JOB_COUNT)
        yield connection
