"""The README's commands, defaults, paths and links are correct."""

import re
from pathlib import Path

from click.testing import CliRunner

from receiver.cli.main import commands
from receiver.schemas.settings import EnvironmentSchema
from receiver.settings import load_settings
from tests.acceptance.guides import ROOT, Service, extract_section, parse_blocks, read_guide

README = read_guide("README.md")


def find_blocks(language: str, text: str = README) -> list[str]:
    """Return the README's code blocks of one language."""
    return [block.text for block in parse_blocks(text) if block.language == language]


def write_config(tmp_path: Path) -> dict[str, str]:
    """Write the README's `receiver.toml` and return an environment with the file and the secrets that it shows."""
    path = tmp_path / "receiver.toml"
    path.write_text("".join(find_blocks("toml")))
    exports = next(block for block in find_blocks("sh") if block.startswith("export"))
    return {"RECEIVER_CONFIG": str(path), **dict(re.findall(r"(\w+)=(\S+)", exports))}


def test_ci_runs_the_test_command() -> None:
    command = next(block.strip() for block in find_blocks("sh") if block.strip().endswith("pytest"))
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_commands_exist() -> None:
    names = re.findall(r"receiver (\w+)`", README) + re.findall(r"run receiver (\w+)", README)
    assert names
    for name in names:
        assert CliRunner().invoke(commands, [name, "--help"]).exit_code == 0


def test_variables_are_those_of_the_environment_schema() -> None:
    names = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert names == {field.data_key for field in EnvironmentSchema().fields.values()}


def test_defaults_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = load_settings(write_config(tmp_path))
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^ `]+)`? \|", README, re.MULTILINE))
    assert int(defaults["PORT"]) == settings.port
    assert int(defaults["RECEIVER_MAX_BODY"]) == settings.max_body_bytes
    limits = settings.connection_limits
    assert float(defaults["RECEIVER_HEADER_TIMEOUT"]) == limits.header_timeout
    assert float(defaults["RECEIVER_BODY_TIMEOUT"]) == limits.body_timeout
    assert float(defaults["RECEIVER_RESPONSE_TIMEOUT"]) == limits.response_timeout
    assert int(defaults["RECEIVER_MIN_RATE"]) == limits.min_rate
    assert int(defaults["RECEIVER_MAX_UNVERIFIED"]) == limits.max_unverified_bytes
    assert int(defaults["RECEIVER_MAX_INCOMPLETE"]) == limits.max_incomplete
    assert int(defaults["RECEIVER_MAX_INCOMPLETE_PER_ADDRESS"]) == limits.max_incomplete_per_address
    assert int(defaults["WEB_CONCURRENCY"]) == settings.web_concurrency
    assert (defaults["LOG_LEVEL"], defaults["LOG_FORMAT"]) == (settings.log_level, settings.log_format)
    assert int(defaults["DATABASE_POOL_SIZE"]) == settings.database_pool_size
    assert defaults["DATABASE_PREPARE"] == settings.database_prepare
    assert Path(defaults["RECEIVER_HOME"]) == settings.home


def test_quick_start_leads_to_a_finished_job(guide_service: Service) -> None:
    submit, show = [
        block
        for block in find_blocks("sh", extract_section(README, "Run it here"))
        if "receiver request" in block or "receiver job" in block
    ]
    submitted = guide_service.sh(submit)
    [request_id] = re.findall(r"^request +(\S+)$", submitted, re.MULTILINE)
    wait_command, show_command = show.splitlines()
    waited = guide_service.sh(wait_command, REQUEST_ID=request_id)
    [job_id] = re.findall(r"^(\S+) +succeeded ", waited, re.MULTILINE)
    assert "DELIVERED" in guide_service.sh(show_command, JOB_ID=job_id)


def test_named_files_exist() -> None:
    paths = re.findall(r"`((?:receiver|schemas|tests)/[\w/.]+)`", README)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_linked_guides_exist() -> None:
    links = re.findall(r"\]\(([\w/.-]+)\)", README)
    assert len(links) == 20
    assert [path for path in links if not (ROOT / path).is_file()] == []
