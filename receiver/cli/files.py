"""Files that are replaced as a whole, so that no reader sees a part of one and no failure leaves one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Return a context within which no other process holds the lock of a directory, so that none changes a file in it.

    The file itself cannot be locked, because it is replaced.

    Raises:
        OSError: there is no such directory.
    """
    file_descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(file_descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file_descriptor)


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file, or replace it by another one of the same owner.

    Args:
        path: the path, which is not that of a link.
        content: the new content.
        mode: the permissions of the file; by default those of the file that it replaces, or the usual ones.

    Raises:
        OSError: the file cannot be written; what was there is unchanged.
    """
    previous = path.stat() if path.exists() else None
    temporary_path = path.with_name(f".{path.name}.{os.getpid()}")
    file_descriptor = os.open(temporary_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 if mode is None else mode)
    try:
        with os.fdopen(file_descriptor, "wb") as file:
            if previous is not None and mode is None:
                os.fchmod(file.fileno(), previous.st_mode & 0o777)
            if previous is not None:
                with suppress(PermissionError):  # only root may
                    os.fchown(file.fileno(), previous.st_uid, previous.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary_path.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary_path.unlink()
        raise
