"""References in `receiver.toml`: the strings `env:NAME` and `file:PATH`, which stand for a value elsewhere.

What they refer to may be a secret: no message shows it.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 64 * 1024
"""The size of the largest file that `file:PATH` may name."""

_ENV, _FILE = "env:", "file:"
_MIN_SECRET_CHARS = 3
_WORD = re.compile(r"\w+")


class ReferenceResolver:
    """Replaces the strings `env:NAME` and `file:PATH` of a provider's table by what they refer to.

    The replacement is final: a value that itself begins with `env:` or `file:` stays text.

    Attributes:
        faults: what cannot be resolved, by its place in the table, such as `signature.secrets.0`.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.faults: dict[str, str] = {}
        self._environ = environ
        self._directory = directory
        self._values: dict[str, str] = {}

    def resolve(self, value: Any, place: str = "") -> Any:
        """Return a value of the file with its references replaced, those that have a fault by an empty string."""
        if isinstance(value, dict):
            return {key: self.resolve(inner, f"{place}.{key}" if place else key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolve(inner, f"{place}.{index}") for index, inner in enumerate(value)]
        if not isinstance(value, str) or not value.startswith((_ENV, _FILE)):
            return value
        try:
            resolved = self._look_up(value)
        except _UnresolvedReference as error:
            self.faults[place] = str(error)
            return ""
        self._values[place] = resolved
        return resolved

    def redact(self, place: str, message: str) -> str:
        """Return the message about a place without the resolved values, which may be secrets.

        A validator may quote only a part of a value, such as one name of a template. A message about a resolved value
        that shares a word with it is therefore replaced as a whole.
        """
        words = {word for word in _WORD.findall(self._values.get(place, "")) if len(word) >= _MIN_SECRET_CHARS}
        if not words.isdisjoint(_WORD.findall(message)):
            return "Not a valid value."
        texts = {text for value in self._values.values() for text in (value, repr(value)[1:-1]) if text}
        if not texts:
            return message
        alternatives = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
        return re.sub(rf"(?<!\w)(?:{alternatives})(?!\w)", "***", message)

    def _look_up(self, reference: str) -> str:
        if reference.startswith(_FILE):
            return _read_text(self._directory / reference.removeprefix(_FILE))
        name = reference.removeprefix(_ENV)
        if not name:
            raise _UnresolvedReference("Must name an environment variable after env:.")
        if name not in self._environ:
            raise _UnresolvedReference(f"The environment variable {name} is not set.")
        return self._environ[name]


class _UnresolvedReference(Exception):
    """`env:NAME` or `file:PATH` leads to no value; the message gives the reason."""


def _read_text(path: Path) -> str:
    """Return the text of a mounted secret, without the one newline that editors and `echo` put at its end.

    Raises:
        _UnresolvedReference: the file cannot be read, is too large, is not UTF-8, or begins with a byte order mark.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe could wait for ever
            raise _UnresolvedReference(f"Cannot read the file {path}: Not a regular file.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _UnresolvedReference(f"Cannot read the file {path}: {error.strerror}.") from None
    except ValueError:
        raise _UnresolvedReference("Not a valid file name: it contains a NUL character.") from None
    if len(content) > MAX_FILE_BYTES:
        raise _UnresolvedReference(f"Cannot read the file {path}: Larger than {MAX_FILE_BYTES // 1024} KiB.")
    if content.startswith(BOM_UTF8):  # invisible, and as a part of a secret it would let no signature match
        raise _UnresolvedReference(f"Cannot read the file {path}: It begins with a byte order mark. Save it without.")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _UnresolvedReference(f"Cannot read the file {path}: Not valid UTF-8.") from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
