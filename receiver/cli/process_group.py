"""Child processes of ours: started together, watched together, and gone when we are."""

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

_STOP_WITHIN = 45.0
_LOOK_EVERY = 0.05
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildEnded(ReceiverError):
    """A process that should have gone on ended by itself."""


class StopRequested(SystemExit):
    """SIGINT, SIGTERM or SIGHUP asks us to stop; not an error, and caught only where the process ends.

    An exit, so that gevent brings it to the main greenlet from wherever it was raised, and psycopg cancels the
    statement that is under way.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` on the first SIGINT, SIGTERM or SIGHUP, and ignore all that follow."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each in _STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise StopRequested(number)

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Hold back a signal that would stop us until what is being made is something that we will also remove."""
    noted: list[int] = []
    before = {number: signal.signal(number, lambda number, _: noted.append(number)) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in noted:
            signal.raise_signal(one)


class ProcessGroup:
    """Processes that end with us, in the reverse order of their start.

    They run in sessions of their own, so that a terminal's Ctrl-C reaches us alone and we stop them in order.
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
            name: what to call it in messages.
            arguments: for the interpreter that runs us.
            environ: its whole environment.
            log: where its output goes; ours unless given.
            pass_fds: descriptors that it inherits.
            announces: wait for its first line of stdout, and give it.

        Raises:
            ChildEnded: it ended without the announcement.
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
            self.check(wait=5.0)
        return line

    def check(self, *, wait: float = 0.0) -> None:
        """Raise `ChildEnded` if a process has ended, or ends within `wait` seconds."""
        until = time.monotonic() + wait
        while True:
            for name, child, log in self._children:
                if child.poll() is not None:
                    raise ChildEnded(f"the {name} process ended with code {child.returncode}{_last_words(log)}")
            if time.monotonic() >= until:
                return
            time.sleep(_LOOK_EVERY)

    def watch(self) -> NoReturn:
        """Wait until a process ends, which raises `ChildEnded`."""
        while True:
            self.check(wait=60.0)

    def stop(self) -> None:
        """Stop every process with SIGTERM, the last started first; SIGKILL for those that do not end in time."""
        until = time.monotonic() + _STOP_WITHIN
        for _, child, _ in reversed(self._children):
            child.terminate()
        while self._children:
            _, child, _ = self._children.pop()
            try:
                child.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if child.stdout:
                child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _last_words(log: Path | None) -> str:
    if log is None:
        return ""
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return ":\n" + "\n".join(lines) if lines else ""
