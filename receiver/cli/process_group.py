"""Child processes that are started, watched and stopped together, and the signals that stop this process.

No child outlives this process, whenever a signal arrives.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from receiver.domain.errors import ReceiverError

_STOP_TIMEOUT_S = 45.0
_ANNOUNCEMENT_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.05
_LOG_TAIL_LINES = 15
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildEnded(ReceiverError):
    """A child process ended without having been stopped."""


class StopRequested(SystemExit):
    """SIGINT, SIGTERM or SIGHUP requests this process to stop. Not an error; caught only where the process ends.

    It is a `SystemExit` so that gevent re-raises it in the main greenlet, whichever greenlet it was raised in, and
    psycopg cancels the running statement.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` on the first SIGINT, SIGTERM or SIGHUP, and ignore further ones."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for other in _STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise StopRequested(number)

    handlers = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer stop signals to the end of the context.

    A signal between the creation of a resource, such as a child process, and its registration for cleanup would leak
    the resource.
    """
    deferred: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: deferred.append(number)) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for deferred_number in deferred:
            signal.raise_signal(deferred_number)


class ProcessGroup:
    """Child processes that are stopped in the reverse order of their start.

    Each runs in its own session, so that Ctrl-C in a terminal reaches only this process, which stops them in order.
    """

    def __init__(self) -> None:
        self._children: list[tuple[str, subprocess.Popen[str], Path | None]] = []

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        log: Path | None = None,
        pass_fds: Sequence[int] = (),
        announces: bool = False,
    ) -> str:
        """Start `python ARGUMENTS`.

        Args:
            name: the name of the process in messages.
            arguments: the arguments of the current Python interpreter.
            environ: the complete environment of the process.
            log: the file that stdout and stderr are appended to; by default the process inherits ours.
            pass_fds: the file descriptors that the process inherits.
            announces: wait for the first line on stdout.

        Returns:
            The first line on stdout if `announces` is set, else an empty string.

        Raises:
            ChildEnded: the process ended before it wrote a line.
        """
        output = log.open("ab") if log else None
        with defer_signals():
            child = subprocess.Popen(  # noqa: S603  # our own interpreter and modules
                [sys.executable, *arguments],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if announces else output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
                text=True,
            )
            self._children.append((name, child, log))
        if output:
            output.close()
        if not announces or child.stdout is None:
            return ""
        line = child.stdout.readline()
        if not line:
            self.check(wait=_ANNOUNCEMENT_TIMEOUT_S)
        return line

    def check(self, *, wait: float = 0.0) -> None:
        """Check that all processes run, for `wait` seconds.

        Raises:
            ChildEnded: a process has ended.
        """
        deadline = time.monotonic() + wait
        while True:
            for name, child, log in self._children:
                if child.poll() is not None:
                    raise ChildEnded(f"The {name} process ended with code {child.returncode}.{_read_tail(log)}")
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL_S)

    def signal(self, number: int) -> None:
        """Send a signal to all processes that run."""
        for _, child, _ in self._children:
            child.send_signal(number)

    def watch(self) -> NoReturn:
        """Wait until a process ends; then raise `ChildEnded`."""
        while True:
            self.check(wait=60.0)

    def stop(self) -> None:
        """Stop all processes with SIGTERM, in reverse order; kill those that do not end in time."""
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for _, child, _ in reversed(self._children):
            child.terminate()
        while self._children:
            _, child, _ = self._children.pop()
            try:
                child.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if child.stdout:
                child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _read_tail(log: Path | None) -> str:
    """Return the last lines of a log, for the end of a message."""
    if log is None:
        return ""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return " The end of its log:\n" + "\n".join(lines) if lines else ""
