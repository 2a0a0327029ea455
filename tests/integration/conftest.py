"""Fixtures that several modules share."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from tests.support.provider import listening
from tests.support.scene import Scene, open_scene


@pytest.fixture(scope="module")
def scene(server: str, template: str) -> Iterator[Scene]:
    """A database and a provider for this module only."""
    with (
        scratch_database(server, template=template) as dsn,
        listening() as provider,
        open_scene(dsn, provider) as scene,
    ):
        yield scene


@pytest.fixture
def reference() -> str:
    """Return a provider reference that no other test uses."""
    return f"ref-{uuid4().hex}"
