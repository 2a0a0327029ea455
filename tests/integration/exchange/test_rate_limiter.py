"""A provider's limits, shared by two real workers: concurrency, rate, throttling and circuit breaker."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.limits import CircuitPolicy
from receiver.domain.sending import NoResponse, NotSent
from receiver.exchange.admission import Admission, NotAdmitted
from receiver.exchange.channels import Channels
from receiver.exchange.work import CompletedExchange
from receiver.providers.base import SendPolicy
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from receiver.store.jobs import SilentJob
from receiver.store.limits import ProviderCapacity
from tests.support.factories import NOON, provider
from tests.support.processes import Process, assert_ends_well, running_worker, wait_for
from tests.support.provider import Received, Reply, listening, reply_after
from tests.support.scene import Scene, open_scene

FAST_POLLS = "poll = { first_after = 0.05, max_interval = 0.2 }"


FAST_RETRIES = "retry = { attempts = 100, base = 0.01, max = 0.05 }"


@pytest.fixture(scope="module", autouse=True)
def workers(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Process]]:
    config = "".join(
        [
            scene.build_provider_toml("narrow", f"max_concurrency = 3\n{FAST_POLLS}"),
            scene.build_provider_toml("paced", "max_per_second = 20"),
            scene.build_provider_toml("busy", FAST_RETRIES),
            scene.build_provider_toml(
                "failing", f"{FAST_RETRIES}\ncircuit = {{ failures = 5, open_for = 0.4, max = 0.8 }}"
            ),
            scene.build_provider_toml("other", ""),
        ]
    )
    directory = tmp_path_factory.mktemp("workers")
    with (
        running_worker(directory, scene.dsn, config, "first") as first,
        running_worker(directory, scene.dsn, config, "second") as second,
    ):
        yield (first, second)
        assert_ends_well(first)
        assert_ends_well(second)


def count_busiest_second(moments: Sequence[float]) -> int:
    """Return the highest number of moments within any one second."""
    ordered = sorted(moments)
    return max(sum(1 for later in ordered[index:] if later < first + 1.0) for index, first in enumerate(ordered))


def test_two_workers_share_max_concurrency(scene: Scene, names: Sequence[str]) -> None:
    def accept_slowly(received: Received) -> Reply:
        time.sleep(0.1)
        return Reply(202, f'{{"items": [{{"id": "{received.name}-job", "status": "ACK", "code": 1801}}]}}'.encode())

    def deliver_slowly(received: Received) -> Reply:
        time.sleep(0.1)
        return Reply(200, f'{{"id": "{received.name}", "state": "DELIVERED"}}'.encode())

    chosen = names[:24]
    for name in chosen:
        scene.script(name, accept_slowly)
        scene.script(f"{name}-job", deliver_slowly)
    for request in scene.submit("narrow", *chosen):
        assert scene.wait_until_settled(request).status == "accepted"
    wait_for(lambda: all(len(scene.received(f"{name}-job")) == 1 for name in chosen))
    assert scene.provider.most_at_once["narrow"] == 3


@pytest.mark.slow
def test_two_workers_share_max_per_second(scene: Scene, names: Sequence[str]) -> None:
    for name in names:
        scene.script(name, Reply(204))
    for request in scene.submit("paced", *names):
        scene.wait_until_settled(request)
    moments = [received.at for name in names for received in scene.received(name)]
    assert len(moments) == len(names)
    assert count_busiest_second(moments) <= 21
    assert max(moments) - min(moments) < 5.0


def test_retry_after_of_429_holds_both_workers(scene: Scene, names: Sequence[str], workers: Sequence[Process]) -> None:
    asked_to_wait, *others = names
    scene.script(asked_to_wait, Reply(429, headers={"retry-after": "1"}), Reply(204))
    for name in others:
        scene.script(name, Reply(204))
    (first,) = scene.submit("busy", asked_to_wait)
    # The limits are stored after the attempt.
    wait_for(lambda: any("rate.lowered" in worker.output for worker in workers))
    requests = scene.submit("busy", *others)
    for request in [first, *requests]:
        assert scene.wait_until_settled(request).status == "completed"
    (throttled,) = scene.received(asked_to_wait)[:1]
    assert min(scene.received(name)[0].at for name in others) - throttled.at > 0.9


@pytest.mark.slow
def test_circuit_opens_and_closes_for_both_workers(
    scene: Scene, names: Sequence[str], workers: Sequence[Process]
) -> None:
    recovered = Event()

    def fail_until_recovered(_: Received) -> Reply:
        return Reply(204 if recovered.is_set() else 500)

    for name in names:
        scene.script(name, fail_until_recovered)
    scene.script("untouched", Reply(204))
    requests = scene.submit("failing", *names)
    wait_for(lambda: any("circuit.opened" in worker.output for worker in workers))
    time.sleep(0.3)  # until the exchanges in flight have ended
    before = len(scene.received_by("failing"))
    time.sleep(2.0)
    probes = len(scene.received_by("failing")) - before
    assert 1 <= probes <= 6
    assert scene.wait_until_settled(*scene.submit("other", "untouched")).status == "completed"
    recovered.set()
    for request in requests:
        assert scene.wait_until_settled(request).status == "completed"
    assert any("circuit.closed" in worker.output for worker in workers)
    row = scene.connection.execute(
        "SELECT failures, consecutive_openings, open_until, probing FROM providers WHERE name = 'failing'"
    ).fetchone()
    assert row == (0, 0, None, False)


@pytest.mark.slow
def test_share_of_dead_worker_is_taken_over(server: str, template: str, tmp_path: Path, names: Sequence[str]) -> None:
    released = Event()
    with (
        scratch_database(server, template=template) as dsn,
        listening() as fake_provider,
        open_scene(dsn, fake_provider) as scene,
    ):
        config = scene.build_provider_toml("single", "max_concurrency = 1")
        hung, waiting = names[:2]
        scene.script(hung, reply_after(released, Reply(204)))
        scene.script(waiting, Reply(204))
        try:
            with running_worker(tmp_path, dsn, config, "victim") as victim:
                scene.submit("single", hung)
                wait_for(lambda: scene.received(hung))
                with running_worker(tmp_path, dsn, config, "successor"):
                    (request,) = scene.submit("single", waiting)
                    time.sleep(0.7)
                    assert scene.look(request).status == "queued"
                    victim.kill()
                    assert scene.wait_until_settled(request).status == "completed"
        finally:
            released.set()


@pytest.fixture
def admission(database: Database) -> Iterator[Admission]:
    """An admission of two exchanges at once."""
    limited = provider(send_policy=SendPolicy(2, 1.0, 1.0, circuit=CircuitPolicy()))
    with Channels(database, {"sandbox": limited}, {"sandbox": ""}) as channels:
        channels.rate_limiter.renew()
        yield channels.rate_limiter["sandbox"]


def test_places_of_exchanges_in_flight_are_given_to_no_other_worker(database: Database) -> None:
    limited = {"sandbox": provider(send_policy=SendPolicy(4, 1.0, 1.0))}
    with Channels(database, limited, {"sandbox": ""}) as first, Channels(database, limited, {"sandbox": ""}) as second:
        first.rate_limiter.renew()
        with ExitStack() as exchanges:
            for _ in range(4):
                exchanges.enter_context(first.rate_limiter["sandbox"].admit(time.monotonic() + 1.0))
            for limiter in (second.rate_limiter, first.rate_limiter, second.rate_limiter):
                limiter.renew()
            assert second.rate_limiter["sandbox"].capacity == 0
        for limiter in (first.rate_limiter, second.rate_limiter):
            limiter.renew()
        assert [channels.rate_limiter["sandbox"].capacity for channels in (first, second)] == [2, 2]


def test_exchange_is_not_admitted_after_begin_by(admission: Admission) -> None:
    with pytest.raises(NotAdmitted, match="in time"), admission.admit(begin_by=time.monotonic() - 1.0):
        pytest.fail("admitted")
    assert admission.in_flight == 0


def test_exchange_is_not_admitted_after_share_expired(admission: Admission) -> None:
    admission.extend_share(1, time.monotonic() - 1.0)
    with pytest.raises(NotAdmitted, match="database is unavailable"), admission.admit(begin_by=time.monotonic() + 10.0):
        pytest.fail("admitted")


def test_wait_for_free_place_ends_at_begin_by(admission: Admission) -> None:
    admission.resize(0)
    with pytest.raises(NotAdmitted, match="in time"), admission.admit(begin_by=time.monotonic() + 0.1):
        pytest.fail("admitted")
    admission.resize(1)
    with admission.admit(begin_by=time.monotonic() + 0.1):
        assert admission.in_flight == 1


def test_missed_slot_is_replaced(admission: Admission) -> None:
    started_at = time.monotonic()
    with admission.admit(begin_by=started_at + 10.0, begin_at=started_at - 1.0):
        assert time.monotonic() - started_at < 1.0
    with admission.admit(begin_by=started_at + 10.0, begin_at=started_at + 0.2):
        assert time.monotonic() - started_at >= 0.2


def test_slots_are_usable_despite_slow_transactions(database: Database, connection: Connection) -> None:
    connection.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.06); RETURN new; END'"
    )
    connection.execute("CREATE TRIGGER slowly BEFORE UPDATE ON providers FOR EACH ROW EXECUTE FUNCTION slowly()")
    paced = provider(send_policy=SendPolicy(16, 1.0, 1.0, max_per_second=20.0))
    with Channels(database, {"sandbox": paced}, {"sandbox": ""}) as channels:
        channels.rate_limiter.renew()
        admission = channels.rate_limiter["sandbox"]
        started_at = time.monotonic()
        with admission.admit(begin_by=started_at + 2.0, begin_at=started_at - 1.0):
            pass


def test_late_probe_begins_and_unsent_probe_is_replaced(database: Database, connection: Connection) -> None:
    paced = provider(send_policy=SendPolicy(2, 1.0, 60.0, max_per_second=20.0))
    with Channels(database, {"sandbox": paced}, {"sandbox": ""}) as channels:
        rate_limiter = channels.rate_limiter
        rate_limiter.renew()
        connection.execute("UPDATE providers SET consecutive_openings = 1, open_until = now()")
        job = SilentJob(uuid4(), "sandbox", "a", None, 1, NOON, NOON, NOON)
        for _ in range(2):
            [permit] = rate_limiter.claim(
                [ProviderCapacity("sandbox", 10)], lambda *_: {"sandbox": True}, lambda *_: [job]
            )
            assert permit.probe
            assert (
                rate_limiter.claim([ProviderCapacity("sandbox", 10)], lambda *_: {"sandbox": True}, lambda *_: [job])
                == []
            )
            unsent = CompletedExchange(paced, job, NotSent("returned to the queue"), NOON, jitter=0.5, probe=True)
            rate_limiter.report(connection, [unsent])
        [permit] = rate_limiter.claim([ProviderCapacity("sandbox", 10)], lambda *_: {"sandbox": True}, lambda *_: [job])
        time.sleep(0.1)
        with rate_limiter["sandbox"].admit(time.monotonic() + 5.0, permit.begin_at, probe=permit.probe):
            pass


def test_claims_keep_the_credentials_of_their_capacity(database: Database) -> None:
    claimed: list[ProviderCapacity] = []

    def take(_: Connection, capacities: Sequence[ProviderCapacity]) -> Sequence[SilentJob]:
        claimed.extend(capacities)
        return []

    with Channels(database, {"sandbox": provider()}, {"sandbox": ""}) as channels:
        channels.rate_limiter.renew()
        for limited in (False, True):
            channels.rate_limiter.claim(
                [ProviderCapacity("sandbox", 1, "fingerprint")], lambda *_, it=limited: {"sandbox": it}, take
            )
    assert [capacity.credentials for capacity in claimed] == ["fingerprint", "fingerprint"]


def test_claimed_work_survives_failed_slot_claim(database: Database) -> None:
    job = SilentJob(uuid4(), "free", "a", None, 1, NOON, NOON, NOON)
    limited_job = replace(job, provider="limited")

    def take(store: Connection, capacities: Sequence[ProviderCapacity]) -> Sequence[SilentJob]:
        if capacities[0].provider == "free":
            return [job]
        store.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return [limited_job]

    providers = {"free": provider(name="free"), "limited": provider(name="limited")}
    with Channels(database, providers, dict.fromkeys(providers, "")) as channels:
        channels.rate_limiter.renew()
        due = {"free": False, "limited": True}
        permits = channels.rate_limiter.claim([ProviderCapacity(name, 1) for name in due], lambda *_: due, take)
        assert [permit.work for permit in permits] == [job]
        with pytest.raises(StoreUnavailable):
            channels.rate_limiter.claim([ProviderCapacity("limited", 1)], lambda *_: due, take)


def test_failed_report_of_outcomes_is_not_raised(database: Database, connection: Connection) -> None:
    with Channels(database, {"sandbox": provider()}, {"sandbox": ""}) as channels:
        channels.rate_limiter.renew()
        connection.execute("ALTER TABLE providers ADD CHECK (failures = 0)")
        job = SilentJob(uuid4(), "sandbox", "a", None, 1, NOON, NOON, NOON)
        failed = CompletedExchange(provider(), job, NoResponse("refused", sent=False), NOON, jitter=0.5)
        channels.rate_limiter.report(connection, [failed])
        assert connection.execute("SELECT failures FROM providers").fetchall() == [(0,)]


def test_rate_meter_decays_slowly(admission: Admission) -> None:
    for _ in range(40):
        with admission.admit(begin_by=time.monotonic() + 10.0):
            pass
    time.sleep(2.1)
    assert 5 <= admission.per_second <= 40


def test_slots_are_taken_only_for_existing_work(database: Database, connection: Connection) -> None:
    paced = provider(send_policy=SendPolicy(16, 1.0, 1.0, max_per_second=2.0))
    with Channels(database, {"sandbox": paced}, {"sandbox": ""}) as channels:
        channels.rate_limiter.renew()
        capacities, nothing = [ProviderCapacity("sandbox", 10)], list[SilentJob]()
        assert channels.rate_limiter.claim(capacities, lambda *_: {"sandbox": True}, lambda *_: nothing) == []
    assert connection.execute("SELECT next_slot_at FROM providers").fetchall() == [(None,)]
