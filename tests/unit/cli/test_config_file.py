"""Adding a provider to `receiver.toml`: nothing else in the file changes, and nothing at all if it cannot be added."""

import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.cli.config_file import ConfigFileError, append_provider

TABLE = '# A provider\n[providers.acme]\nkind = "twilio"\n'
OTHER = '[providers.other]\nkind = "sandbox"'


@pytest.mark.parametrize("before", ["", OTHER, f"{OTHER}\n", f"{OTHER}\r\n# the end", "title = 'é'\n", "[providers]\n"])
def test_table_is_appended(before: str, tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    path.write_bytes(before.encode())
    append_provider(path, "acme", TABLE)
    content = path.read_bytes().decode()
    assert content.startswith(before)
    assert content.endswith(TABLE)
    assert tomllib.loads(content)["providers"]["acme"] == {"kind": "twilio"}


def test_file_is_created(tmp_path: Path) -> None:
    append_provider(tmp_path / "receiver.toml", "acme", TABLE)
    assert (tmp_path / "receiver.toml").read_text() == TABLE


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(OTHER)
    (tmp_path / "receiver.toml").symlink_to("real.toml")
    append_provider(tmp_path / "receiver.toml", "acme", TABLE)
    assert (tmp_path / "receiver.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text().endswith(TABLE)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (b'[providers.acme]\nkind = "cecula"\n', "already has providers.acme. Choose another name with --as NAME"),
        (b'providers.acme.kind = "cecula"\n', "already has providers.acme"),
        (b"[providers.other]\nkind = \n", "is not valid TOML: Invalid value (at line 2"),
        (b"# \xff\n", "is not valid TOML"),
        (b"providers = { other = { kind = 'sandbox' } }\n", "A table cannot be appended"),
        (b"providers = 1\n", "A table cannot be appended"),
        (b"[[providers]]\nkind = 'sandbox'\n", "A table cannot be appended"),
    ],
)
def test_file_that_cannot_take_the_table_is_unchanged(before: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    path.write_bytes(before)
    with pytest.raises(ConfigFileError) as caught:
        append_provider(path, "acme", TABLE)
    assert message in str(caught.value)
    assert "Nothing was changed." in str(caught.value)
    assert path.read_bytes() == before


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in {"fifo": "it is not a file", "link": "it is not a file", "loop": "a link to itself"}.items():
        with pytest.raises(ConfigFileError, match=message):
            append_provider(tmp_path / name, "acme", TABLE)
    assert (tmp_path / "fifo").is_fifo()


def test_simultaneous_additions_are_all_kept(tmp_path: Path) -> None:
    path, names = tmp_path / "receiver.toml", [f"acme{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as executor:
        for addition in [executor.submit(append_provider, path, name, TABLE.replace("acme", name)) for name in names]:
            addition.result()
    assert sorted(tomllib.loads(path.read_text())["providers"]) == names


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="No such file or directory"):
        append_provider(tmp_path / "none" / "receiver.toml", "acme", TABLE)
