"""The callback endpoint as providers meet it: every row of the contract's table of answers, over real HTTP."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection, connect
from receiver.store.scratch import scratch_database
from tests.factories import event
from tests.http import Answer, exchange, problem_of, results, says, signed
from tests.processes import Web, assert_ends_well, declared, running_web

MEBIBYTE = 1 << 20
OLD_SECRET = "whsec_dGhlIG9uZSBiZWZvcmUgdGhlIHJvdGF0aW9u"
OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="


class Job(NamedTuple):
    """What is stored of a job."""

    status: str
    disputed: bool
    request_id: UUID | None
    events: int


@pytest.fixture(scope="module")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture(scope="module")
def web(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Two processes on one socket, so that deliveries race between processes too."""
    config = declared() + declared("rotating").replace("secrets = [", f'secrets = ["{OLD_SECRET}", ')
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path_factory.mktemp("web"), dsn, config, listener, WEB_CONCURRENCY="2") as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


@pytest.fixture
def reference() -> str:
    return f"ref-{uuid4().hex}"


@pytest.fixture
def webhook_id() -> str:
    return f"msg-{uuid4().hex}"


def job(connection: Connection, reference: str, provider: str = "sandbox") -> Job | None:
    row = connection.execute(
        """SELECT status, disputed, request_id, (SELECT count(*) FROM events WHERE job_id = id)
        FROM jobs WHERE id = %s""",
        [derive_job_id(provider, reference)],
    ).fetchone()
    return Job(*row) if row else None


def kept(connection: Connection, webhook_id: str) -> list[tuple[str, bytes | None]]:
    """Give the verdicts and bodies of the deliveries with an id, in the order of their verdicts."""
    rows = connection.execute(
        "SELECT verdict, body FROM callbacks WHERE headers ->> 'webhook-id' = %s ORDER BY verdict", [webhook_id]
    )
    return [(verdict, body) for verdict, body in rows]


def accept(connection: Connection, reference: str) -> UUID:
    """Let the answer to a request name a job, and give the request."""
    request = uuid4()
    reconcile(connection, [event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request)])
    return request


def assert_acknowledged(response: Answer) -> None:
    assert (response.status, response.body) == (200, b"")


def test_a_callback_is_kept_raw_and_decides_its_job_before_it_is_answered(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    request = accept(connection, reference)
    body = says(reference, reason="all well", at="2026-11-23T13:00:00+01:00", theirs="unknown to us")
    response = web.call("POST", "/callbacks/sandbox?try=1", body, signed(body, webhook_id=webhook_id))
    assert_acknowledged(response)
    assert job(connection, reference) == Job("succeeded", False, request, 2)
    assert kept(connection, webhook_id) == [("accepted", body)]
    raw = connection.execute(
        "SELECT id, method, target, headers ->> 'content-type' FROM callbacks WHERE body = %s", [body]
    ).fetchone()
    assert raw is not None
    assert raw[1:] == ("POST", "/callbacks/sandbox?try=1", "application/json")
    said = connection.execute(
        """SELECT callback_id, source, provider_status, detail, occurred_at::text FROM events
        WHERE job_id = %s AND source = 'callback'""",
        [derive_job_id("sandbox", reference)],
    ).fetchall()
    assert said == [(raw[0], "callback", "DELIVERED", "all well", "2026-11-23 12:00:00+00")]


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
def test_each_word_of_the_provider_has_its_status(
    web: Web, connection: Connection, reference: str, state: str, status: str
) -> None:
    assert_acknowledged(web.call_back(says(reference, state)))
    assert job(connection, reference) == Job(status, False, None, 1)


def test_a_duplicate_is_acknowledged_and_kept_without_body_and_changes_nothing(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    body = says(reference)
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id, age=-30))  # signed afresh, as retries are
    assert kept(connection, webhook_id) == [("accepted", body), ("duplicate", None)]
    assert job(connection, reference) == Job("succeeded", False, None, 1)


def test_the_same_words_under_another_id_are_another_callback(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    body = says(reference)
    assert_acknowledged(web.call_back(body))
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert kept(connection, webhook_id) == [("accepted", body)]
    assert job(connection, reference) == Job("succeeded", False, None, 2)


def test_twenty_deliveries_of_one_callback_at_once_are_one_callback_and_one_event(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    body = says(reference)
    headers = signed(body, webhook_id=webhook_id)
    together = Barrier(20)

    def deliver(_: int) -> Answer:
        with closing(web.connect()) as own:
            own.connect()
            together.wait()
            return exchange(own, "POST", "/callbacks/sandbox", body, headers)

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(deliver, range(20)))
    assert [response.status for response in responses] == [200] * 20
    assert kept(connection, webhook_id) == [("accepted", body)] + [("duplicate", None)] * 19
    assert job(connection, reference) == Job("succeeded", False, None, 1)


def test_a_late_callback_is_kept_and_takes_nothing_back(web: Web, connection: Connection, reference: str) -> None:
    assert_acknowledged(web.call_back(says(reference)))
    assert_acknowledged(web.call_back(says(reference, "SENT")))
    assert job(connection, reference) == Job("succeeded", False, None, 2)


def test_a_callback_after_the_deadline_still_decides(web: Web, connection: Connection, reference: str) -> None:
    reconcile(connection, [event(reference, JobStatus.UNRESOLVED, source=EventSource.DEADLINE)])
    assert_acknowledged(web.call_back(says(reference, "UNDELIVERED")))
    assert job(connection, reference) == Job("failed", False, None, 2)


def test_a_contradicting_callback_is_acknowledged_and_flags_the_job_whose_first_word_stands(
    web: Web, connection: Connection, reference: str
) -> None:
    assert_acknowledged(web.call_back(says(reference, "DELIVERED")))
    assert_acknowledged(web.call_back(says(reference, "UNDELIVERED")))
    assert job(connection, reference) == Job("succeeded", True, None, 2)


def test_a_callback_that_overtakes_its_answer_makes_an_unmatched_job_that_the_answer_joins(
    web: Web, connection: Connection, reference: str
) -> None:
    assert_acknowledged(web.call_back(says(reference)))
    assert job(connection, reference) == Job("succeeded", False, None, 1)
    request = accept(connection, reference)
    assert job(connection, reference) == Job("succeeded", False, request, 2)


def test_an_unmapped_status_is_acknowledged_and_kept_as_such_and_leaves_the_job_alone(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    request = accept(connection, reference)
    body = says(reference, "PONDERING")
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert kept(connection, webhook_id) == [("unmapped", body)]
    assert job(connection, reference) == Job("accepted", False, request, 2)
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert kept(connection, webhook_id) == [("duplicate", None), ("unmapped", body)]
    assert job(connection, reference) == Job("accepted", False, request, 2)


def test_an_unmapped_status_does_not_hide_the_mapped_ones_beside_it(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    body = results({"id": reference, "state": "DELIVERED"}, {"id": f"{reference}-2", "state": "PONDERING"})
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert [verdict for verdict, _ in kept(connection, webhook_id)] == ["unmapped"]
    assert job(connection, reference) == Job("succeeded", False, None, 1)
    assert job(connection, f"{reference}-2") == Job("accepted", False, None, 1)


def test_a_thousand_items_are_one_callback_and_a_thousand_events(
    web: Web, connection: Connection, reference: str, webhook_id: str
) -> None:
    body = results(*({"id": f"{reference}-{number}", "state": "DELIVERED"} for number in range(1_000)))
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert kept(connection, webhook_id) == [("accepted", body)]
    counts = connection.execute(
        """SELECT count(*), count(DISTINCT job_id), count(DISTINCT callback_id), bool_and(jobs.status = 'succeeded')
        FROM events JOIN jobs ON jobs.id = job_id WHERE reference LIKE %s""",
        [f"{reference}-%"],
    ).fetchone()
    assert counts == (1_000, 1_000, 1, True)


def test_items_about_one_job_are_events_of_their_own(web: Web, connection: Connection, reference: str) -> None:
    body = results({"id": reference, "state": "SENT"}, {"id": reference, "state": "DELIVERED"})
    assert_acknowledged(web.call_back(body))
    assert job(connection, reference) == Job("succeeded", False, None, 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ["_body"]),
        (b'{"results": [', ["_body"]),
        (b'{"results": "\\ud800"}', ["_body"]),
        (b'{"results": ' + b"[" * 2_000 + b"]" * 2_000 + b"}", ["_body"]),
        (b"[]", ["_schema"]),
        (b"{}", ["results"]),
        (results(), ["results"]),
        (results({"state": "SENT"}), ["results", "0", "id"]),
        (results({"id": 5, "state": "SENT"}), ["results", "0", "id"]),
        (results({"id": "", "state": "SENT"}), ["results", "0", "id"]),
        (results({"id": "long" * 300, "state": "SENT"}), ["results", "0", "id"]),
        (says("nul\0"), ["results", "0", "id"]),
        (says("nul", "SE\0NT"), ["results", "0", "state"]),
        (says("nul", reason="\0"), ["results", "0", "reason"]),
        (says("when", at="yesterday"), ["results", "0", "at"]),
        (says("when", at="2026-11-23T12:00:00"), ["results", "0", "at"]),
    ],
)
def test_what_cannot_be_read_is_refused_by_field_and_kept_with_the_same_errors(
    web: Web, connection: Connection, webhook_id: str, body: bytes, field: list[str]
) -> None:
    response = web.call_back(body, webhook_id=webhook_id)
    assert response.status == 400
    errors = found = problem_of(response)["errors"]
    for name in field:
        found = found[name]
    assert all(isinstance(message, str) and message for message in found), errors
    assert kept(connection, webhook_id) == [("invalid", body)]
    stored = connection.execute(
        "SELECT errors FROM callbacks WHERE headers ->> 'webhook-id' = %s", [webhook_id]
    ).fetchone()
    assert stored == (errors,)


def test_one_bad_item_takes_no_good_one_with_it_and_its_errors_are_kept(
    web: Web, connection: Connection, webhook_id: str, reference: str
) -> None:
    body = results({"id": f"{reference}-a", "state": "SENT"}, {"id": "bad"}, {"id": f"{reference}-b", "state": "SENT"})
    assert_acknowledged(web.call_back(body, webhook_id=webhook_id))
    assert [job(connection, f"{reference}-{one}") for one in "ab"] == [Job("in_progress", False, None, 1)] * 2
    assert kept(connection, webhook_id) == [("invalid", body)]


def test_bad_callbacks_in_between_do_not_touch_the_good_ones(web: Web, connection: Connection, reference: str) -> None:
    good = [says(f"{reference}-{number}") for number in range(20)]
    bad = [says(f"{reference}-bad-{number}", at="never") for number in range(10)]
    with ThreadPoolExecutor(20) as pool:
        responses = list(
            pool.map(web.call_back, [body for three in zip(good[:10], bad, good[10:], strict=True) for body in three])
        )
    assert [response.status for response in responses] == [200, 400, 200] * 10
    assert all(job(connection, f"{reference}-{number}") for number in range(20))
    assert not any(job(connection, f"{reference}-bad-{number}") for number in range(10))


def test_an_invalid_callback_delivered_again_is_refused_again_and_kept_once(
    web: Web, connection: Connection, webhook_id: str
) -> None:
    responses = [web.call_back(b"no json", webhook_id=webhook_id) for _ in range(2)]
    assert [response.status for response in responses] == [400, 400]
    assert responses[0].json == responses[1].json
    assert kept(connection, webhook_id) == [("duplicate", None), ("invalid", b"no json")]


REFUSED: dict[str, dict[str, str | None]] = {
    "no headers": {"webhook-id": None, "webhook-timestamp": None, "webhook-signature": None},
    "no id": {"webhook-id": None},
    "another id": {"webhook-id": "msg-another"},
    "an id that is not ASCII": {"webhook-id": "msg-\xff"},
    "no timestamp": {"webhook-timestamp": None},
    "another timestamp": {"webhook-timestamp": "1"},
    "a fraction as timestamp": {"webhook-timestamp": "1.5"},
    "a negative timestamp": {"webhook-timestamp": "-1"},
    "a timestamp beyond all time": {"webhook-timestamp": "9" * 400},
    "digits of another script": {"webhook-timestamp": "\xb2\xb3"},
    "no signature": {"webhook-signature": None},
    "an empty signature": {"webhook-signature": ""},
    "a version alone": {"webhook-signature": "v1"},
    "a signature that is not base64": {"webhook-signature": "v1,%%%"},
    "a signature that is not ASCII": {"webhook-signature": "v1,\xff\xfe"},
    "ten thousand signatures": {"webhook-signature": "v1,AAAA " * 900},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_a_signature_that_is_missing_or_malformed_is_one_401_and_nothing_is_stored(
    web: Web, connection: Connection, reference: str, changes: dict[str, str | None]
) -> None:
    body = says(reference)
    given = {**signed(body), **changes}
    response = web.call(
        "POST", "/callbacks/sandbox", body, {name: value for name, value in given.items() if value is not None}
    )
    assert_refused(response, connection, reference, body)


def assert_refused(response: Answer, connection: Connection, reference: str, body: bytes) -> None:
    assert response.status == 401
    problem_of(response)
    assert job(connection, reference) is None
    assert connection.execute("SELECT count(*) FROM callbacks WHERE body = %s", [body]).fetchone() == (0,)


@pytest.mark.parametrize(
    "signing", [{"secret": OTHER_SECRET}, {"age": 310.0}, {"age": -310.0}], ids=["wrong key", "stale", "of the future"]
)
def test_a_signature_of_another_key_or_time_is_refused(
    web: Web, connection: Connection, reference: str, signing: dict[str, Any]
) -> None:
    body = says(reference)
    assert_refused(web.call_back(body, **signing), connection, reference, body)


@pytest.mark.parametrize("age", [290.0, -290.0])
def test_a_signature_within_the_tolerance_is_taken(web: Web, reference: str, age: float) -> None:
    assert_acknowledged(web.call_back(says(reference), age=age))


def test_a_changed_body_is_refused(web: Web, connection: Connection, reference: str) -> None:
    body = says(reference)
    response = web.call("POST", "/callbacks/sandbox", body, signed(says(reference, "UNDELIVERED")))
    assert_refused(response, connection, reference, body)


def test_the_signature_is_checked_before_the_body_is_read(web: Web) -> None:
    assert web.call_back(b"no json", secret=OTHER_SECRET).status == 401


def test_old_and_new_secret_are_both_good_while_they_rotate(web: Web, connection: Connection, reference: str) -> None:
    assert_acknowledged(web.call_back(says(reference, "SENT"), name="rotating", secret=OLD_SECRET))
    assert_acknowledged(web.call_back(says(reference), name="rotating"))
    assert job(connection, reference, "rotating") == Job("succeeded", False, None, 2)
    assert web.call_back(says(reference), secret=OLD_SECRET).status == 401


@pytest.mark.parametrize("name", ["nobody", "sandbox%00", "sandbox/token", "SANDBOX", "%F0%9F%92%A9", ".."])
def test_an_unknown_provider_is_404(web: Web, connection: Connection, reference: str, name: str) -> None:
    body = says(reference)
    response = web.call_back(body, name=name)
    assert response.status == 404
    problem_of(response)
    assert connection.execute("SELECT count(*) FROM callbacks WHERE body = %s", [body]).fetchone() == (0,)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_another_method_is_405_and_names_the_right_one(web: Web, method: str) -> None:
    response = web.call(method, "/callbacks/sandbox")
    assert response.status == 405
    assert "POST" in response.headers["allow"]
    problem_of(response)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_a_mebibyte_is_413(web: Web, connection: Connection, reference: str, chunked: bool) -> None:
    body = says(reference).ljust(MEBIBYTE + 1)
    pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    response = web.call("POST", "/callbacks/sandbox", pieces if chunked else body, signed(body))
    assert response.status == 413
    problem_of(response)
    assert job(connection, reference) is None


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_a_mebibyte_is_taken(web: Web, connection: Connection, reference: str, chunked: bool) -> None:
    body = says(reference).ljust(MEBIBYTE)
    response = web.call("POST", "/callbacks/sandbox", [body] if chunked else body, signed(body))
    assert_acknowledged(response)
    assert job(connection, reference) == Job("succeeded", False, None, 1)


@pytest.mark.parametrize("framing", [b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\n{}", b"2\r\n{}xx0\r\n\r\n"])
def test_a_body_that_is_badly_framed_or_cut_off_is_their_fault(web: Web, framing: bytes) -> None:
    head = b"POST /callbacks/sandbox HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection((web.host, web.port), timeout=10) as connection:
        connection.sendall(head + framing)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")


def test_a_body_shorter_than_declared_is_not_taken(web: Web) -> None:
    head = b"POST /callbacks/sandbox HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n"
    with socket.create_connection((web.host, web.port), timeout=10) as connection:
        connection.sendall(head + b"{}")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_another_media_type_is_415(web: Web, connection: Connection, reference: str, media_type: str) -> None:
    response = web.call_back(says(reference), media_type=media_type)
    assert response.status == 415
    assert "application/json" in problem_of(response)["detail"]
    assert job(connection, reference) is None


def test_parameters_of_the_media_type_do_not_matter(web: Web, reference: str) -> None:
    assert_acknowledged(web.call_back(says(reference), media_type="Application/JSON; charset=utf-8"))


def test_a_connection_serves_one_callback_after_another_whatever_became_of_them(web: Web, reference: str) -> None:
    good, bad = says(reference), b"no json"
    with closing(web.connect()) as own:
        responses = [
            exchange(own, "POST", f"/callbacks/{name}", body, headers).status
            for name, body, headers in [
                ("sandbox", good, signed(good)),
                ("sandbox", bad, signed(bad)),
                ("sandbox", good, {}),
                ("nobody", good, signed(good)),
                ("sandbox", good, signed(good, media_type="text/plain")),
                ("sandbox", good, signed(good)),
            ]
        ]
    assert responses == [200, 400, 401, 404, 415, 200]
