"""A web process with 1,000 accounts of one provider: its start, its memory, and SIGHUP under load."""

import os
import signal
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from receiver.devtools.scratch import scratch_database
from tests.support.factories import SECRET
from tests.support.http import build_report, exchange, sign_callback
from tests.support.processes import Web, assert_ends_well, find_processes, running_web

ACCOUNTS = 1_000
MAX_START_CPU_S = 5.0
MAX_MEMORY_MIB = 120
PROVIDER = """
[providers.acme]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer" }
signature = { scheme = "standard-webhooks" }
"""


def build_account(number: int) -> str:
    return f"""
[providers.acme.accounts.a{number}]
auth = {{ secret = "key-{number}" }}
signature = {{ secrets = ["{SECRET}"] }}
"""


def read_cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used with its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def read_private_memory(pid: int) -> float:
    """Return the proportional memory of a process in MiB, in which shared pages are divided among their processes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def call_back_for_ever(web: Web, finished: threading.Event, statuses: list[int]) -> None:
    """Deliver callbacks of all accounts on one connection until the end."""
    with closing(web.connect()) as connection:
        while not finished.is_set():
            number = len(statuses) % ACCOUNTS
            body = build_report(f"ref-{len(statuses)}")
            path, headers = f"/callbacks/acme/a/a{number}", sign_callback(body)
            statuses.append(exchange(connection, "POST", path, body, headers).status)


@pytest.mark.slow
def test_thousand_accounts_start_quickly_and_reload_under_load(server: str, template: str, tmp_path: Path) -> None:
    config = PROVIDER + "".join(map(build_account, range(ACCOUNTS)))
    with (
        scratch_database(server, template=template) as dsn,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, dsn, config, listener, WEB_CONCURRENCY="2") as web,
    ):
        pids = list(find_processes(tmp_path))
        cpu_s = [read_cpu_s(pid) for pid in pids]
        memory_mib = [read_private_memory(pid) for pid in pids]
        assert len(pids) == 3
        assert sum(cpu_s) < MAX_START_CPU_S
        assert max(memory_mib) < MAX_MEMORY_MIB
        finished, statuses = threading.Event(), list[int]()
        thread = threading.Thread(target=call_back_for_ever, args=(web, finished, statuses))
        thread.start()
        (tmp_path / "web.toml").write_text(config + build_account(ACCOUNTS))
        web.popen.send_signal(signal.SIGHUP)
        web.wait_until(lambda: web.output.count("settings.reloaded") == 2)
        body = build_report("ref-of-added")
        added = web.call_back(body, f"acme/a/a{ACCOUNTS}").status
        finished.set()
        thread.join()
        assert (added, set(statuses)) == (200, {200})
        assert_ends_well(web)
