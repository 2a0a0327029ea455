"""The callback endpoint over real HTTP: every row of the contract's table of outcomes."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import LARGE_BODY_BYTES, CallbackBatcher, receive
from receiver.providers.registry import build_provider
from receiver.reconcile import reconcile
from receiver.signatures.base import InvalidSignature
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from tests.support.declared_service import (
    NONCE_SECRET,
    build_state,
    find_refused,
    hub_signature,
    post,
    run_command,
    sign_nonce,
)
from tests.support.factories import NOON, event
from tests.support.http import Response, build_report, build_reports, exchange, parse_problem, sign_callback
from tests.support.processes import Web, assert_ends_well, build_provider_toml, running_web, wait_for

ONE_MIB_BYTES = 1 << 20
OLD_SECRET = "whsec_dGhlIG9uZSBiZWZvcmUgdGhlIHJvdGF0aW9u"
OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="


class Job(NamedTuple):
    """The stored state of a job, with the number of its events."""

    status: str
    disputed: bool
    request_id: UUID | None
    events: int


@pytest.fixture(scope="module")
def shared_web(shared_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Run two web processes on one socket, so that deliveries race between processes too."""
    config = build_provider_toml() + build_provider_toml("rotating").replace(
        "secrets = [", f'secrets = ["{OLD_SECRET}", '
    )
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path_factory.mktemp("web"), shared_dsn, config, listener, WEB_CONCURRENCY="2") as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def webhook_id() -> str:
    return f"msg-{uuid4().hex}"


def find_job(connection: Connection, reference: str, provider: str = "sandbox") -> Job | None:
    row = connection.execute(
        """SELECT status, disputed, request_id, (SELECT count(*) FROM events WHERE job_id = id)
        FROM jobs WHERE id = %s""",
        [derive_job_id(provider, reference)],
    ).fetchone()
    return Job(*row) if row else None


def find_deliveries(connection: Connection, webhook_id: str) -> list[tuple[str, bytes | None]]:
    """Return the verdicts and bodies of the deliveries with a webhook id, sorted by verdict."""
    rows = connection.execute(
        "SELECT verdict, body FROM callbacks WHERE headers ->> 'webhook-id' = %s ORDER BY verdict", [webhook_id]
    )
    return [(verdict, body) for verdict, body in rows]


def create_accepted_job(connection: Connection, reference: str) -> UUID:
    """Create an accepted job as the response to a request does; return the id of the request."""
    request_id = uuid4()
    reconcile(connection, [event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request_id)])
    return request_id


def assert_acknowledged(response: Response) -> None:
    assert (response.status, response.body) == (200, b"")


def test_callback_is_stored_raw_and_reconciled_before_the_response(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    request_id = create_accepted_job(shared_connection, reference)
    body = build_report(reference, reason="all well", at="2026-11-23T13:00:00+01:00", undocumented="value")
    response = shared_web.call("POST", "/callbacks/sandbox?try=1", body, sign_callback(body, webhook_id=webhook_id))
    assert_acknowledged(response)
    assert find_job(shared_connection, reference) == Job("succeeded", False, request_id, 2)
    assert find_deliveries(shared_connection, webhook_id) == [("accepted", body)]
    callback = shared_connection.execute(
        "SELECT id, method, target, headers ->> 'content-type' FROM callbacks WHERE body = %s", [body]
    ).fetchone()
    assert callback is not None
    assert callback[1:] == ("POST", "/callbacks/sandbox?try=1", "application/json")
    events = shared_connection.execute(
        """SELECT callback_id, source, provider_status, detail, occurred_at::text FROM events
        WHERE job_id = %s AND source = 'callback'""",
        [derive_job_id("sandbox", reference)],
    ).fetchall()
    assert events == [(callback[0], "callback", "DELIVERED", "all well", "2026-11-23 12:00:00+00")]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("QUEUED", "in_progress"),
        ("sent", "in_progress"),
        ("DELIVERED", "succeeded"),
        ("UNDELIVERED", "failed"),
        ("expired", "failed"),
    ],
)
def test_provider_status_maps_to_job_status(
    shared_web: Web, shared_connection: Connection, reference: str, state: str, status: str
) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference, state)))
    assert find_job(shared_connection, reference) == Job(status, False, None, 1)


def test_duplicate_is_acknowledged_and_stored_without_body(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    body = build_report(reference)
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id, age=-30))  # Providers sign each retry again.
    assert find_deliveries(shared_connection, webhook_id) == [("accepted", body), ("duplicate", None)]
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 1)


def test_same_body_with_another_id_is_another_callback(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    body = build_report(reference)
    assert_acknowledged(shared_web.call_back(body))
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert find_deliveries(shared_connection, webhook_id) == [("accepted", body)]
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 2)


def test_concurrent_deliveries_create_one_callback_and_one_event(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    body = build_report(reference)
    headers = sign_callback(body, webhook_id=webhook_id)
    barrier = Barrier(20)

    def deliver(_: int) -> Response:
        with closing(shared_web.connect()) as http_connection:
            http_connection.connect()
            barrier.wait()
            return exchange(http_connection, "POST", "/callbacks/sandbox", body, headers)

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(deliver, range(20)))
    assert [response.status for response in responses] == [200] * 20
    assert find_deliveries(shared_connection, webhook_id) == [("accepted", body)] + [("duplicate", None)] * 19
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 1)


def test_late_callback_is_stored_without_changing_the_job(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference)))
    assert_acknowledged(shared_web.call_back(build_report(reference, "SENT")))
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 2)


def test_callback_after_the_deadline_still_decides(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    reconcile(shared_connection, [event(reference, JobStatus.UNRESOLVED, source=EventSource.DEADLINE)])
    assert_acknowledged(shared_web.call_back(build_report(reference, "UNDELIVERED")))
    assert find_job(shared_connection, reference) == Job("failed", False, None, 2)


def test_contradicting_callback_marks_the_job_disputed(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference, "DELIVERED")))
    assert_acknowledged(shared_web.call_back(build_report(reference, "UNDELIVERED")))
    assert find_job(shared_connection, reference) == Job("succeeded", True, None, 2)


def test_callback_before_its_response_creates_an_unmatched_job(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference)))
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 1)
    request_id = create_accepted_job(shared_connection, reference)
    assert find_job(shared_connection, reference) == Job("succeeded", False, request_id, 2)


def test_unmapped_status_is_stored_without_changing_the_job(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    request_id = create_accepted_job(shared_connection, reference)
    body = build_report(reference, "PONDERING")
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert find_deliveries(shared_connection, webhook_id) == [("unmapped", body)]
    assert find_job(shared_connection, reference) == Job("accepted", False, request_id, 2)
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert find_deliveries(shared_connection, webhook_id) == [("duplicate", None), ("unmapped", body)]
    assert find_job(shared_connection, reference) == Job("accepted", False, request_id, 2)


def test_unmapped_item_does_not_affect_mapped_items(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    body = build_reports({"id": reference, "state": "DELIVERED"}, {"id": f"{reference}-2", "state": "PONDERING"})
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert [verdict for verdict, _ in find_deliveries(shared_connection, webhook_id)] == ["unmapped"]
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 1)
    assert find_job(shared_connection, f"{reference}-2") == Job("accepted", False, None, 1)


def test_thousand_items_create_one_callback_and_thousand_events(
    shared_web: Web, shared_connection: Connection, reference: str, webhook_id: str
) -> None:
    body = build_reports(*({"id": f"{reference}-{number}", "state": "DELIVERED"} for number in range(1_000)))
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert find_deliveries(shared_connection, webhook_id) == [("accepted", body)]
    counts = shared_connection.execute(
        """SELECT count(*), count(DISTINCT job_id), count(DISTINCT callback_id), bool_and(jobs.status = 'succeeded')
        FROM events JOIN jobs ON jobs.id = job_id WHERE reference LIKE %s""",
        [f"{reference}-%"],
    ).fetchone()
    assert counts == (1_000, 1_000, 1, True)


def test_large_callback_updates_every_job_exactly_once(
    shared_web: Web, shared_connection: Connection, webhook_id: str
) -> None:
    prefix = uuid4().hex
    items = [{"id": f"{prefix}-{number}", "state": "DELIVERED"} for number in range(1_700)]
    items[3]["state"], items[1_699] = "TELEPORTED", {"state": "DELIVERED"}
    body = build_reports(*items)
    assert len(body) > LARGE_BODY_BYTES
    for _ in range(2):
        assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert [verdict for verdict, _ in find_deliveries(shared_connection, webhook_id)] == ["duplicate", "invalid"]
    counts = shared_connection.execute(
        "SELECT status, count(*) FROM jobs WHERE reference LIKE %s GROUP BY 1 ORDER BY 1", [f"{prefix}-%"]
    ).fetchall()
    assert counts == [("accepted", 1), ("succeeded", 1_698)]
    events = "SELECT count(*) FROM events JOIN jobs ON jobs.id = job_id WHERE reference LIKE %s"
    assert shared_connection.execute(events, [f"{prefix}-%"]).fetchone() == (1_699,)


def test_items_about_one_job_create_separate_events(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    body = build_reports({"id": reference, "state": "SENT"}, {"id": reference, "state": "DELIVERED"})
    assert_acknowledged(shared_web.call_back(body))
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ["_body"]),
        (b'{"results": [', ["_body"]),
        (b'{"results": "\\ud800"}', ["_body"]),
        (b'{"results": ' + b"[" * 2_000 + b"]" * 2_000 + b"}", ["_body"]),
        (b"[]", ["_schema"]),
        (b"{}", ["results"]),
        (build_reports(), ["results"]),
        (build_reports({"state": "SENT"}), ["results", "0", "id"]),
        (build_reports({"id": 5, "state": "SENT"}), ["results", "0", "id"]),
        (build_reports({"id": "", "state": "SENT"}), ["results", "0", "id"]),
        (build_reports({"id": "long" * 300, "state": "SENT"}), ["results", "0", "id"]),
        (build_report("nul\0"), ["results", "0", "id"]),
        (build_report("nul", "SE\0NT"), ["results", "0", "state"]),
        (build_report("nul", reason="\0"), ["results", "0", "reason"]),
        (build_report("when", at="yesterday"), ["results", "0", "at"]),
        (build_report("when", at="2026-11-23T12:00:00"), ["results", "0", "at"]),
    ],
)
def test_malformed_callback_is_rejected_and_stored_with_its_errors(
    shared_web: Web, shared_connection: Connection, webhook_id: str, body: bytes, field: list[str]
) -> None:
    response = shared_web.call_back(body, webhook_id=webhook_id)
    assert response.status == 400
    errors = messages = parse_problem(response)["errors"]
    for name in field:
        messages = messages[name]
    assert all(isinstance(message, str) and message for message in messages), errors
    assert find_deliveries(shared_connection, webhook_id) == [("invalid", body)]
    stored = shared_connection.execute(
        "SELECT errors FROM callbacks WHERE headers ->> 'webhook-id' = %s", [webhook_id]
    ).fetchone()
    assert stored == (errors,)


def test_malformed_item_does_not_affect_valid_items(
    shared_web: Web, shared_connection: Connection, webhook_id: str, reference: str
) -> None:
    body = build_reports(
        {"id": f"{reference}-a", "state": "SENT"}, {"id": "bad"}, {"id": f"{reference}-b", "state": "SENT"}
    )
    assert_acknowledged(shared_web.call_back(body, webhook_id=webhook_id))
    assert [find_job(shared_connection, f"{reference}-{suffix}") for suffix in "ab"] == [
        Job("in_progress", False, None, 1)
    ] * 2
    assert find_deliveries(shared_connection, webhook_id) == [("invalid", body)]


def test_malformed_callbacks_do_not_affect_concurrent_valid_ones(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    valid = [build_report(f"{reference}-{number}") for number in range(20)]
    malformed = [build_report(f"{reference}-bad-{number}", at="never") for number in range(10)]
    with ThreadPoolExecutor(20) as pool:
        responses = list(
            pool.map(
                shared_web.call_back,
                [body for bodies in zip(valid[:10], malformed, valid[10:], strict=True) for body in bodies],
            )
        )
    assert [response.status for response in responses] == [200, 400, 200] * 10
    assert all(find_job(shared_connection, f"{reference}-{number}") for number in range(20))
    assert not any(find_job(shared_connection, f"{reference}-bad-{number}") for number in range(10))


def test_repeated_malformed_callback_is_rejected_again(
    shared_web: Web, shared_connection: Connection, webhook_id: str
) -> None:
    responses = [shared_web.call_back(b"no json", webhook_id=webhook_id) for _ in range(2)]
    assert [response.status for response in responses] == [400, 400]
    assert responses[0].json == responses[1].json
    assert find_deliveries(shared_connection, webhook_id) == [("duplicate", None), ("invalid", b"no json")]


BAD_SIGNATURE_HEADERS: dict[str, dict[str, str | None]] = {
    "no headers": {"webhook-id": None, "webhook-timestamp": None, "webhook-signature": None},
    "no id": {"webhook-id": None},
    "another id": {"webhook-id": "msg-another"},
    "an id that is not ASCII": {"webhook-id": "msg-\xff"},
    "no timestamp": {"webhook-timestamp": None},
    "another timestamp": {"webhook-timestamp": "1"},
    "a fraction as timestamp": {"webhook-timestamp": "1.5"},
    "a negative timestamp": {"webhook-timestamp": "-1"},
    "a timestamp out of range": {"webhook-timestamp": "9" * 400},
    "non-ASCII digits": {"webhook-timestamp": "\xb2\xb3"},
    "no signature": {"webhook-signature": None},
    "an empty signature": {"webhook-signature": ""},
    "a version without a signature": {"webhook-signature": "v1"},
    "a signature that is not base64": {"webhook-signature": "v1,%%%"},
    "a signature that is not ASCII": {"webhook-signature": "v1,\xff\xfe"},
    "ten thousand signatures": {"webhook-signature": "v1,AAAA " * 900},
}


@pytest.mark.parametrize("changes", BAD_SIGNATURE_HEADERS.values(), ids=BAD_SIGNATURE_HEADERS)
def test_missing_or_malformed_signature_is_401(
    shared_web: Web, shared_connection: Connection, reference: str, changes: dict[str, str | None]
) -> None:
    body = build_report(reference)
    headers = {name: value for name, value in {**sign_callback(body), **changes}.items() if value is not None}
    response = shared_web.call("POST", "/callbacks/sandbox", body, headers)
    assert_unauthorized(response, shared_connection, reference, body)


def assert_unauthorized(response: Response, connection: Connection, reference: str, body: bytes) -> None:
    assert response.status == 401
    parse_problem(response)
    assert find_job(connection, reference) is None
    query = "SELECT count(*) FROM callbacks WHERE body = %s AND verdict <> 'refused'"  # samples are written at any time
    assert connection.execute(query, [body]).fetchone() == (0,)


@pytest.mark.parametrize(
    "signing", [{"secret": OTHER_SECRET}, {"age": 310.0}, {"age": -310.0}], ids=["wrong key", "past", "future"]
)
def test_signature_with_wrong_key_or_time_is_401(
    shared_web: Web, shared_connection: Connection, reference: str, signing: dict[str, Any]
) -> None:
    body = build_report(reference)
    assert_unauthorized(shared_web.call_back(body, **signing), shared_connection, reference, body)


@pytest.mark.parametrize("age", [290.0, -290.0])
def test_signature_within_tolerance_is_accepted(shared_web: Web, reference: str, age: float) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference), age=age))


def test_changed_body_is_401(shared_web: Web, shared_connection: Connection, reference: str) -> None:
    body = build_report(reference)
    response = shared_web.call(
        "POST", "/callbacks/sandbox", body, sign_callback(build_report(reference, "UNDELIVERED"))
    )
    assert_unauthorized(response, shared_connection, reference, body)


def test_signature_is_verified_before_the_body_is_parsed(shared_web: Web) -> None:
    assert shared_web.call_back(b"no json", secret=OTHER_SECRET).status == 401


def test_old_and_new_secret_are_valid_during_rotation(
    shared_web: Web, shared_connection: Connection, reference: str
) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference, "SENT"), name="rotating", secret=OLD_SECRET))
    assert_acknowledged(shared_web.call_back(build_report(reference), name="rotating"))
    assert find_job(shared_connection, reference, "rotating") == Job("succeeded", False, None, 2)
    assert shared_web.call_back(build_report(reference), secret=OLD_SECRET).status == 401


@pytest.mark.parametrize("name", ["nobody", "sandbox%00", "sandbox/token", "SANDBOX", "%F0%9F%92%A9", ".."])
def test_unknown_provider_is_404(shared_web: Web, shared_connection: Connection, reference: str, name: str) -> None:
    body = build_report(reference)
    response = shared_web.call_back(body, name=name)
    assert response.status == 404
    parse_problem(response)
    assert shared_connection.execute("SELECT count(*) FROM callbacks WHERE body = %s", [body]).fetchone() == (0,)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method_is_405_with_allow_header(shared_web: Web, method: str) -> None:
    response = shared_web.call(method, "/callbacks/sandbox")
    assert response.status == 405
    assert "POST" in response.headers["allow"]
    parse_problem(response)


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_one_mebibyte_is_413(
    shared_web: Web, shared_connection: Connection, reference: str, chunked: bool
) -> None:
    body = build_report(reference).ljust(ONE_MIB_BYTES + 1)
    chunks = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    response = shared_web.call("POST", "/callbacks/sandbox", chunks if chunked else body, sign_callback(body))
    assert response.status == 413
    parse_problem(response)
    assert find_job(shared_connection, reference) is None


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_one_mebibyte_is_accepted(
    shared_web: Web, shared_connection: Connection, reference: str, chunked: bool
) -> None:
    body = build_report(reference).ljust(ONE_MIB_BYTES)
    response = shared_web.call("POST", "/callbacks/sandbox", [body] if chunked else body, sign_callback(body))
    assert_acknowledged(response)
    assert find_job(shared_connection, reference) == Job("succeeded", False, None, 1)


@pytest.mark.parametrize("framing", [b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\n{}", b"2\r\n{}xx0\r\n\r\n"])
def test_malformed_or_truncated_chunked_body_is_400(shared_web: Web, framing: bytes) -> None:
    head = b"POST /callbacks/sandbox HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection((shared_web.host, shared_web.port), timeout=10) as connection:
        connection.sendall(head + framing)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")


def test_body_shorter_than_content_length_is_400(shared_web: Web) -> None:
    head = b"POST /callbacks/sandbox HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n"
    with socket.create_connection((shared_web.host, shared_web.port), timeout=10) as connection:
        connection.sendall(head + b"{}")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=b", "image/png", "application/xml", "text/csv"])
def test_wrong_media_type_is_415(
    shared_web: Web, shared_connection: Connection, reference: str, media_type: str
) -> None:
    response = shared_web.call_back(build_report(reference), media_type=media_type)
    assert response.status == 415
    assert "application/json" in parse_problem(response)["detail"]
    assert find_job(shared_connection, reference) is None


@pytest.mark.parametrize(
    "media_type", ["Application/JSON; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "json"]
)
def test_kind_of_body_counts_whatever_its_media_type(shared_web: Web, reference: str, media_type: str) -> None:
    assert_acknowledged(shared_web.call_back(build_report(reference), media_type=media_type))


def test_connection_serves_further_callbacks_after_any_outcome(shared_web: Web, reference: str) -> None:
    valid, malformed = build_report(reference), b"no json"
    with closing(shared_web.connect()) as http_connection:
        responses = [
            exchange(http_connection, "POST", f"/callbacks/{name}", body, headers).status
            for name, body, headers in [
                ("sandbox", valid, sign_callback(valid)),
                ("sandbox", malformed, sign_callback(malformed)),
                ("sandbox", valid, {}),
                ("nobody", valid, sign_callback(valid)),
                ("sandbox", valid, sign_callback(valid, media_type="text/csv")),
                ("sandbox", valid, sign_callback(valid)),
            ]
        ]
    assert responses == [200, 400, 401, 404, 415, 200]


def test_repetition_with_other_unsigned_event_ids_is_one_event(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = build_state(reference)
    for number in range(5):
        headers = {**hub_signature(body), "x-delivery": str(number)}
        assert_acknowledged(post(declared_web, "numbered", body, headers))
    [job] = filter(None, [find_job(declared_connection, reference, "numbered")])
    assert job == Job("succeeded", False, None, 1)


NONCE_URL = "https://receiver.example/callbacks/plivo"


def test_nonce_is_accepted_for_one_callback_only(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body, forged = build_state(reference, "ERROR"), build_state(reference, "DONE")
    headers = sign_nonce(NONCE_URL, reference)
    assert [post(declared_web, "plivo", body, headers).status for _ in range(2)] == [200, 200]
    assert post(declared_web, "plivo", forged, headers).status == 401
    assert post(declared_web, "plivo?request=1", body, headers).status == 401
    assert post(declared_web, "plivo", body, headers).status == 200
    assert find_job(declared_connection, reference, "plivo") == Job("failed", False, None, 1)
    [(callback_id, errors)] = wait_for(lambda: find_refused(declared_connection, forged))
    assert errors.keys() == {"reused_nonce"}
    assert (
        "its nonce came with another callback"
        in run_command(declared_web, "callback", "explain", str(callback_id)).stdout
    )
    replayed = run_command(declared_web, "callback", "replay", str(callback_id))
    assert replayed.returncode == 1
    assert "nonce" in replayed.stderr
    assert find_job(declared_connection, reference, "plivo") == Job("failed", False, None, 1)


def test_unreadable_callback_uses_its_nonce(declared_web: Web, reference: str) -> None:
    headers = sign_nonce(NONCE_URL, reference)
    assert [post(declared_web, "plivo", b"{", headers).status for _ in range(2)] == [400, 400]
    assert post(declared_web, "plivo", build_state(reference), headers).status == 401


def test_concurrent_callbacks_with_one_nonce_are_accepted_once(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    headers = sign_nonce(NONCE_URL, reference)
    bodies = [build_state(f"{reference}-{number % 8}") for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda body: post(declared_web, "plivo", body, headers).status, bodies))
    assert sorted(statuses) == [200] * 2 + [401] * 14
    count = "SELECT count(*) FROM jobs WHERE provider = 'plivo' AND reference LIKE %s"
    assert declared_connection.execute(count, [f"{reference}-%"]).fetchone() == (1,)


def test_callback_that_is_not_committed_uses_no_nonce(
    database: Database, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("the database is gone")

    batcher = CallbackBatcher(database)
    verified, other = (build_nonce_callback(reference, state) for state in ("ERROR", "DONE"))
    with monkeypatch.context() as patched:
        patched.setattr("receiver.inbound.receive.record_callbacks", fail)
        with pytest.raises(StoreUnavailable):
            receive(batcher, verified, timeout=10.0)
    wait_for(lambda: database.health.check() is None)
    receive(batcher, other, timeout=10.0)
    with pytest.raises(InvalidSignature, match="used before"):
        receive(batcher, verified, timeout=10.0)
    batcher.close()


def build_nonce_callback(reference: str, state: str) -> VerifiedCallback:
    signature = {"scheme": "plivo-v2", "secrets": [NONCE_SECRET], "trust": "sender"}
    callback = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded", "ERROR": "failed"}}
    table = {"kind": "declared", "base_url": "http://127.0.0.1:9", "signature": signature, "callback": callback}
    headers, body = sign_nonce(NONCE_URL, reference), build_state(reference, state)
    incoming = IncomingCallback("POST", "/callbacks/plivo", headers, body, NOON, "https://receiver.example")
    return VerifiedCallback(build_provider("plivo", table), incoming)
