"""`receiver openapi`: faults in the settings."""

from pathlib import Path

from click.testing import CliRunner

from receiver.cli.main import commands


def test_command_reports_every_invalid_setting(tmp_path: Path) -> None:
    environ = {"RECEIVER_CONFIG": str(tmp_path / "none.toml"), "PORT": "high"}
    result = CliRunner(env=environ).invoke(commands, ["openapi"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "RECEIVER_CONFIG" in result.stderr
    assert "PORT" in result.stderr
