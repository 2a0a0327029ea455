"""Many accounts of one provider: only those that have work cost anything."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.configured_providers import load_providers
from receiver.devtools.scratch import scratch_database
from receiver.exchange.rate_limiter import MAX_RESIDENT_PROVIDERS
from receiver.settings import load_settings
from receiver.store.connections import connect
from tests.support.processes import assert_ends_well, running_worker
from tests.support.provider import Provider, Reply, listening
from tests.support.scene import open_scene

ACCOUNTS = 1_000
MAX_MEMORY_MIB = 120
MAX_LOAD_CPU_S = 5.0  # two to three times what it takes on a slow, busy machine
TEMPLATE = """
[providers.acme]
kind = "declared"
base_url = "{url}"
auth = {{ scheme = "bearer" }}
signature = {{ scheme = "hmac", algorithm = "sha256", header = "X-Signature", encoding = "hex", signed = "{{body}}" }}
operations.send = {{ path = "/acme", callback_url = "callback_url", idempotency_header = "Idempotency-Key" }}
response = {{ reference = "id" }}
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
poll = {{ path = "/acme/{{reference}}" }}
"""
ACCOUNT = """
[providers.acme.accounts.a{number}]
auth = {{ secret = "key-{number}" }}
signature = {{ secrets = ["secret-of-account-{number:05}"] }}
"""


def build_config(provider: Provider, count: int) -> str:
    return TEMPLATE.format(url=provider.url) + "".join(ACCOUNT.format(number=number) for number in range(count))


def read_memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4_096 / (1 << 20)


def is_received(provider: Provider, name: str) -> bool:
    return len(provider.find_received(name)) == 1


def check_worker(dsn: str, directory: Path, count: int) -> float:
    """Run a worker with this number of accounts, check that two of them are sent to, and return its memory in MiB."""
    names = [f"many-{uuid4().hex}" for _ in range(2)]
    with listening() as fake_provider, open_scene(dsn, fake_provider) as scene, closing(connect(dsn)) as connection:
        for name in names:
            scene.script(name, Reply(202, b'{"id": "ref"}'))
        with running_worker(directory, dsn, build_config(fake_provider, count)) as worker:
            for name, account in zip(names, ("a7", f"a{count - 1}"), strict=True):
                scene.submit(f"acme/{account}", name)
                worker.wait_until(partial(is_received, fake_provider, name))
            query = "SELECT provider FROM concurrency_shares WHERE expires_at > now() ORDER BY provider"
            holders = [provider for (provider,) in connection.execute(query)]
            assert set(holders) == {"acme/a0", "acme/a7", f"acme/a{count - 1}"}
            memory = read_memory(worker.popen.pid)
            assert_ends_well(worker)
    return memory


def test_only_accounts_with_work_hold_shares(server: str, template: str, tmp_path: Path) -> None:
    with scratch_database(server, template=template) as dsn:
        check_worker(dsn, tmp_path, MAX_RESIDENT_PROVIDERS + 10)


@pytest.mark.slow
def test_thousand_accounts_load_quickly_and_fit_in_memory(server: str, template: str, tmp_path: Path) -> None:
    with listening() as fake_provider:
        (tmp_path / "many.toml").write_text(build_config(fake_provider, ACCOUNTS))
    environ = {"RECEIVER_CONFIG": str(tmp_path / "many.toml")}
    started_at = time.process_time()
    settings = load_settings(environ)
    loaded_at = time.process_time()
    assert load_providers(environ, settings.configured).providers == settings.providers
    assert len(settings.providers) == ACCOUNTS
    assert loaded_at - started_at < MAX_LOAD_CPU_S
    assert time.process_time() - loaded_at < MAX_LOAD_CPU_S / 2
    with scratch_database(server, template=template) as dsn:
        assert check_worker(dsn, tmp_path, ACCOUNTS) < MAX_MEMORY_MIB
