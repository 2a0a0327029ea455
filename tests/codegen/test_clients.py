"""Generated clients call a running service: the whole life of a request, with lists, waiting and errors."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.guides import Block, Service, parse_blocks, parse_table, read_guide
from tests.codegen.generators import (
    check_types,
    compile_typescript,
    copy_program,
    generate_fetch_client,
    generate_python_client,
    generate_typescript_types,
    generate_urllib3_client,
    read_locked_versions,
    run,
)
from tests.support.factories import SECRET
from tests.support.processes import ADMIN_KEY

pytestmark = pytest.mark.codegen
GUIDE = read_guide("docs/clients.md")
PROGRAM_NAMES = {"python": "client.py", "ts": "client.ts"}


@pytest.fixture
def client_workspace(called_service: Service, workspace: Path) -> Path:
    """A directory with the document of the service, without webhooks."""
    document = called_service.api.call("GET", "/openapi.json?webhooks=false", headers={"authorization": ""})
    (workspace / "openapi.json").write_bytes(document.body)
    return workspace


def run_program(service: Service, directory: Path, *command: str) -> None:
    run(directory, *command, f"http://127.0.0.1:{service.port}", ADMIN_KEY)


def test_python_client_completes_life_of_request(called_service: Service, client_workspace: Path) -> None:
    generate_python_client(client_workspace)
    copy_program(client_workspace, "python_client.py")
    check_types(client_workspace, "receiver_client", "python_client.py")
    run_program(called_service, client_workspace, "python", "python_client.py")


def test_typescript_client_completes_life_of_request(called_service: Service, client_workspace: Path) -> None:
    generate_typescript_types(client_workspace)
    copy_program(client_workspace, "typescript_client.ts")
    compile_typescript(client_workspace)
    run_program(called_service, client_workspace, "node", "build/typescript_client.js")


def test_urllib3_client_completes_request(called_service: Service, client_workspace: Path) -> None:
    generate_urllib3_client(client_workspace)
    copy_program(client_workspace, "urllib3_client.py")
    run(client_workspace, "mypy", "--config-file=", "receiver_api")
    run_program(called_service, client_workspace, "python", "urllib3_client.py")


def test_fetch_client_completes_request(called_service: Service, client_workspace: Path) -> None:
    generate_fetch_client(client_workspace)
    copy_program(client_workspace, "fetch_client.ts")
    compile_typescript(client_workspace)
    run_program(called_service, client_workspace, "node", "build/fetch_client.js")


@pytest.fixture
def guide_workspace(workspace: Path) -> Path:
    """A directory with the `receiver.toml` of the quickstart and the document that the guide writes."""
    config = "".join(block.text for block in parse_blocks(read_guide("docs/quickstart.md")) if block.language == "toml")
    (workspace / "receiver.toml").write_text(config)
    [command] = find_blocks("Generate a client")
    run(workspace, "sh", "-ec", command.text, SANDBOX_API_KEY="key", SANDBOX_SECRET=SECRET)
    return workspace


def find_blocks(heading: str) -> Sequence[Block]:
    """Return the code blocks of a section of the guide; those above the first one belong to the title."""
    return [block for block in parse_blocks(GUIDE) if (block.heading or "Generate a client") == heading]


def follow_guide(directory: Path, heading: str) -> None:
    """Run the commands of a section of the guide, and write its program."""
    for block in find_blocks(heading):
        if block.language == "sh":
            run(directory, "sh", "-ec", block.text)
        else:
            (directory / PROGRAM_NAMES[block.language]).write_text(block.text)


def run_guide_program(service: Service, directory: Path, *command: str) -> str:
    environ = {"RECEIVER_URL": f"http://127.0.0.1:{service.port}", "RECEIVER_KEY": ADMIN_KEY}
    printed = run(directory, *command, **environ)
    assert "queued" in printed
    return printed


def test_python_program_of_the_guide_works(called_service: Service, guide_workspace: Path) -> None:
    follow_guide(guide_workspace, "Python")
    check_types(guide_workspace, "receiver_client", "client.py")
    run_guide_program(called_service, guide_workspace, "python", "client.py")


def test_typescript_program_of_the_guide_works(called_service: Service, guide_workspace: Path) -> None:
    follow_guide(guide_workspace, "TypeScript")
    compile_typescript(guide_workspace)
    run_guide_program(called_service, guide_workspace, "node", "build/client.js")


def test_other_commands_of_the_guide_work(guide_workspace: Path) -> None:
    follow_guide(guide_workspace, "Other languages")
    assert (guide_workspace / "receiver_api/apis/RequestsApi.ts").is_file()


def test_versions_of_the_guide_are_those_that_are_tested() -> None:
    versions = read_locked_versions()
    rows = parse_table(GUIDE, "generator")
    assert len(rows) == 3
    for name, version, _ in rows:
        assert versions[name.strip("`")].rpartition(".")[0] == version, name
