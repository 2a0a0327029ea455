"""`receiver demo` as a real process: its result."""

import json
from pathlib import Path

import pytest

from tests.support.demo import TIMEOUT_S, Demo, list_databases, running_demo

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


def assert_ledger_and_postgres_agree(demo: Demo) -> None:
    assert demo.process.popen.wait(TIMEOUT_S) == 0, demo.process.output
    result = json.loads(demo.process.stdout.splitlines()[-1])
    assert result["requests"] == 60
    assert result["mismatches"] == result["forged_accepted"] == 0
    assert min(result[name] for name in ("succeeded", "failed", "unresolved", "forged", "seconds")) > 0
    assert result["jobs"] == result["succeeded"] + result["failed"] + result["unresolved"]
    assert "Traceback" not in demo.process.output
    demo.assert_nothing_left()


def test_demo_with_embedded_postgres_finds_no_mismatch(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        assert_ledger_and_postgres_agree(demo)


@pytest.mark.slow
def test_demo_on_a_server_drops_its_database(server: str, tmp_path: Path) -> None:
    with running_demo(tmp_path, DATABASE_URL=server) as demo:
        demo.wait_for_output("submitting")
        database = demo.find_database()
        assert_ledger_and_postgres_agree(demo)
    assert database not in list_databases(server)
