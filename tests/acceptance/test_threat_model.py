"""The threat model: every module and every test that it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/threat-model.md").read_text()
ROWS = re.findall(r"^\| .* \| `(receiver/\S+\.py)` \| `(tests/\S+\.py)::(test_\w+)` \|$", GUIDE, re.MULTILINE)


def test_every_threat_names_its_defence_and_test() -> None:
    table_rows = [line for line in GUIDE.splitlines() if line.startswith("| ")]
    headings = [line for line in table_rows if line.startswith(("| Asset", "| ---"))]
    assert len(ROWS) == len(table_rows) - len(headings) > 30
    for module, file, test in ROWS:
        assert (ROOT / module).is_file(), module
        assert f"\ndef {test}(" in (ROOT / file).read_text(), test
