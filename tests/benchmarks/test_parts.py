"""The parts of the benchmarks: results, signed callbacks and their supply, the output of wrk, and /proc."""

import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receiver.domain.callbacks import IncomingCallback
from tests.benchmarks.cpu import find_children, measure_tree
from tests.benchmarks.environment import BenchmarkFailed
from tests.benchmarks.fast_provider import RequestCounter
from tests.benchmarks.intake import CallbackSupply, IntakeBenchmark, IntakeLoad, Web
from tests.benchmarks.results import Comparison, Contender, Round, Spread, compute_cpu_per_operation
from tests.benchmarks.signed import write_callbacks
from tests.benchmarks.verify import MAX_CPU_US, SCHEMES, SchemeResult, VerifyLoad, VerifyResults, compare, sign_sample
from tests.benchmarks.verify_keys import NAMES
from tests.benchmarks.wrk import THREADS, RequestFile, WrkResult, parse, send
from tests.support import factories
from tests.support.asyncio_server import find_header
from tests.support.capabilities import parse_reports_of
from tests.support.processes import running
from tests.support.signers import SIGNERS

WRK = """\
Running 5s test @ http://127.0.0.1:40001
  2 threads and 64 connections
Requests/sec:   3499.07
{"responses": 17499, "seconds": 5.001, "refused": 0, "unconnected": 0, "unread": 1, "unwritten": 0, "late": 2, \
"exhausted": 0, "p50_ms": 17.5, "p99_ms": 60.25}
"""


def make_rounds(*rates: int, **cpu: float) -> list[Round]:
    return [Round(rate * 2, 2.0, cpu) for rate in rates]


def make_comparison(**overrides: Any) -> Comparison:
    fields: dict[str, Any] = {
        "benchmark": "intake",
        "operation": "callbacks",
        "path": Contender("intake", make_rounds(500, 600, 900, python=0.4, postgres=0.1)),
        "ceiling": Contender("empty view", make_rounds(1_000, 1_000, 1_000, python=0.2)),
        "checks": {"acknowledged": 4_000},
        "machine": {"cores": 2},
    }
    return Comparison(**fields | overrides)


def test_ratio_compares_rounds_next_to_each_other() -> None:
    assert make_comparison().compute_ratio() == Spread(0.6, 0.5, 0.9)


def test_cpu_time_is_computed_per_operation() -> None:
    rounds = [Round(1_000, 1.0, {"python": 0.5}), Round(1_000, 2.0, {"python": 0.3})]
    cpu = compute_cpu_per_operation(rounds)["python"]

    assert (cpu.low, cpu.median, cpu.high) == pytest.approx((300.0, 400.0, 500.0))


def test_table_shows_every_round_and_the_ratio() -> None:
    table = make_comparison().table()

    assert "    2           600         1,000   0.60" in table.splitlines()
    assert "ratio 0.60 (0.50 to 0.90)" in table
    assert "acknowledged: 4000" in table


def test_document_contains_table() -> None:
    document = make_comparison().document()

    assert document["ratio"] == {"median": 0.6, "low": 0.5, "high": 0.9}
    assert document["path"]["rates"] == [500.0, 600.0, 900.0]
    assert document["ceiling"]["cpu_us"]["python"] == {"median": 100.0, "low": 100.0, "high": 100.0}


def test_wrk_result_is_parsed_from_last_line() -> None:
    result = parse(WRK)

    assert (result.responses, result.seconds, result.unread, result.late, result.p99_ms) == (17_499, 5.001, 1, 2, 60.25)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "{}\n"])
def test_wrk_output_without_result_is_a_failure(output: str) -> None:
    with pytest.raises(BenchmarkFailed, match="wrk printed no result"):
        parse(output)


PORT = 8_000


@dataclass
class FakeMachine:
    """Stands for wrk and two web processes: each callback is acknowledged at a fixed rate until there are no more."""

    rates: Mapping[int, int]
    counts: list[tuple[int, int]] = field(default_factory=list)

    def send(self, port: int, callbacks: RequestFile, *, connections: int, seconds: int) -> tuple[WrkResult, float]:
        """Return the result of a run, as `wrk.send` does."""
        self.counts.append((port, callbacks.count))
        capacity = self.rates[port] * seconds
        responses = min(capacity, callbacks.count)
        exhausted = THREADS if responses < capacity else 0
        return WrkResult(responses, float(seconds), 0, 0, 0, 0, 0, exhausted, 10.0 * connections, 20.0), 0.1


def start_fake_benchmark(
    monkeypatch: pytest.MonkeyPatch, machine: FakeMachine, callbacks_per_second: int | None = None
) -> IntakeBenchmark:
    monkeypatch.setattr("tests.benchmarks.intake.send", machine.send)
    monkeypatch.setattr("tests.benchmarks.intake.measure_tree", lambda _: 0.0)
    environment: Any = SimpleNamespace(postmaster=0)
    load = IntakeLoad(rounds=1, seconds=1, connections=2, workers=1, callbacks_per_second=callbacks_per_second)
    return IntakeBenchmark(environment, load, [Web(PORT, 0), Web(PORT + 1, 0)])


def test_intake_repeats_rounds_that_run_out_of_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FakeMachine({PORT: 30, PORT + 1: 100})
    benchmark = start_fake_benchmark(monkeypatch, machine, callbacks_per_second=1)

    intake_round, empty_round = benchmark.run_turn(1)

    assert (intake_round.rate, empty_round.rate) == (30.0, 100.0)
    assert [count for port, count in machine.counts if port == PORT] == [2, 2, 4, 8, 16, 32, 64, 128]
    assert [count for port, count in machine.counts if port != PORT] == [32, 64, 128]


def test_intake_signs_callbacks_for_the_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FakeMachine({PORT: 200, PORT + 1: 400})
    benchmark = start_fake_benchmark(monkeypatch, machine)

    benchmark.run_turn(1)
    benchmark.run_turn(2)

    assert machine.counts[0][1] == CallbackSupply.FIRST_PER_SECOND
    assert machine.counts[-1][1] == 2 * 400 * CallbackSupply.MARGIN


def test_callback_supply_stays_fixed_if_it_is_set() -> None:
    supply = CallbackSupply(10)
    supply.record_rate(1_000.0)
    assert supply.compute_count(3) == 30
    assert CallbackSupply(1).compute_count(1) == THREADS


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_reports_that_callbacks_ran_out(tmp_path: Path) -> None:
    callbacks = write_callbacks(tmp_path / "callbacks", 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, arguments = listener.getsockname()[1], ("-m", "tests.benchmarks.fast_provider", str(listener.fileno()))
        with running(arguments, tmp_path / "provider.log", {}, pass_fds=[listener.fileno()]):
            result, _ = send(port, callbacks, connections=4, seconds=1)

    assert result.exhausted == THREADS
    assert 0 < result.responses <= callbacks.count


def test_signed_callbacks_have_equal_length_and_differ(tmp_path: Path) -> None:
    callbacks = write_callbacks(tmp_path / "callbacks", 20)
    content = callbacks.path.read_bytes()
    requests = {content[start : start + callbacks.length] for start in range(0, len(content), callbacks.length)}

    assert len(requests) == callbacks.count == 20


def test_signed_callbacks_have_items_of_their_own(tmp_path: Path) -> None:
    callbacks = write_callbacks(tmp_path / "callbacks", 3, provider="declared", items=4)
    content = callbacks.path.read_bytes()

    assert content.count(b"POST /callbacks/declared HTTP/1.1") == callbacks.count == 3
    assert len(set(re.findall(rb'"id":"([^"]+)"', content))) == 3 * 4


def test_signed_callback_is_verified_and_parsed(tmp_path: Path) -> None:
    head, _, body = write_callbacks(tmp_path / "callback", 1).path.read_bytes().partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    signature = next(line for line in head.decode().split("\r\n") if line.startswith("webhook-signature"))
    headers["webhook-signature"] = signature.partition(": ")[2]
    now = factories.NOON.fromtimestamp(int(headers["webhook-timestamp"]), factories.NOON.tzinfo)
    incoming = IncomingCallback("POST", "/callbacks/sandbox", headers, body, now)

    factories.provider().require_callbacks().settings.auth.verify(incoming)

    assert int(headers["content-length"]) == len(body)
    [(_, report)] = parse_reports_of(factories.provider(), incoming).reports
    assert report.provider_status == "DELIVERED"


def test_fast_provider_reports_and_resets_counts() -> None:
    counter = RequestCounter()
    first, second = (counter.respond(b"POST / HTTP/1.1\r\nIdempotency-Key: a", b"")[1] for _ in range(2))

    assert first.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert first != second
    assert counter.respond(b"GET /seen HTTP/1.1", b"")[1].endswith(b'{"requests":2,"keys":1}')
    assert counter.respond(b"GET /seen HTTP/1.1", b"")[1].endswith(b'{"requests":0,"keys":0}')


def test_fast_provider_reports_polled_jobs() -> None:
    counter = RequestCounter()
    first, second = (counter.respond(b"GET /v1/messages/fast-%d HTTP/1.1" % number, b"")[1] for number in (1, 2))

    assert first.endswith(b'{"id":"fast-1","state":"DELIVERED"}')
    assert second.endswith(b'{"id":"fast-2","state":"QUEUED"}')


def test_header_is_found_in_any_case() -> None:
    assert find_header(b"POST / HTTP/1.1\r\nContent-Length: 12\r\nHost: x", b"content-length") == b"12"
    assert find_header(b"POST / HTTP/1.1\r\nHost: x", b"content-length") == b""


def test_cpu_time_of_missing_process_is_zero() -> None:
    assert measure_tree(os.getpid()) > 0.0
    assert measure_tree(2**31 - 1) == 0.0
    assert os.getpid() in find_children(os.getppid())


def test_scheme_ratio_compares_rounds_next_to_each_other() -> None:
    result = SchemeResult("github", [4.0, 6.0, 10.0], [2.0, 2.0, 5.0])

    assert result.compute_cost() == Spread(6.0, 4.0, 10.0)
    assert result.compute_ratio() == Spread(2.0, 2.0, 3.0)


def test_verify_table_names_schemes_that_are_over() -> None:
    schemes = [SchemeResult("fast", [MAX_CPU_US], [1.0]), SchemeResult("slow", [MAX_CPU_US + 1.0], [1.0])]
    results = VerifyResults(schemes, {"python": "3"})

    assert "target: at most 15 µs; exceeded by: slow" in results.table().splitlines()
    assert results.document()["schemes"]["slow"]["ratio"] == {"median": 16.0, "low": 16.0, "high": 16.0}


def test_verify_table_names_recipes_over_ratio() -> None:
    results = VerifyResults([SchemeResult("rsa", [1.3], [1.0]), SchemeResult("ecdsa", [1.2], [1.0])], {"python": "3"})

    assert "target of ed25519, ecdsa, rsa: at most 1.2 of the bare check; exceeded by: rsa" in results.table()


def test_every_hmac_scheme_and_public_key_is_measured() -> None:
    results = compare(VerifyLoad(rounds=1, verifications=1))

    assert [result.name for result in results.schemes] == [*SCHEMES, *NAMES]


def test_presets_with_signers_are_measured_if_they_use_hmac() -> None:
    assert SIGNERS.keys() - SCHEMES.keys() == {"flutterwave"}


@pytest.mark.parametrize("name", SCHEMES)
def test_measured_callback_has_1_kib(name: str) -> None:
    _, incoming = sign_sample(name)

    assert 1_024 <= len(incoming.body) < 1_200
