"""The secrets that `serve` makes are files that stay."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.cli.generated_secrets import UnusableSecretFile, load_or_create_secret


def test_secret_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret_key"
    secret = load_or_create_secret(path)
    assert len(secret) >= 32
    assert load_or_create_secret(path) == secret
    assert path.read_text() == f"{secret}\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["secret_key"]


def test_secret_is_the_same_for_concurrent_starts(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_or_create_secret, [tmp_path / "admin_key"] * 8))) == 1


@pytest.mark.parametrize("content", ["", "too short", "two words that are long enough", "a-line\nand-another-line"])
def test_unusable_secret_is_reported(tmp_path: Path, content: str) -> None:
    path = tmp_path / "admin_key"
    path.write_text(content)
    with pytest.raises(UnusableSecretFile, match=r"admin_key: Must contain .* Remove the file"):
        load_or_create_secret(path)
    assert path.read_text() == content


def test_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "admin_key").mkdir()
    with pytest.raises(UnusableSecretFile, match=r"admin_key: Is a directory\. Set RECEIVER_HOME"):
        load_or_create_secret(tmp_path / "admin_key")
