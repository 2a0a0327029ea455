"""Runs generators of clients and compilers, and the programs that use what they generate."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.acceptance.guides import ROOT

FOLDER = ROOT / "tests/codegen"
PROGRAMS = FOLDER / "programs"
PYTHON_SETTINGS = 'post_hooks: ["ruff format ."]\n'
"""Without the generator's `ruff check --fix`, which changes annotations so that mypy rejects them."""
TIMEOUT_S = 300.0


def run(directory: Path, *command: str, **environ: str) -> str:
    """Run a command in a directory, which must succeed, and return what it printed.

    `environ` is what the environment has besides ours.

    Programs are those of our environment and of `node_modules`; a missing one is an error and no reason to skip a test.
    """
    node_modules = next((path for path in (directory, *directory.parents) if (path / "node_modules").is_dir()), ROOT)
    paths = [str(Path(sys.executable).parent), str(node_modules / "node_modules/.bin"), os.environ["PATH"]]
    search_path = os.pathsep.join(paths)
    program = shutil.which(command[0], path=search_path)
    assert program, f"{command[0]} is missing: run `uv sync --group codegen`, and install Node.js with npm"
    result = subprocess.run(
        [program, *command[1:]],
        cwd=directory,
        env={**os.environ, **environ, "PATH": search_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
    return result.stdout


@contextmanager
def install_node_packages() -> Iterator[Path]:
    """Install the locked packages in a directory, below which programs find them."""
    with TemporaryDirectory(prefix="clients-") as directory:
        for name in ("package.json", "package-lock.json", "tsconfig.json"):
            shutil.copy(FOLDER / name, directory)
        run(Path(directory), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        yield Path(directory)


def read_locked_versions() -> Mapping[str, str]:
    """Return the versions of all packages, of Python and of node, that the lock files name."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    node_packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    versions = {
        name.removeprefix("node_modules/"): package.get("version", "") for name, package in node_packages.items()
    }
    return versions | {package["name"]: package["version"] for package in packages if "version" in package}


def generate_python_client(directory: Path) -> None:
    """Generate `receiver_client` from `openapi.json` with openapi-python-client; a warning is an error."""
    (directory / "client.yaml").write_text(PYTHON_SETTINGS)
    arguments = ["--path", "openapi.json", "--meta", "none", "--output-path", "receiver_client"]
    run(directory, "openapi-python-client", "generate", *arguments, "--config", "client.yaml", "--fail-on-warning")


def generate_typescript_types(directory: Path) -> None:
    """Generate `receiver.ts` from `openapi.json` with openapi-typescript."""
    run(directory, "openapi-typescript", "openapi.json", "--output", "receiver.ts")


def run_openapi_generator(directory: Path, generator: str, properties: str) -> None:
    """Generate `receiver_api` from `openapi.json` with openapi-generator."""
    arguments = ["--input-spec", "openapi.json", "--generator-name", generator, "--output", "generated"]
    printed = run(directory, "openapi-generator-cli", "generate", *arguments, "--additional-properties", properties)
    assert "COLLISION" not in printed, printed
    assert " ERROR " not in printed, printed
    shutil.move(
        directory / "generated/receiver_api" if generator == "python" else directory / "generated",
        directory / "receiver_api",
    )


def generate_urllib3_client(directory: Path) -> None:
    """Generate a client for Python with openapi-generator."""
    run_openapi_generator(directory, "python", "packageName=receiver_api")


def generate_fetch_client(directory: Path) -> None:
    """Generate a client for TypeScript with openapi-generator."""
    run_openapi_generator(directory, "typescript-fetch", "modelPropertyNaming=original,importFileExtension=.js")


def check_types(directory: Path, *paths: str) -> None:
    """Check Python files with mypy as strictly as it can."""
    run(directory, "mypy", "--strict", "--config-file=", "--cache-dir", str(directory / ".mypy_cache"), *paths)


def compile_typescript(directory: Path, *options: str) -> None:
    """Compile the TypeScript files of a directory as strictly as the compiler can."""
    shutil.copy(FOLDER / "tsconfig.json", directory)
    run(directory, "tsc", *options)


def copy_program(directory: Path, name: str) -> None:
    """Copy one of the programs that use a generated client."""
    shutil.copy(PROGRAMS / name, directory)
