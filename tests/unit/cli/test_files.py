"""Files that are replaced as a whole."""

import os
from pathlib import Path

import pytest

from receiver.cli.files import replace_file


def get_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o640)
    replace_file(path, b"after")
    assert (path.read_bytes(), get_mode(path)) == (b"after", 0o640)
    replace_file(path, b"private", mode=0o600)
    assert (path.read_bytes(), get_mode(path)) == (b"private", 0o600)


def test_new_file_has_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        replace_file(tmp_path / "file", b"new")
    finally:
        os.umask(umask)
    assert get_mode(tmp_path / "file") == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
