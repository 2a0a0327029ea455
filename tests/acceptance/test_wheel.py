"""The built wheel, without the checkout: its contents and types, and that no foreign module collides with it."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.test_guide import GUIDE, find_code_blocks

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BASE_PYTHON = os.path.realpath(sys.executable)
"""The interpreter outside of the virtual environment, in which the checkout is installed."""

CONFIG = """
[providers.carrier]
kind = "pigeon"
base_url = "https://pigeon.example"
callback = { reference = "ring", status = "state", statuses = { home = "succeeded" }, ack = { status = 202 } }
signature = { scheme = "token", secrets = ["an-unguessable-token"] }
"""


@dataclass(frozen=True)
class Site:
    """A directory with the unpacked wheel; `run` finds the wheel and the dependencies, but not the checkout."""

    wheel: Path
    directory: Path

    def run(self, arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the interpreter in a directory."""
        # Directories on PYTHONPATH are searched without their .pth files, one of which points to the checkout.
        path = os.pathsep.join([str(self.directory), sysconfig.get_path("purelib")])
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
        command = [BASE_PYTHON, *arguments]
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False)

    def run_receiver(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the command `receiver` in a directory, which comes first on the path."""
        return self.run(["-c", "from receiver.cli import main; main()", *arguments], cwd)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    build, directory = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("site")
    uv = [os.environ["UV"]] if "UV" in os.environ else [BASE_PYTHON, "-m", "uv"]
    command = [*uv, "build", "--wheel", "--quiet", "--out-dir", str(build), str(ROOT)]
    subprocess.run(command, check=True, timeout=120)
    [wheel] = build.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return Site(wheel, directory)


@pytest.fixture
def pigeon(site: Site) -> str:
    """The source of the guide's provider kind, installed as a package with an entry point."""
    [source] = find_code_blocks(GUIDE, "python")
    (site.directory / "pigeon.py").write_text(source)
    metadata = site.directory / "pigeon-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    [project] = find_code_blocks(GUIDE, "ini")  # a part of pyproject.toml
    [(group, names)] = tomllib.loads(project)["project"]["entry-points"].items()
    entry_points = "".join(f"{name} = {target}\n" for name, target in names.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry_points}")
    return source


@pytest.fixture
def foreign_directory(tmp_path: Path) -> Path:
    """A working directory with modules whose names are those of parts of the package."""
    for name in ("schemas", "domain", "providers", "settings"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the foreign module {name} was imported')\n")
    return tmp_path


def test_wheel_contains_one_package(site: Site) -> None:
    with zipfile.ZipFile(site.wheel) as archive:
        entries = {name.split("/")[0] for name in archive.namelist()}
    [metadata] = [entry for entry in entries if entry.endswith(".dist-info")]
    assert entries == {"receiver", metadata}


def test_wheel_contains_files_besides_code(site: Site) -> None:
    for name in (
        "py.typed",
        "schemas/declared.py",
        "store/migrations",
        "store/sql",
        "web/openapi/templates",
    ):
        assert (site.directory / "receiver" / name).exists(), name


def test_guide_example_passes_strict_mypy(site: Site, pigeon: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(f"{pigeon}\nreveal_type(PigeonSender.interpret)\n")
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", "--verbose"]
    result = site.run(["-m", "mypy", *options, "example.py"], tmp_path)
    assert result.returncode == 0, result.stdout
    assert "receiver.domain.sending.Response" in result.stdout
    assert f"{site.directory / 'receiver' / 'plugin.py'} (receiver.plugin)" in result.stderr
    assert f"{ROOT}/receiver/" not in result.stderr


def test_mypy_rejects_wrong_override(site: Site, pigeon: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(pigeon.replace("-> ParsedResponse:", "-> str:"))
    result = site.run(["-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", "."], tmp_path)
    assert result.returncode == 1
    assert 'incompatible with return type "ParsedResponse"' in result.stdout


def test_foreign_modules_do_not_collide(site: Site, foreign_directory: Path) -> None:
    code = "import receiver.settings, receiver.web.app, receiver.worker.run; print(receiver.__file__)"
    result = site.run(["-c", code], foreign_directory)
    assert result.stdout.strip() == str(site.directory / "receiver" / "__init__.py"), result.stderr
    result = site.run_receiver("--help", cwd=foreign_directory)
    assert (result.returncode, "provider" in result.stdout) == (0, True), result.stderr


@pytest.mark.usefixtures("pigeon")
def test_kind_of_other_package_is_configurable(site: Site, foreign_directory: Path) -> None:
    (foreign_directory / "receiver.toml").write_text(CONFIG)
    result = site.run_receiver("provider", "check", "--offline", cwd=foreign_directory)
    assert result.returncode == 0, result.stderr
    assert "/callbacks/carrier/an-unguessable-token" in result.stdout
