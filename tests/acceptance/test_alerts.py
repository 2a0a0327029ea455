"""The alerts of docs/alerts.yml fire when they must, by Prometheus's own tool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.guides import ROOT, parse_first_column, read_guide

RULES, CASES = ROOT / "docs" / "alerts.yml", Path(__file__).with_name("alerts_test.yml")
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())


@pytest.fixture(scope="module")
def promtool() -> str:
    """The path of promtool."""
    path = shutil.which("promtool")
    return path or pytest.skip("promtool is not installed; on Debian it is in the package prometheus")


def test_rules_are_valid(promtool: str) -> None:
    check = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert (check.returncode, f"{len(ALERTS)} rules found" in check.stdout) == (0, True), check


def test_alerts_fire_when_they_must(promtool: str) -> None:
    test = subprocess.run([promtool, "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stdout + test.stderr


def test_each_alert_has_cases_for_both() -> None:
    cases = CASES.read_text()
    silent = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", cases))
    firing = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", cases))
    assert silent == firing == set(ALERTS)


def test_guide_lists_the_alerts() -> None:
    assert parse_first_column(read_guide("docs/metrics.md"), "alert") == ALERTS
