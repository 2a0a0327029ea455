"""The guide to operations: it lists the environment variables and their defaults."""

import re
from pathlib import Path

from receiver.schemas.settings import EnvironmentSchema
from receiver.settings import load_settings
from tests.acceptance.guides import ROOT, parse_blocks, read_guide

GUIDE = read_guide("docs/operations.md")


def write_config(tmp_path: Path) -> dict[str, str]:
    """Write the quickstart's `receiver.toml` and return an environment with the file and the secrets that it shows."""
    path = tmp_path / "receiver.toml"
    blocks = parse_blocks(read_guide("docs/quickstart.md"))
    path.write_text("".join(block.text for block in blocks if block.language == "toml"))
    exports = next(block.text for block in blocks if block.text.startswith("export"))
    return {"RECEIVER_CONFIG": str(path), **dict(re.findall(r"(\w+)=(\S+)", exports))}


def test_commands_are_those_of_image_and_reload() -> None:
    install, reload = (block.text for block in parse_blocks(GUIDE) if block.language == "console")
    assert reload == "$ kill -HUP PID\n"  # tests/integration/test_reload.py sends the signal
    options = install.partition(" uv sync ")[2].strip()
    assert f"RUN uv sync {options}" in (ROOT / "Containerfile").read_text().splitlines()


def test_variables_are_those_of_the_environment_schema() -> None:
    names = set(re.findall(r"^\| `([A-Z_]+)` \|", GUIDE, re.MULTILINE))
    assert names == {field.data_key for field in EnvironmentSchema().fields.values()}


def test_defaults_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = load_settings(write_config(tmp_path))
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^ `]+)`? \|", GUIDE, re.MULTILINE))
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
