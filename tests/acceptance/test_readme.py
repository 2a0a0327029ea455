"""What the README shows is so."""

import re
from pathlib import Path

import orjson
from click.testing import CliRunner

from receiver.cli.main import commands
from receiver.settings import load_settings
from receiver.web.app import create_app
from receiver.web.wiring import wiring_of
from schemas.settings import Environment
from tests.factories import SECRET

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KEY = "a-key-for-the-readme"


def blocks(language: str) -> list[str]:
    """Give the README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def declared(tmp_path: Path, **more: str) -> dict[str, str]:
    """Give an environment in which the README's `receiver.toml` is configured."""
    path = tmp_path / "receiver.toml"
    path.write_text("".join(blocks("toml")))
    return {"RECEIVER_CONFIG": str(path), "SANDBOX_API_KEY": "key", "SANDBOX_SECRET": SECRET, **more}


def test_ci_calls_the_test_command_that_the_readme_shows() -> None:
    command = next(block.strip() for block in blocks("sh") if block.strip().endswith("pytest"))
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_commands_that_the_readme_shows_exist() -> None:
    for name in re.findall(r"receiver (\w+)`", README) + re.findall(r"run receiver (\w+)", README):
        assert CliRunner().invoke(commands, [name, "--help"]).exit_code == 0


def test_variables_that_the_readme_lists_are_those_that_are_read() -> None:
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert listed == {field.data_key for field in Environment().fields.values()}


def test_defaults_that_the_readme_lists_are_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(declared(tmp_path))
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^ `]+)`? \|", README, re.MULTILINE))
    assert int(listed["PORT"]) == settings.port
    assert int(listed["RECEIVER_MAX_BODY"]) == settings.max_body
    assert int(listed["WEB_CONCURRENCY"]) == settings.web_concurrency
    assert (listed["LOG_LEVEL"], listed["LOG_FORMAT"]) == (settings.log_level, settings.log_format)
    assert Path(listed["RECEIVER_HOME"]) == settings.home


def test_request_that_the_readme_shows_is_taken(dsn: str, tmp_path: Path) -> None:
    settings = load_settings(declared(tmp_path, DATABASE_URL=dsn, RECEIVER_ADMIN_KEY=KEY))
    (example,) = blocks("http")
    head, _, body = example.partition("\n\n")
    app = create_app(settings)
    try:
        answer = app.test_client().post(
            head.split()[1], data=body, content_type="application/json", headers={"Authorization": f"Bearer {KEY}"}
        )
        assert answer.status_code == 202
        assert orjson.loads(answer.data)["status"] == "queued"
    finally:
        wiring_of(app).close()


def test_files_that_the_readme_names_exist() -> None:
    named = re.findall(r"`((?:receiver|schemas|tests)/[\w/.]+)`", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
