"""Adds the table of a provider to `receiver.toml`, and changes nothing else in the file."""

import tomllib
from pathlib import Path
from typing import Any

from receiver.cli.files import lock_directory, replace_file
from receiver.cli.messages import CommandError


class ConfigFileError(CommandError):
    """The table cannot be added to the file, which is unchanged."""


def append_provider(path: Path, name: str, table: str) -> None:
    """Append a provider to a configuration file, which is created if it does not exist.

    Args:
        path: the path of the file.
        name: the name of the provider.
        table: the table `[providers.NAME]`, as TOML.

    Raises:
        ConfigFileError: the file is not valid, has a provider of this name, or cannot be written.
    """
    try:
        target = _resolve(path)
        with lock_directory(target.parent):
            content = target.read_bytes() if target.exists() else b""
            before = _parse(path, content)
            separator = b"" if not content else b"\n" if content.endswith(b"\n") else b"\n\n"
            appended = content + separator + table.encode()
            _check(path, name, before, table, appended)
            replace_file(target, appended)
    except OSError as error:
        raise ConfigFileError(f"Cannot write {path}: {error.strerror}. Nothing was changed.") from None


def _resolve(path: Path) -> Path:
    """Return the path of the file that a link leads to, which is replaced instead of the link.

    Raises:
        ConfigFileError: it is something else than a file, such as a device, which must not be replaced by a file.
    """
    try:
        target = path.resolve()
    except RuntimeError:
        raise ConfigFileError(f"Cannot write {path}: it is a link to itself. Nothing was changed.") from None
    if target.exists() and not target.is_file():
        raise ConfigFileError(f"Cannot write {path}: it is not a file. Nothing was changed.")
    return target


def _check(path: Path, name: str, before: dict[str, Any], table: str, appended: bytes) -> None:
    """Check that a file with the table appended has the same content as before and the new provider.

    Raises:
        ConfigFileError: it has not, or has a provider of this name already.
    """
    providers = before.get("providers", {})
    if isinstance(providers, dict) and name in providers:
        message = f"{path} already has providers.{name}. Choose another name with --as NAME, or add an account to it: "
        raise ConfigFileError(f"{message}[providers.{name}.accounts.NAME]. Nothing was changed.")
    try:
        expected = {**before, "providers": {**providers, **tomllib.loads(table)["providers"]}}
        is_complete = tomllib.loads(appended.decode()) == expected
    except (tomllib.TOMLDecodeError, TypeError):  # such as for `providers = { … }`, to which no table can be added
        is_complete = False
    if not is_complete:
        advice = "Add the table by hand: --print prints it."
        raise ConfigFileError(f"A table cannot be appended to {path}. Nothing was changed. {advice}")


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # also for what is not UTF-8
        raise ConfigFileError(f"{path} is not valid TOML: {error}. Nothing was changed.") from None
