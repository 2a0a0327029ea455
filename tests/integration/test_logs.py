"""Structured logs of a process of its own: their format, level and fields."""

import json
import subprocess
import sys
from datetime import datetime, timedelta

SCRIPT = """
import sys
import structlog
from receiver.logs import configure_logs

configure_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger("receiver")
log.info("job.created", provider="acme")
try:
    raise KeyError("name")
except KeyError:
    log.exception("job.failed")
"""


def write_logs(level: str, log_format: str) -> list[str]:
    """Write an info and an error in a process of its own; return the lines on stderr."""
    command = [sys.executable, "-c", SCRIPT, level, log_format]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_json_logs_have_one_line_per_event() -> None:
    created, failed = map(json.loads, write_logs("INFO", "json"))
    assert (created["event"], created["level"], created["provider"]) == ("job.created", "info", "acme")
    assert datetime.fromisoformat(created["timestamp"]).utcoffset() == timedelta(0)
    assert (failed["event"], failed["level"]) == ("job.failed", "error")
    assert "KeyError: 'name'" in failed["exception"]


def test_events_below_the_level_are_not_written() -> None:
    [failed] = map(json.loads, write_logs("ERROR", "json"))
    assert failed["event"] == "job.failed"


def test_console_logs_are_text() -> None:
    lines = write_logs("INFO", "console")
    assert "job.created" in lines[0]
    assert not lines[0].startswith("{")
    assert any("KeyError" in line for line in lines)
