"""The pure parts of the benchmarks: what the rounds amount to, and what wrk and /proc tell."""

import os
from pathlib import Path
from typing import Any

import pytest

from receiver.domain.callbacks import IncomingCallback
from tests import factories
from tests.benchmarks.cpu import children_of, tree_seconds
from tests.benchmarks.fast_provider import Seen, header
from tests.benchmarks.figures import Comparison, Contender, Round, Spread, cpu_per_operation
from tests.benchmarks.signed import write_callbacks
from tests.benchmarks.stage import BenchmarkFailed
from tests.benchmarks.verify import SCHEMES, TARGET, Figure, Figures, Load, compare, prepared
from tests.benchmarks.wrk import parse
from tests.signers import SIGNERS

WRK = """\
Running 5s test @ http://127.0.0.1:40001
  2 threads and 64 connections
Requests/sec:   3499.07
{"responses": 17499, "seconds": 5.001, "refused": 0, "unconnected": 0, "unread": 1, "unwritten": 0, "late": 2, \
"exhausted": 0, "p50_ms": 17.5, "p99_ms": 60.25}
"""


def rounds(*rates: int, **cpu: float) -> list[Round]:
    return [Round(rate * 2, 2.0, cpu) for rate in rates]


def comparison(**overrides: Any) -> Comparison:
    given: dict[str, Any] = {
        "benchmark": "intake",
        "operation": "callbacks",
        "path": Contender("intake", rounds(500, 600, 900, python=0.4, postgres=0.1)),
        "ceiling": Contender("empty view", rounds(1_000, 1_000, 1_000, python=0.2)),
        "checks": {"acknowledged": 4_000},
        "machine": {"cores": 2},
    }
    return Comparison(**given | overrides)


def test_each_round_counts_against_its_neighbour() -> None:
    assert comparison().ratio() == Spread(0.6, 0.5, 0.9)


def test_cpu_time_is_told_per_operation() -> None:
    told = cpu_per_operation([Round(1_000, 1.0, {"python": 0.5}), Round(1_000, 2.0, {"python": 0.3})])

    assert (told["python"].low, told["python"].median, told["python"].high) == pytest.approx((300.0, 400.0, 500.0))


def test_the_table_shows_every_round_and_the_ratio() -> None:
    table = comparison().table()

    assert "    2           600         1,000   0.60" in table.splitlines()
    assert "ratio 0.60 (0.50 to 0.90)" in table
    assert "acknowledged: 4000" in table


def test_the_document_holds_what_the_table_shows() -> None:
    document = comparison().document()

    assert document["ratio"] == {"median": 0.6, "low": 0.5, "high": 0.9}
    assert document["path"]["rates"] == [500.0, 600.0, 900.0]
    assert document["ceiling"]["cpu_us"]["python"] == {"median": 100.0, "low": 100.0, "high": 100.0}


def test_the_result_is_on_the_last_line_that_wrk_writes() -> None:
    told = parse(WRK)

    assert (told.responses, told.seconds, told.unread, told.late, told.p99_ms) == (17_499, 5.001, 1, 2, 60.25)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "{}\n"])
def test_a_run_without_a_result_is_a_failure(output: str) -> None:
    with pytest.raises(BenchmarkFailed, match="wrk told no result"):
        parse(output)


def test_signed_callbacks_are_equally_long_and_all_different(tmp_path: Path) -> None:
    callbacks = write_callbacks(tmp_path / "callbacks", 20)
    written = callbacks.path.read_bytes()
    each = {written[start : start + callbacks.length] for start in range(0, len(written), callbacks.length)}

    assert len(each) == callbacks.count == 20


def test_the_provider_verifies_and_reads_a_signed_callback(tmp_path: Path) -> None:
    head, _, body = write_callbacks(tmp_path / "callback", 1).path.read_bytes().partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    signature = next(line for line in head.decode().split("\r\n") if line.startswith("webhook-signature"))
    headers["webhook-signature"] = signature.partition(": ")[2]
    now = factories.NOON.fromtimestamp(int(headers["webhook-timestamp"]), factories.NOON.tzinfo)
    incoming = IncomingCallback("POST", "/callbacks/sandbox", headers, body, now)

    factories.provider().callback_settings.auth.verify(incoming)

    assert int(headers["content-length"]) == len(body)
    [(_, report)] = factories.provider().parse(incoming).reports
    assert report.provider_status == "DELIVERED"


def test_the_fast_provider_counts_requests_and_keys_and_forgets_them_when_asked() -> None:
    seen = Seen()
    first, second = (seen.take(b"POST / HTTP/1.1\r\nIdempotency-Key: a") for _ in range(2))

    assert first.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert first != second
    assert seen.take(b"GET /seen HTTP/1.1").endswith(b'{"requests":2,"keys":1}')
    assert seen.take(b"GET /seen HTTP/1.1").endswith(b'{"requests":0,"keys":0}')


def test_a_header_is_found_whatever_its_case() -> None:
    assert header(b"POST / HTTP/1.1\r\nContent-Length: 12\r\nHost: x", b"content-length") == b"12"
    assert header(b"POST / HTTP/1.1\r\nHost: x", b"content-length") == b""


def test_cpu_time_of_a_process_is_read_and_of_none_is_nothing() -> None:
    assert tree_seconds(os.getpid()) > 0.0
    assert tree_seconds(2**31 - 1) == 0.0
    assert os.getpid() in children_of(os.getppid())


def test_a_scheme_counts_against_the_bare_hmac_of_its_own_round() -> None:
    figure = Figure("github", [4.0, 6.0, 10.0], [2.0, 2.0, 5.0])

    assert figure.cost() == Spread(6.0, 4.0, 10.0)
    assert figure.ratio() == Spread(2.0, 2.0, 3.0)


def test_the_table_tells_which_schemes_are_over_the_target() -> None:
    figures = Figures([Figure("fast", [TARGET], [1.0]), Figure("slow", [TARGET + 1.0], [1.0])], {"python": "3"})

    assert "target: at most 60 µs; over it: slow" in figures.table().splitlines()
    assert figures.document()["schemes"]["slow"]["ratio"] == {"median": 61.0, "low": 61.0, "high": 61.0}


def test_every_hmac_scheme_verifies_what_is_measured() -> None:
    figures = compare(Load(rounds=1, verifications=1))

    assert [each.name for each in figures.schemes] == list(SCHEMES)


def test_every_preset_with_a_signer_is_measured_unless_it_is_no_hmac() -> None:
    assert SIGNERS.keys() - SCHEMES.keys() == {"flutterwave"}


@pytest.mark.parametrize("name", SCHEMES)
def test_what_is_measured_is_a_callback_of_1_kib(name: str) -> None:
    _, incoming = prepared(name)

    assert 1_024 <= len(incoming.body) < 1_100
