"""The directory in which the web processes of one run count, so that each of them can serve the sums.

The directory is that of prometheus-client's multiprocess mode: each process writes to files of its own, which every
scrape reads. gunicorn's master creates the directory before it forks, in memory if possible. When a worker ends, its
files are merged into those of all ended workers: sums never decrease, and files do not pile up. The directory is
removed at the end of the run; the directory of a run that was killed is removed by the next one.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of prometheus-client; when it is imported, it decides by it whether to count in files."""

_MEMORY = Path("/dev/shm")  # noqa: S108  # our directories there are private and have unpredictable names
_PREFIX = "receiver-metrics-"
_MIN_ABANDONED_AGE_S = 60.0


class MultiprocessDirectory:
    """The directory of a run, owned by gunicorn's master."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock_fd: int | None = None

    def create(self) -> None:
        """Create the directory, below the operator's own directory if one is set, and export its path to workers."""
        configured = os.environ.get(DIRECTORY_VARIABLE)
        parent = Path(configured) if configured else _get_default_parent()
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        self._path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock_fd = _lock_for_run(self._path)
        os.environ[DIRECTORY_VARIABLE] = str(self._path)

    def merge_worker(self, pid: int) -> None:
        """Merge the files of an ended worker into those of all ended workers."""
        # Imported late: on import prometheus-client decides for good how to count.
        from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415  # see above
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # see above

        if self._path is None:
            return
        with lock_directory(self._path, exclusive=True):
            mark_process_dead(pid, str(self._path))  # type: ignore[no-untyped-call]  # untyped upstream
            for file in self._path.glob(f"*_{pid}.db"):
                kind, _, _ = file.name.partition("_")
                total = MmapedDict(str(self._path / f"{kind}_ended.db"))  # type: ignore[no-untyped-call]  # likewise
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]  # likewise
                    previous, _ = total.read_value(key)  # type: ignore[no-untyped-call]  # likewise
                    total.write_value(key, previous + value, 0.0)  # type: ignore[no-untyped-call]  # likewise
                total.close()  # type: ignore[no-untyped-call]  # likewise
                file.unlink()

    def remove(self) -> None:
        """Remove the directory with its content."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        self._path = self._lock_fd = None


@contextmanager
def lock_directory(directory: Path, *, exclusive: bool = False) -> Iterator[None]:
    """Lock a directory: shared to read its files, `exclusive` to merge some of them."""
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def _get_default_parent() -> Path:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _lock_for_run(directory: Path) -> int | None:
    """Lock a directory until this process and all that it forks have ended.

    Returns:
        The file descriptor that holds the lock, or None if another run holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(parent: Path) -> None:
    """Remove directories of ours whose processes have all ended; a very young one may not be locked yet."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            info = directory.lstat()
            if info.st_uid != os.geteuid() or time.time() - info.st_mtime < _MIN_ABANDONED_AGE_S:
                continue
            descriptor = _lock_for_run(directory)
            if descriptor is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(descriptor)
