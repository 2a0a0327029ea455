"""The providers that gunicorn's master holds: reloads, and what the master must not import."""

import subprocess
import sys
from pathlib import Path

import pytest

from receiver import configured_providers
from receiver.web.held_providers import HeldProviders
from tests.support.logs import capture_log
from tests.support.settings_files import MINIMAL

pytestmark = pytest.mark.usefixtures("directory")  # the configuration file is loaded from it

FORBIDDEN = {"psycopg", "flask", "gevent", "geventhttpclient"}


def test_faulty_file_leaves_the_providers_in_use() -> None:
    file, held = Path("receiver.toml"), HeldProviders()
    file.write_text(MINIMAL)
    held.load()
    first = held.configured
    file.write_text(f"{MINIMAL}\nno_key = 1\n")
    assert (held.reload(), held.configured) == (False, first)
    file.write_text(f"{MINIMAL}\nmax_concurrency = 3\n")
    assert held.reload()
    assert held.configured is not None
    assert held.configured.providers["acme"].send_policy.max_concurrency == 3


def test_start_without_providers_is_logged(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    entries = capture_log(monkeypatch, configured_providers)
    HeldProviders().load()
    (directory / "receiver.toml").write_text("# none yet")
    HeldProviders().load()
    (directory / "receiver.toml").write_text(MINIMAL)
    HeldProviders().load()
    assert [(entry["event"], entry["reason"]) for entry in entries] == [
        ("providers.not_found", f"There are no providers: {directory / 'receiver.toml'} does not exist."),
        ("providers.not_found", f"There are no providers: {directory / 'receiver.toml'} declares none."),
    ]


def test_master_imports_nothing_that_decides_how_to_wait() -> None:
    script = "import sys, receiver.web.gunicorn_conf as conf; conf.held_providers.load(); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert FORBIDDEN & set(output.split()) == set()
