"""How many files the main journeys pass, and that the list of them in the guide is up to date."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
GUIDE = Path(__file__).parents[2] / "docs" / "architecture.md"
MAX_FILES = {"callback": 15, "poll": 24, "notified end": 32}


@pytest.fixture(scope="module")
def journeys() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.tooling.journeys", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    walked: dict[str, Any] = json.loads(run.stdout)
    return walked


def test_journeys_pass_few_files(journeys: dict[str, Any]) -> None:
    assert {name for name, most in MAX_FILES.items() if journeys[name]["files"] > most} == set()


def test_guide_lists_the_files_of_each_journey(journeys: dict[str, Any]) -> None:
    listed = GUIDE.read_text().partition("<!-- journeys -->")[2].partition("<!-- /journeys -->")[0]
    files_by_name = {
        section.partition(":")[0].strip().lower(): set(re.findall(r"^\| `([^`]+\.py)`", section, re.MULTILINE))
        for section in listed.split("### ")[1:]
    }
    remedy = "run `make docs`"
    assert files_by_name == {name: set(journey["path"]) for name, journey in journeys.items()}, remedy
