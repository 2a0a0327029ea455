"""Refused callbacks: complete counts, and limits of rows, bytes and log lines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from receiver.domain.callbacks import IncomingCallback
from receiver.inbound import refusals
from receiver.inbound.refusals import RefusalLog, RefusedDelivery
from receiver.store.callbacks import list_refusals
from receiver.store.connections import Connection
from receiver.store.errors import StoreError
from tests.support.factories import PUBLIC_URL, provider

SIGNATURE = "webhook-signature"


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Sequence[Mapping[str, Any]]:
    """The lines of the log, whatever level another test has configured."""
    capture, wrapper = LogCapture(), structlog.make_filtering_bound_logger(0)
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[capture], wrapper_class=wrapper)
    monkeypatch.setattr(refusals, "_log", logger)
    return capture.entries


def build_delivery(
    body: bytes = b"{}", caller: str = "198.51.100.1", part: str = SIGNATURE, **headers: str
) -> RefusedDelivery:
    all_headers = {"webhook-signature": "v1,x"} | {name.replace("_", "-"): value for name, value in headers.items()}
    incoming = IncomingCallback("POST", "/callbacks/sandbox", all_headers, body, datetime.now(UTC), PUBLIC_URL, caller)
    return RefusedDelivery(provider(), incoming, part, "No signature matches.")


def count_samples(connection: Connection, body: bytes | None = None) -> int:
    query = "SELECT count(*) FROM callbacks WHERE verdict = 'refused' AND (%(body)s::bytea IS NULL OR body = %(body)s)"
    ((count,),) = connection.execute(query, {"body": body}).fetchall()
    return int(count)


@pytest.mark.parametrize("headers", [{}, {"user_agent": "forger/1.0"}])
def test_forgeries_do_not_displace_a_genuine_callback(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(refusals, "MAX_SAMPLES_PER_PROVIDER", 10)
    log = RefusalLog()
    log.record(build_delivery(b"genuine"))
    for number in range(220):
        log.record(build_delivery(b"forged %d" % number, **headers))
        if number % 20 == 19:
            log.write(connection)
    assert count_samples(connection, b"genuine") == 1
    assert count_samples(connection) == 10
    assert [refusal.count for refusal in list_refusals(connection, ["sandbox"])] == [221]


def test_implausible_flood_leaves_places_within_one_write(connection: Connection) -> None:
    log = RefusalLog()
    for number in range(300):
        flood = build_delivery(b"flood", f"198.51.100.{number % 250}")
        log.record(replace(flood, incoming=replace(flood.incoming, headers={})))
    log.record(build_delivery(b"genuine"))
    log.write(connection)
    assert count_samples(connection, b"genuine") == 1
    assert count_samples(connection) <= 10


def test_sample_is_limited_in_bytes(connection: Connection) -> None:
    log = RefusalLog()
    for number in range(100):
        padding = {f"x_{index}": "x" * 8_000 for index in range(100)}
        log.record(build_delivery(b"x" * 250_000, f"198.51.100.{number}", **padding))
    log.write(connection)
    ((size,),) = connection.execute(
        "SELECT sum(length(body) + length(headers::text)) FROM callbacks WHERE verdict = 'refused'"
    ).fetchall()
    assert size < 3 << 20


def test_body_that_is_too_large_is_left_out(connection: Connection) -> None:
    log = RefusalLog()
    log.record(build_delivery(b"x" * 300_000))
    log.write(connection)
    (row,) = connection.execute("SELECT body, errors FROM callbacks").fetchall()
    assert row == (b"", {SIGNATURE: ["No signature matches."], "_body": ["Not stored: 300000 bytes."]})


def test_log_lines_are_limited_with_a_count(connection: Connection, log_lines: Sequence[Mapping[str, Any]]) -> None:
    log = RefusalLog()
    for _ in range(500):
        log.record(build_delivery())
    log.write(connection)
    rejected = [line for line in log_lines if line["event"] == "callback.refused"]
    assert 1 <= len(rejected) <= 11
    [suppressed] = [line for line in log_lines if line["event"] == "callback_refusals.suppressed"]
    assert suppressed["count"] == 500 - len(rejected)


def test_refusals_are_counted_by_reason_and_caller(connection: Connection) -> None:
    log = RefusalLog()
    for part, caller in ((SIGNATURE, "2001:db8::1"), ("timestamp", "2001:db8::2"), ("method", "203.0.113.7")):
        log.record(build_delivery(caller=caller, part=part))
        log.write(connection)
    counts = {(item.reason, item.caller_address): item.count for item in list_refusals(connection, ["sandbox"])}
    assert counts == {("signature", "2001:db8::/64"): 2, ("method", "203.0.113.7"): 1}


def test_many_callers_are_counted_together(connection: Connection) -> None:
    log = RefusalLog()
    for number in range(700):
        log.record(build_delivery(caller=f"10.0.{number // 250}.{number % 250}"))
        if number % 100 == 99:
            log.write(connection)
    rows = connection.execute("SELECT caller_address, count FROM callback_refusals").fetchall()
    assert len(rows) < 300
    assert sum(count for _, count in rows) == 700
    assert max(rows, key=lambda row: int(row[1]))[0] == ""


def test_counts_survive_a_failed_write(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("no database")

    log = RefusalLog()
    log.record(build_delivery())
    with monkeypatch.context() as patch:
        patch.setattr(refusals, "save_refusals", fail)
        with pytest.raises(StoreError):
            log.write(connection)
    assert not log.is_empty
    log.record(build_delivery())
    log.write(connection)
    assert [refusal.count for refusal in list_refusals(connection, ["sandbox"])] == [2]
    assert log.is_empty
