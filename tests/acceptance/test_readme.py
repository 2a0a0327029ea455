"""What the README shows is so."""

import re
from pathlib import Path

from click.testing import CliRunner

from receiver.cli.main import commands
from receiver.schemas.settings import EnvironmentSchema
from receiver.settings import load_settings
from tests.acceptance.guides import ROOT, Service, blocks_of, guide, section_of, words_of

README = guide("README.md")


def blocks(language: str, text: str = README) -> list[str]:
    """Give the README's code blocks of one language."""
    return [block.text for block in blocks_of(text) if block.language == language]


def declared(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which the README's `receiver.toml` is configured, with the secrets that it shows."""
    path = tmp_path / "receiver.toml"
    path.write_text("".join(blocks("toml")))
    exported = re.findall(r"(\w+)=(\S+)", next(block for block in blocks("sh") if block.startswith("export")))
    return {"RECEIVER_CONFIG": str(path), **dict(exported)}


def test_ci_calls_the_test_command_that_the_readme_shows() -> None:
    command = next(block.strip() for block in blocks("sh") if block.strip().endswith("pytest"))
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_commands_that_the_readme_shows_exist() -> None:
    for name in re.findall(r"receiver (\w+)`", README) + re.findall(r"run receiver (\w+)", README):
        assert CliRunner().invoke(commands, [name, "--help"]).exit_code == 0


def test_variables_that_the_readme_lists_are_those_that_are_read() -> None:
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert listed == {field.data_key for field in EnvironmentSchema().fields.values()}


def test_defaults_that_the_readme_lists_are_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(declared(tmp_path))
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^ `]+)`? \|", README, re.MULTILINE))
    assert int(listed["PORT"]) == settings.port
    assert int(listed["RECEIVER_MAX_BODY"]) == settings.max_body
    assert int(listed["WEB_CONCURRENCY"]) == settings.web_concurrency
    assert (listed["LOG_LEVEL"], listed["LOG_FORMAT"]) == (settings.log_level, settings.log_format)
    assert Path(listed["RECEIVER_HOME"]) == settings.home


def test_the_way_that_the_readme_shows_leads_from_a_key_to_what_happened(service: Service) -> None:
    submit, look = [
        block
        for block in blocks("sh", section_of(README, "Run it here"))
        if "receiver request" in block or "receiver job" in block
    ]
    submitted = service.sh(submit)
    [request] = re.findall(r"^request +(\S+)$", submitted, re.MULTILINE)
    wait, show = look.splitlines()
    waited = service.sh(wait, REQUEST_ID=request)
    [job] = re.findall(r"^(\S+) +succeeded ", waited, re.MULTILINE)
    assert "DELIVERED" in service.sh(show, JOB_ID=job)


def test_metrics_that_the_readme_lists_are_those_that_are_told(service: Service) -> None:
    listed = re.findall(r"receiver_\w+", " ".join(words_of(README, "metric")))
    told = service.api.call("GET", "/metrics").body.decode()
    assert set(re.findall(r"^# TYPE (receiver_\w+) ", told, re.MULTILINE)) <= set(listed)
    [alerts] = blocks("yaml")
    assert set(re.findall(r"receiver_\w+", alerts)) <= set(listed)


def test_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"`((?:receiver|schemas|tests)/[\w/.]+)`", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_guides_that_the_readme_leads_to_exist() -> None:
    linked = re.findall(r"\]\(([\w/.]+)\)", README)
    assert len(linked) == 3
    assert [path for path in linked if not (ROOT / path).is_file()] == []
