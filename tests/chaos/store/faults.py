"""The faults. Each is a function that returns when the fault is over: when there is a Postgres again that answers.

A killed process of ours is started again at once, as a supervisor does it; nothing else of ours is restarted.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg

from tests.chaos.store.postgres import DATABASE, OTHER_ROLE
from tests.chaos.store.service import Service
from tests.chaos.store.stores import (
    OpenStore,
    Store,
    open_behind_pgbouncer,
    open_behind_proxy,
    open_direct,
    open_on_small_disk,
    open_with_standby,
)
from tests.support.processes import wait_for

_SHORT_OUTAGE_S, _LONG_OUTAGE_S = (1.0, 4.0), (8.0, 9.0)
"""Shorter and longer than the time limits of the service."""
_LONG_OUTAGE_SHARE = 0.4
_RESTART_DELAY_S = (0.0, 2.0)
_PROMOTION_DELAY_S = 2.0
_RETRY_INTERVAL_S = 0.05
_LOST_REPLIES = (3, 8)
_LOST_REPLY_TIMEOUT_S = 2.0
_FILL_CHUNK = b"\0" * (1 << 16)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault is inflicted on; the random generator chooses times and processes."""

    service: Service
    store: Store
    random: Random


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the store that it needs.

    Args:
        inflict: inflicts the fault and returns when it is over.
        open_store: starts the store.
    """

    inflict: Callable[[Scene], None]
    open_store: OpenStore = open_direct


def kill_web_worker(scene: Scene) -> None:
    """Kill one of gunicorn's workers."""
    scene.service.kill_web_worker(scene.random)


def kill_web_master(scene: Scene) -> None:
    """Kill gunicorn's master; a supervisor starts it again at once."""
    scene.service.restart_killed("web")


def kill_worker(scene: Scene) -> None:
    """Kill the worker process; a supervisor starts it again at once."""
    scene.service.restart_killed("worker")


def pause_worker(scene: Scene) -> None:
    """Stop the worker process for some seconds."""
    scene.service.signal("worker", signal.SIGSTOP)
    _wait(scene)
    scene.service.signal("worker", signal.SIGCONT)


def kill_postgres(scene: Scene) -> None:
    """Kill all processes of Postgres, and start it again."""
    scene.store.server.kill()
    _pause_briefly(scene)
    scene.store.server.start()


def freeze_postgres(scene: Scene) -> None:
    """Stop all processes of Postgres for some seconds; the kernel acknowledges what it is sent."""
    scene.store.server.freeze()
    _wait(scene)
    scene.store.server.thaw()


def freeze_backends(scene: Scene) -> None:
    """Stop the backends of our connections for good; new connections work.

    Only idle backends are stopped: another one may hold a lock that Postgres itself needs.
    """
    frozen = [pid for pid in scene.store.server.find_backends() if _freeze_if_idle(pid)]
    assert frozen, "no connection was idle"


def _freeze_if_idle(pid: int) -> bool:
    """Stop a backend if it is idle, by the title of its process."""
    os.kill(pid, signal.SIGSTOP)
    is_idle = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").endswith(b" idle")
    if not is_idle:
        os.kill(pid, signal.SIGCONT)
    return is_idle


def terminate_backends(scene: Scene) -> None:
    """Terminate the backends of our connections."""
    scene.store.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{DATABASE}'")


def silence_connections(scene: Scene) -> None:
    """Swallow what open connections send; they stay open, and new connections work."""
    assert scene.store.proxy
    assert scene.store.proxy.silence(), "no connection was open"


def stall_connections(scene: Scene) -> None:
    """Forward nothing for some seconds, new connections neither."""
    assert scene.store.proxy
    scene.store.proxy.stall()
    _wait(scene)
    scene.store.proxy.go()


def lose_replies(scene: Scene) -> None:
    """Cut connections after Postgres has replied to a COMMIT or to a batch of callbacks."""
    assert scene.store.proxy
    for _ in range(scene.random.randint(*_LOST_REPLIES)):
        scene.store.proxy.cut_after(scene.random.choice([b"COMMIT", b"unmatched-"])).wait(_LOST_REPLY_TIMEOUT_S)
    scene.store.proxy.cut_after(b"")


def make_read_only(scene: Scene) -> None:
    """Make all sessions read-only for some seconds; then new sessions can write, and open ones still cannot."""
    scene.store.server.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    _wait(scene)
    scene.store.server.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = off")


def fill_disk(scene: Scene) -> None:
    """Fill the disk for some seconds; a server that ended because of that is started again."""
    assert scene.store.disk
    filler = scene.store.disk / "filler"
    ends_at = time.monotonic() + _choose_outage(scene)
    was_full = False
    with filler.open("wb", buffering=0) as file:
        while time.monotonic() < ends_at:
            try:
                file.write(_FILL_CHUNK)
            except OSError:
                was_full = True
                time.sleep(_RETRY_INTERVAL_S)
    filler.unlink()
    assert was_full, "the disk was not full"
    wait_for(lambda: scene.store.server.has_exited or scene.store.server.is_available)
    if scene.store.server.has_exited:
        scene.store.server.start()


def take_all_connections(scene: Scene) -> None:
    """Take all connections that Postgres does not reserve, those of the service too, for some seconds."""
    ends_at = time.monotonic() + _choose_outage(scene)
    with ExitStack() as stack:
        while time.monotonic() < ends_at:
            try:
                connection = psycopg.connect(scene.store.server.build_dsn(OTHER_ROLE))
            except psycopg.OperationalError:
                terminate_backends(scene)
                time.sleep(_RETRY_INTERVAL_S)
            else:
                stack.enter_context(closing(connection))


def fail_over_killed(scene: Scene) -> None:
    """Kill the primary, and promote the standby after two seconds."""
    _fail_over(scene, scene.store.server.kill)


def fail_over_frozen(scene: Scene) -> None:
    """Freeze the primary for good, and promote the standby after two seconds."""
    _fail_over(scene, scene.store.server.freeze)


def stop_pgbouncer(scene: Scene) -> None:
    """Stop PgBouncer, and start it again."""
    _restart_pgbouncer(scene, signal.SIGTERM)


def kill_pgbouncer(scene: Scene) -> None:
    """Kill PgBouncer, and start it again."""
    _restart_pgbouncer(scene, signal.SIGKILL)


def _wait(scene: Scene) -> None:
    time.sleep(_choose_outage(scene))


def _choose_outage(scene: Scene) -> float:
    is_long = scene.random.random() < _LONG_OUTAGE_SHARE
    return scene.random.uniform(*(_LONG_OUTAGE_S if is_long else _SHORT_OUTAGE_S))


def _pause_briefly(scene: Scene) -> None:
    time.sleep(scene.random.uniform(*_RESTART_DELAY_S))


def _restart_pgbouncer(scene: Scene, number: signal.Signals) -> None:
    assert scene.store.bouncer
    scene.store.bouncer.stop(number)
    _pause_briefly(scene)
    scene.store.bouncer.start()


def _fail_over(scene: Scene, lose_primary: Callable[[], None]) -> None:
    assert scene.store.standby
    lose_primary()
    time.sleep(_PROMOTION_DELAY_S)
    scene.store.server = scene.store.standby
    scene.store.server.execute("SELECT pg_promote()")


FAULTS: Mapping[str, Fault] = {
    "web worker killed": Fault(kill_web_worker),
    "web master killed": Fault(kill_web_master),
    "worker killed": Fault(kill_worker),
    "worker paused": Fault(pause_worker),
    "postgres killed": Fault(kill_postgres),
    "postgres frozen": Fault(freeze_postgres),
    "backends frozen": Fault(freeze_backends),
    "backends terminated": Fault(terminate_backends),
    "connections silent": Fault(silence_connections, open_behind_proxy),
    "connections stalled": Fault(stall_connections, open_behind_proxy),
    "replies lost": Fault(lose_replies, open_behind_proxy),
    "read-only": Fault(make_read_only),
    "disk full": Fault(fill_disk, open_on_small_disk),
    "connections taken": Fault(take_all_connections),
    "primary killed": Fault(fail_over_killed, open_with_standby),
    "primary frozen": Fault(fail_over_frozen, open_with_standby),
    "pgbouncer stopped": Fault(stop_pgbouncer, open_behind_pgbouncer),
    "pgbouncer killed": Fault(kill_pgbouncer, open_behind_pgbouncer),
}

SECOND_FAULTS = ("web worker killed", "web master killed", "worker killed", "backends terminated")
"""Faults that are over at once and need no store of their own: they may come just before another one."""
