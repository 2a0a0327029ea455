"""The file with the profiles: written whole, and read as it was written."""

import errno
import os
from pathlib import Path

import pytest

from receiver.cli.profiles import Profile, ProfileError, get_profiles_path, load_profiles, save_profiles

PROFILES = {"default": Profile("https://receiver.example", "k"), "a.b-c": Profile('http://x"\\y', "ключ")}


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the file, in an empty directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return get_profiles_path()


def test_profiles_are_read_as_they_were_written() -> None:
    assert load_profiles() == {}
    save_profiles(PROFILES)
    assert load_profiles() == PROFILES


def test_full_disk_leaves_the_previous_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_profiles(PROFILES)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ProfileError, match=r"No space left on device\. No profile was changed."):
        save_profiles({})
    assert load_profiles() == PROFILES
    assert list(path.parent.iterdir()) == [path]
