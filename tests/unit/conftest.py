"""A directory for the files of a test."""

from pathlib import Path

import pytest


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
