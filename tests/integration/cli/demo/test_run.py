"""`receiver demo` as a real process: its result."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.demo import TIMEOUT_S, Demo, list_databases, running_demo

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@pytest.fixture(scope="module")
def demos(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Demo]]:
    """Two concurrent demos, because they mostly wait: one with an embedded Postgres, one with a server."""
    with ExitStack() as stack:
        yield {
            "embedded": stack.enter_context(running_demo(tmp_path_factory.mktemp("embedded"))),
            "server": stack.enter_context(running_demo(tmp_path_factory.mktemp("server"), DATABASE_URL=server)),
        }


@pytest.fixture(scope="module", autouse=True)
def demo_database(demos: Mapping[str, Demo]) -> str:
    """The database that the demo created on the server, found while the demo still runs."""
    demos["server"].wait_for_output("submitting")
    return demos["server"].find_database()


@pytest.mark.parametrize("postgres", ["embedded", "server"])
def test_ledger_and_postgres_agree(demos: Mapping[str, Demo], demo_database: str, server: str, postgres: str) -> None:
    demo = demos[postgres]
    assert demo.process.popen.wait(TIMEOUT_S) == 0, demo.process.output
    result = json.loads(demo.process.stdout.splitlines()[-1])
    assert result["requests"] == 60
    assert result["mismatches"] == result["forged_accepted"] == 0
    assert min(result[name] for name in ("succeeded", "failed", "unresolved", "forged", "seconds")) > 0
    assert result["jobs"] == result["succeeded"] + result["failed"] + result["unresolved"]
    assert "Traceback" not in demo.process.output
    demo.assert_nothing_left()
    assert postgres == "embedded" or demo_database not in list_databases(server)
