"""`hostile`: strangers attack the web process in every way at once, while a provider delivers its callbacks.

In the first half the attackers send from other addresses than the provider, in the second half from the provider's own.
Every callback must be answered 200 at the first attempt, nearly all of them within a second; no worker process may end,
or use too much memory. The attackers are niced, because they run on the same machine.
"""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.benchmarks.cpu import find_children, measure_tree
from tests.chaos.strangers import list_addresses
from tests.support.http import build_report, sign_callback
from tests.support.processes import Process, Web, build_provider_toml, running, running_web

PER_SECOND = 200
WORKERS = 2
MAX_P99_S = 1.0
MAX_MEMORY_MIB = 250.0
OWN_ADDRESS = "127.0.0.1"
_SENDERS = 64
_TIMEOUT_S = 10.0
_START_DELAY_S = 2.0
_EXIT_TIMEOUT_S = 20.0
_SAMPLE_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True)
class Delivery:
    """A callback: its status, 0 without a response, and how many seconds it took."""

    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attack did: how many connections it opened, and how many CPU seconds it used."""

    name: str
    connections: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a trial: its callbacks and its attacks."""

    name: str
    deliveries: Sequence[Delivery]
    attacks: Sequence[Attack]
    web_cpu: float

    @property
    def accepted(self) -> int:
        return sum(delivery.status == 200 for delivery in self.deliveries)

    @property
    def p99(self) -> float:
        """The seconds within which 99 of 100 callbacks were answered."""
        ordered = sorted(delivery.seconds for delivery in self.deliveries)
        return ordered[int(0.99 * len(ordered))] if ordered else float("inf")


@dataclass(frozen=True, slots=True)
class HostileTrial:
    """The result of a trial.

    Args:
        halves: the attackers at other addresses, and at the provider's own.
        memory: the most memory that a worker process used, in MiB.
        restarted: how many worker processes ended.
        refusals: how many requests were refused, by reason.
        max_p99: the seconds within which 99 of 100 callbacks must be answered.
    """

    halves: Sequence[Half]
    memory: float
    restarted: int
    refusals: Mapping[str, int]
    max_p99: float = MAX_P99_S

    @property
    def violations(self) -> list[str]:
        """Each violation as one line."""
        violations = []
        for half in self.halves:
            if half.accepted < len(half.deliveries) or not half.deliveries:
                statuses = sorted({delivery.status for delivery in half.deliveries} - {200})
                missing = len(half.deliveries) - half.accepted
                violations.append(f"{half.name}: {missing} callbacks were not answered 200 but {statuses}")
            if half.p99 >= self.max_p99:
                violations.append(f"{half.name}: 99 of 100 callbacks took up to {half.p99:.2f} s")
            violations += [
                f"{half.name}: {attack.name} did not attack" for attack in half.attacks if not attack.connections
            ]
        if self.restarted:
            violations.append(f"{self.restarted} worker processes ended")
        if self.memory >= MAX_MEMORY_MIB:
            violations.append(f"a worker process used {self.memory:.0f} MiB")
        return violations

    def summary(self) -> str:
        """Return the result as text for people."""
        lines = []
        for half in self.halves:
            lines.append(f"{half.name}")
            lines += [
                f"  {attack.name:30}{attack.connections:6} connections{attack.cpu:8.1f} s CPU"
                for attack in half.attacks
            ]
            longest = max((delivery.seconds for delivery in half.deliveries), default=0.0)
            share = 100 * half.accepted / max(len(half.deliveries), 1)
            lines.append(f"  callbacks answered 200        {half.accepted} of {len(half.deliveries)}, {share:.2f} %")
            lines.append(f"  p99, longest                  {half.p99:.3f} s, {longest:.3f} s")
            lines.append(
                f"  CPU of attackers, of web      {sum(a.cpu for a in half.attacks):.1f} s, {half.web_cpu:.1f} s"
            )
        lines.append(f"worker processes that ended     {self.restarted}")
        lines.append(f"peak memory of a worker         {self.memory:.0f} MiB")
        lines += [f"refused: {reason:23}{count}" for reason, count in sorted(self.refusals.items())]
        return "\n".join(lines)


def run(
    dsn: str, directory: Path, *, seconds: float, per_second: int = PER_SECOND, max_p99: float = MAX_P99_S
) -> HostileTrial:
    """Attack a web process on a migrated database for so many seconds, half of them from the provider's address."""
    with (
        socket.create_server((OWN_ADDRESS, 0), backlog=2_048) as listener,
        running_web(directory, dsn, build_provider_toml(), listener, WEB_CONCURRENCY=str(WORKERS)) as web,
    ):
        workers = find_children(web.popen.pid)
        with _measuring_memory(web) as memory:
            halves = [
                _run_half(web, directory, own, seconds=seconds / 2, per_second=per_second)
                for own in (None, OWN_ADDRESS)
            ]
        restarted = len(workers - find_children(web.popen.pid))
        return HostileTrial(halves, max(memory), restarted, _read_refusals(web), max_p99)


def _run_half(web: Web, directory: Path, own: str | None, *, seconds: float, per_second: int) -> Half:
    start = time.monotonic() + _START_DELAY_S
    with ExitStack() as stack:
        attackers = {
            attack: stack.enter_context(_attacking(web, directory, attack, address, start=start, seconds=seconds))
            for attack, address in list_addresses(own)
        }
        time.sleep(max(start - time.monotonic(), 0.0))
        cpu_before = measure_tree(web.popen.pid)
        deliveries = list(_deliver(web, seconds, per_second))
        attacks = [_finish_attack(attack, process) for attack, process in attackers.items()]
    name = "from the provider's address" if own else "from other addresses"
    return Half(name, deliveries, attacks, measure_tree(web.popen.pid) - cpu_before)


@contextmanager
def _attacking(
    web: Web, directory: Path, attack: str, address: str, *, start: float, seconds: float
) -> Iterator[Process]:
    target = [web.host, str(web.port)]
    arguments = ["-m", "tests.chaos.strangers", attack, address, *target, str(start), str(seconds)]
    log = directory / f"{attack.replace(' ', '-')}-{address}.log"
    with running(arguments, log, {}) as process:
        yield process


def _finish_attack(name: str, process: Process) -> Attack:
    cpu = measure_tree(process.popen.pid)
    assert process.popen.wait(_EXIT_TIMEOUT_S) == 0, process.output
    return Attack(name, int(process.stdout), cpu)


def _deliver(web: Web, seconds: float, per_second: int) -> Iterator[Delivery]:
    """Deliver new callbacks, each on a connection of its own, at a steady rate."""
    started_at = time.monotonic()
    with ThreadPoolExecutor(_SENDERS) as pool:
        pending = []
        for number in range(int(seconds * per_second)):
            time.sleep(max(started_at + number / per_second - time.monotonic(), 0.0))
            pending.append(pool.submit(_deliver_one, web, time.monotonic()))
        for future in pending:
            yield future.result()


def _deliver_one(web: Web, due_at: float) -> Delivery:
    """Deliver a callback; its time includes that in our own queue."""
    body = build_report(f"ref-{uuid4().hex}")
    headers = {**sign_callback(body), "host": "receiver.example", "content-length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST /callbacks/sandbox HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode() + body
    response = b""
    try:
        with closing(socket.create_connection((web.host, web.port), _TIMEOUT_S)) as client:
            client.sendall(request)
            while data := client.recv(4_096):
                response += data
    except OSError:
        pass
    status = int(response.split(b" ", 2)[1]) if response else 0
    return Delivery(status, time.monotonic() - due_at)


@contextmanager
def _measuring_memory(web: Web) -> Iterator[list[float]]:
    """Yield the memory of the largest worker process in MiB, measured several times a second."""
    memory = [0.0]
    stopped = threading.Event()

    def measure() -> None:
        while not stopped.wait(_SAMPLE_INTERVAL_S):
            memory.append(max((_read_memory(pid) for pid in find_children(web.popen.pid)), default=0.0))

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield memory
    finally:
        stopped.set()
        thread.join()


def _read_memory(pid: int) -> float:
    """Return the resident memory of a process in MiB, 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    (resident_kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(resident_kib) / 1_024


def _read_refusals(web: Web) -> dict[str, int]:
    time.sleep(1.0)  # processes count once a second
    prefix = 'receiver_requests_refused_total{reason="'
    lines = web.call("GET", "/metrics").body.decode().splitlines()
    found = (line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix))
    return {reason: int(float(count)) for reason, count in found}
