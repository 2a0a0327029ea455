"""Clients generated from the documents of other configurations compile.

openapi-generator gets them without webhooks, of which it makes operations that do not compile.
"""

import json
from pathlib import Path

import pytest

from tests.codegen.generators import (
    check_types,
    compile_typescript,
    generate_fetch_client,
    generate_python_client,
    generate_typescript_types,
    generate_urllib3_client,
    run,
)
from tests.support.openapi import CONFIGURATIONS, NOTIFY, build_json_document

pytestmark = pytest.mark.codegen


@pytest.fixture(params=CONFIGURATIONS)
def configuration(request: pytest.FixtureRequest) -> str:
    """The name of each configuration."""
    return str(request.param)


def write_document(directory: Path, configuration: str, *, has_webhooks: bool = True) -> None:
    notify = NOTIFY if configuration == "all" else None
    document = build_json_document(CONFIGURATIONS[configuration], notify, has_webhooks=has_webhooks)
    (directory / "openapi.json").write_text(json.dumps(document))


def test_python_client_has_strict_types(workspace: Path, configuration: str) -> None:
    write_document(workspace, configuration)
    generate_python_client(workspace)
    check_types(workspace, "receiver_client")
    submit = (workspace / "receiver_client/api/requests/submit_request.py").read_text()
    assert "-> Response[Problem | Request]" in submit


def test_typescript_types_compile(workspace: Path, configuration: str) -> None:
    write_document(workspace, configuration)
    generate_typescript_types(workspace)
    compile_typescript(workspace)
    assert "JsonValue: unknown;" in (workspace / "receiver.ts").read_text()


def test_clients_of_openapi_generator_compile(workspace: Path, configuration: str) -> None:
    write_document(workspace, configuration, has_webhooks=False)
    generate_urllib3_client(workspace)
    run(workspace, "python", "-c", "import receiver_api, receiver_api.models, receiver_api.api")
    (workspace / "receiver_api").rename(workspace / "python")
    generate_fetch_client(workspace)
    compile_typescript(workspace)
