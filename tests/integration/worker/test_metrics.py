"""What a worker counts, scraped from a real worker that sends to a real provider."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import connect
from receiver.worker.exchange_metrics import ATTEMPT_OUTCOMES
from tests.support.metrics import Scrape, scrape_worker
from tests.support.ports import find_free_port
from tests.support.processes import assert_ends_well, running_worker, wait_for
from tests.support.provider import DROP, Provider, Reply, accept_request, listening, reply_after, state
from tests.support.scene import Scene, open_scene

RETRIES = "retry = { attempts = 2, base = 0.02, max = 0.05 }"
POLLS = "poll = { first_after = 0.1, max_interval = 0.2 }"
LATE_S = 300


@pytest.fixture
def own_scene(server: str, template: str) -> Iterator[Scene]:
    """A database and a provider for this test only."""
    with (
        scratch_database(server, template=template) as dsn,
        listening() as fake_provider,
        open_scene(dsn, fake_provider) as scene,
    ):
        yield scene


def count_attempts(metrics: Scrape, name: str) -> dict[str, float]:
    return {
        outcome: count
        for outcome in ATTEMPT_OUTCOMES
        if (count := metrics.get("receiver_attempts_total", provider=name, outcome=outcome)) is not None
    }


def script_replies(provider: Provider) -> None:
    provider.script("accepted", accept_request())
    provider.script("accepted-0", state("DELIVERED"))
    provider.script("completed", Reply(204))
    provider.script("rejected", Reply(400))
    provider.script("failed", Reply(503))
    provider.script("unknown", DROP)


def test_exchanges_are_counted_by_outcome_and_kind(own_scene: Scene, tmp_path: Path) -> None:
    port, released = find_free_port(), Event()
    config = [
        own_scene.build_provider_toml("sms", f'{RETRIES}\n{POLLS}\non_ambiguous = "hold"'),
        own_scene.build_provider_toml("single", "max_concurrency = 1"),
    ]
    script_replies(own_scene.provider)
    quick, slow = ("quick-1", "quick-2"), ("slow-1", "slow-2", "slow-3")
    for name in quick:
        own_scene.script(name, Reply(204))
    for name in slow:
        own_scene.script(name, reply_after(released, Reply(204)))
    requests = own_scene.submit("sms", "accepted", "completed", "rejected", "failed", "unknown")
    own_scene.connection.execute("UPDATE requests SET due_at = due_at - make_interval(secs => %s)", [LATE_S])
    with running_worker(
        tmp_path, own_scene.dsn, "".join(config), environ={"RECEIVER_METRICS_PORT": str(port)}
    ) as worker:
        assert count_attempts(scrape_worker(port), "single") == dict.fromkeys(ATTEMPT_OUTCOMES, 0)
        for request in requests:
            own_scene.wait_until_settled(request)
        wait_for(lambda: scrape_worker(port).get("receiver_exchange_duration_seconds_count", kind="poll"))
        expected = {**dict.fromkeys(ATTEMPT_OUTCOMES, 1), "not_sent": 0}
        wait_for(lambda: count_attempts(scrape_worker(port), "sms") == expected)  # counted after the commit
        metrics = scrape_worker(port)
        assert metrics.get("receiver_exchange_duration_seconds_count", provider="sms", kind="send") == 6
        assert metrics.get("receiver_exchange_duration_seconds_bucket", provider="sms", kind="send", le="+Inf") == 6
        assert metrics.get("receiver_exchange_duration_seconds_count", provider="single", kind="send") == 0
        assert metrics.get("receiver_queue_lag_seconds_count", provider="sms") == 6
        assert metrics.get("receiver_queue_lag_seconds_bucket", provider="sms", le="60.0") == 1  # the retry
        assert metrics.get("receiver_queue_lag_seconds_sum", provider="sms") == pytest.approx(5 * LATE_S, abs=60)

        results = {"2xx": 2, "4xx": 1, "5xx": 2, "no_response": 1}  # the failed request has two attempts
        for result, count in results.items():
            assert metrics.get("receiver_exchange_results_total", provider="sms", kind="send", result=result) == count
        assert metrics.get("receiver_admission_wait_seconds_count", provider="sms", kind="send") == 6
        assert metrics.get("receiver_claimed_exchanges_total", kind="send") == 6
        assert (metrics.get("receiver_claim_duration_seconds_count", kind="send") or 0) > 1
        assert metrics.get("receiver_committed_items_total", queue="send") == 6
        assert metrics.get("receiver_concurrency_share", provider="single") == 1
        assert metrics.get("receiver_exchanges_in_flight", provider="sms") == 0
        assert metrics.get("receiver_circuit_openings_total", provider="sms") == 0
        wait_for(lambda: scrape_worker(port).get("receiver_polls_total", provider="sms", result="final"))

        # After the quick ones, more is claimed than may be sent at once.
        for request in own_scene.submit("single", *quick, *slow)[: len(quick)]:
            own_scene.wait_until_settled(request)
        # How many that are depends on how many ended before the claim.
        has_waiting = "SELECT count(*) >= 2 FROM requests WHERE status = 'sending'"
        wait_for(lambda: own_scene.connection.execute(has_waiting).fetchone() == (True,))
        waiting = scrape_worker(port)
        assert waiting.get("receiver_exchanges_in_flight", provider="single") == 1
        assert waiting.get("receiver_exchanges_queued", provider="single", kind="send") in {1, 2}
        worker.popen.terminate()
        # Also while the worker waits for exchanges in flight.
        wait_for(lambda: count_attempts(scrape_worker(port), "single")["not_sent"])
        released.set()
        assert_ends_well(worker)


def test_heartbeat_advances_only_with_the_database(own_scene: Scene, tmp_path: Path) -> None:
    port = find_free_port()

    def compute_age() -> float:
        heartbeat = scrape_worker(port).get("receiver_worker_heartbeat_timestamp_seconds")
        assert heartbeat is not None
        return time.time() - heartbeat

    config = own_scene.build_provider_toml("sms", "")
    with running_worker(tmp_path, own_scene.dsn, config, environ={"RECEIVER_METRICS_PORT": str(port)}) as worker:
        wait_for(lambda: compute_age() < 0.2)
        with closing(connect(own_scene.dsn)) as holder, holder.transaction():
            holder.execute("LOCK TABLE providers IN ACCESS EXCLUSIVE MODE")
            wait_for(lambda: compute_age() > 0.5)
        wait_for(lambda: compute_age() < 0.2)
        assert_ends_well(worker)
