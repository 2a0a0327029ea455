"""Secrets that `serve` makes where none is set: files below `RECEIVER_HOME`, so that the next start has the same."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from receiver.domain.errors import ReceiverError

_RANDOM_BYTES = 32
_SECRET = re.compile(r"[!-~]{16,}")


class UnusableSecretFile(ReceiverError):
    """The file of a secret cannot be read or written, or has no usable secret; the message names the remedy."""


def load_or_create_secret(path: Path) -> str:
    """Return the secret in a file; create the file with a random one, readable by its owner only, if it is missing.

    Processes that start at the same time get the same secret.

    Raises:
        UnusableSecretFile: the file cannot be read or written, or its content is not a secret.
    """
    try:
        with suppress(FileNotFoundError):
            return _read_secret(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create_secret(path)
        return _read_secret(path)
    except OSError as error:
        raise UnusableSecretFile(f"{path}: {error.strerror}. Set RECEIVER_HOME to another directory.") from error


def _read_secret(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    if not _SECRET.fullmatch(text):
        raise UnusableSecretFile(
            f"{path}: Must contain at least 16 printable characters. Remove the file: it is made again."
        )
    return text


def _create_secret(path: Path) -> None:
    """Create the file with its content, unless another process does."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.") as file:  # its mode is 0600
        file.write(secrets.token_urlsafe(_RANDOM_BYTES) + "\n")
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)
