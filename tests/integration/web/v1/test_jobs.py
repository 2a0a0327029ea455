"""`/v1/jobs` over real HTTP: jobs with their events, filters, and operator actions."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from tests.support.api_calls import (
    UNKNOWN_ID,
    build_submission,
    create_history,
    create_job,
    create_key,
    fetch_items,
    send,
)
from tests.support.factories import event
from tests.support.http import Server, parse_problem


def test_job_shows_events_in_order_with_effects(api: Server, web_connection: Connection) -> None:
    reference, request, origin = f"ref-{uuid4().hex}", uuid4(), uuid4()
    events = [
        event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, at=0),
        event(reference, JobStatus.IN_PROGRESS, at=1),
        event(reference, JobStatus.SUCCEEDED, at=2, origin=origin, callback_id=origin),
        event(reference, JobStatus.SUCCEEDED, source=EventSource.POLL, at=3),
        event(reference, None, at=4),
        event(reference, JobStatus.IN_PROGRESS, at=5),
        event(reference, JobStatus.FAILED, at=6),
        event(reference, JobStatus.FAILED, at=7, superseding=True),
    ]
    for item in reversed(events):
        reconcile(web_connection, [item])
    job = api.call("GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}").json
    assert [(item["source"], item["status"], item["effect"]) for item in job["events"]] == [
        ("response", "accepted", "applied"),
        ("callback", "in_progress", "applied"),
        ("callback", "succeeded", "applied"),
        ("poll", "succeeded", "duplicate"),
        ("callback", None, None),
        ("callback", "in_progress", "stale"),
        ("callback", "failed", "disputed"),
        ("callback", "failed", "applied"),
    ]
    times = [item["received_at"] for item in job["events"]]
    assert times == sorted(times)
    assert all(datetime.fromisoformat(time).utcoffset() == timedelta(0) for time in times)
    assert job["events"][2]["callback_id"] == str(origin)
    assert {"provider_status", "code", "detail", "occurred_at"} <= job["events"][0].keys()
    assert {name: job[name] for name in ("provider", "reference", "request_id", "status", "disputed", "unmatched")} == {
        "provider": "sandbox",
        "reference": reference,
        "request_id": str(request),
        "status": "failed",
        "disputed": False,
        "unmatched": False,
    }
    assert [item["superseding"] for item in job["events"]] == [False] * 7 + [True]
    assert job["explanation"]["event"] == job["events"][7]
    assert job["explanation"]["reason"].startswith("Failed: the provider's callback of 2026-11-23 12:00:07 UTC")
    assert job["finished_at"] == times[7]
    assert job["accepted_at"] == times[0]


def test_job_shows_newest_events_with_effects_of_whole_history(api: Server, web_connection: Connection) -> None:
    path = f"/v1/jobs/{create_history(web_connection, 250)}"
    job = send(api, "GET", path).json
    assert [item["effect"] for item in job["events"]] == ["stale"] * 99 + ["disputed"]
    assert "contradicts it, so the job is disputed" in job["explanation"]["reason"]
    times = [item["received_at"] for item in job["events"]]
    assert times == sorted(times)
    waited = send(api, "GET", path, prefer="wait=9")
    assert (waited.json, waited.headers["preference-applied"]) == (job, "wait=9")
    older = send(api, "GET", f"{path}/events?limit=500&cursor={job['events_cursor']}").json
    assert (len(older["items"]), older["next_cursor"]) == (150, None)
    assert older["items"][0]["received_at"] < times[0]
    assert older["items"][-1] == job["explanation"]["event"]
    assert older["items"][-1]["effect"] == "applied"


def test_job_without_older_events_has_no_cursor(api: Server, web_connection: Connection) -> None:
    for count, has_cursor in ((100, False), (101, True)):
        job = send(api, "GET", f"/v1/jobs/{create_history(web_connection, count)}").json
        assert (len(job["events"]), job["events_cursor"] is not None) == (100, has_cursor)


def test_job_events_are_listed_newest_first(api: Server, web_connection: Connection) -> None:
    path = f"/v1/jobs/{create_history(web_connection, 25)}"
    job = send(api, "GET", path).json
    for limit in (4, 5, 25, 500):
        assert fetch_items(api, f"{path}/events", limit) == job["events"][::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=x", f"cursor={'f' * 53}", f"cursor={'0' * 45}"])
def test_invalid_query_of_job_events_is_400(api: Server, web_connection: Connection, query: str) -> None:
    response = send(api, "GET", f"/v1/jobs/{create_job(web_connection)}/events?{query}")
    assert response.status == 400, response
    assert list(parse_problem(response)["errors"]) == [query.partition("=")[0]]


def test_extreme_cursor_of_job_events_is_accepted(api: Server, web_connection: Connection) -> None:
    path = f"/v1/jobs/{create_job(web_connection)}/events"
    newest, oldest = f"{'f' * 13}7{'f' * 39}", "0" * 53
    assert len(send(api, "GET", f"{path}?cursor={newest}").json["items"]) == 1
    assert send(api, "GET", f"{path}?cursor={oldest}").json == {"items": [], "next_cursor": None}


def test_job_flags_unmatched_and_disputed(api: Server, web_connection: Connection) -> None:
    reference = f"ref-{uuid4().hex}"
    reconcile(web_connection, [event(reference, JobStatus.SUCCEEDED, at=0), event(reference, JobStatus.FAILED, at=1)])
    job = api.call("GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}").json
    assert (job["request_id"], job["unmatched"], job["disputed"], job["status"]) == (None, True, True, "succeeded")


def test_jobs_are_found_by_reference(api: Server, web_connection: Connection) -> None:
    job = send(api, "GET", f"/v1/jobs/{create_job(web_connection, provider='long-gone')}").json
    for query in (f"reference={job['reference']}", f"reference={job['reference']}&provider=long-gone"):
        assert [item["id"] for item in send(api, "GET", f"/v1/jobs?{query}").json["items"]] == [job["id"]]
    assert send(api, "GET", f"/v1/jobs?reference={job['reference']}&provider=sandbox").json["items"] == []
    assert send(api, "GET", f"/v1/jobs?reference={job['reference']}&unmatched=true").json["items"] == []
    assert len(send(api, "GET", f"/v1/jobs?request_id={job['request_id']}&disputed=false").json["items"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("disputed=yes", "disputed"),
        ("unmatched=1", "unmatched"),
        ("request_id=7", "request_id"),
        ("request_id=%7B018f0000-0000-7000-8000-000000000000%7D", "request_id"),
        ("reference=%00", "reference"),
        ("finished_to=9999-12-31T23:59:59-14:00", "finished_to"),
    ],
)
def test_invalid_filter_is_400_and_named(api: Server, query: str, field: str) -> None:
    response = send(api, "GET", f"/v1/jobs?{query}")
    assert response.status == 400, response
    assert field in parse_problem(response)["errors"]


def test_operator_schedules_poll_now(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection)
    response = send(api, "POST", f"/v1/jobs/{job}/poll", {"reason": "a customer asks"})
    assert response.status == 202
    assert response.headers["location"].endswith(f"/v1/jobs/{job}")
    last_event = response.json["events"][-1]
    assert (last_event["source"], last_event["status"], last_event["effect"], last_event["actor"]) == (
        "operator",
        None,
        None,
        "bootstrap",
    )
    assert last_event["detail"] == "poll requested: a customer asks"
    (due,) = web_connection.execute("SELECT poll_at <= now() FROM jobs WHERE id = %s", [job]).fetchone() or ()
    assert due


@pytest.mark.parametrize(("status", "provider"), [(JobStatus.SUCCEEDED, "sandbox"), (JobStatus.ACCEPTED, "long-gone")])
def test_poll_is_409_where_impossible(
    api: Server, web_connection: Connection, status: JobStatus, provider: str
) -> None:
    response = send(api, "POST", f"/v1/jobs/{create_job(web_connection, status, provider)}/poll")
    assert response.status == 409
    parse_problem(response)


def test_resolution_outranks_provider_status(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection, JobStatus.SUCCEEDED)
    response = send(api, "POST", f"/v1/jobs/{job}/resolve", {"status": "failed", "reason": "their support says so"})
    assert response.status == 200
    assert (response.json["status"], response.json["disputed"]) == ("failed", False)
    last_event = response.json["events"][-1]
    assert (last_event["source"], last_event["status"], last_event["effect"]) == ("operator", "failed", "applied")
    assert (last_event["actor"], last_event["detail"]) == ("bootstrap", "their support says so")


def test_latest_resolution_corrects_an_earlier_one(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection, JobStatus.SUCCEEDED)
    statuses = ["failed", "succeeded", "failed", "succeeded"]
    responses = [
        send(api, "POST", f"/v1/jobs/{job}/resolve", {"status": status, "reason": "seen in their console"}).json
        for status in statuses
    ]
    assert [(response["status"], response["disputed"]) for response in responses] == [
        (status, False) for status in statuses
    ]
    assert [event["effect"] for event in responses[-1]["events"] if event["source"] == "operator"] == ["applied"] * 4


def test_resolution_corrects_one_that_is_dated_in_the_future(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection, JobStatus.SUCCEEDED)
    resolve = partial(send, api, "POST", f"/v1/jobs/{job}/resolve")
    resolve({"status": "failed", "reason": "seen in their console"})
    for statement in (
        "UPDATE events SET received_at = received_at + interval '1 hour' WHERE job_id = %s AND source = 'operator'",
        "UPDATE jobs SET decided_at = decided_at + interval '1 hour' WHERE id = %s",
    ):
        web_connection.execute(statement, [job])
    for status in ("succeeded", "failed"):
        assert resolve({"status": status, "reason": "a mistake"}).json["status"] == status


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": "failed"}, "reason"),
        ({"reason": "so"}, "status"),
        ({"status": "accepted", "reason": "so"}, "status"),
        ({"status": "failed", "reason": "\0"}, "reason"),
        ({"status": "failed", "reason": ""}, "reason"),
        ({"status": None, "reason": "so"}, "status"),
    ],
)
def test_resolution_requires_final_status_and_reason(
    api: Server, web_connection: Connection, body: dict[str, object], field: str
) -> None:
    response = send(api, "POST", f"/v1/jobs/{create_job(web_connection)}/resolve", body)
    assert response.status == 400
    assert field in parse_problem(response)["errors"]


def test_restricted_key_does_not_see_other_providers_jobs(api: Server, web_connection: Connection) -> None:
    hidden, visible = create_job(web_connection), create_job(web_connection, provider="another")
    key = create_key(api, providers=["another"], scopes=["admin"])
    assert send(api, "GET", f"/v1/jobs/{visible}", key=key).status == 200
    assert send(api, "GET", f"/v1/jobs/{hidden}", key=key).status == 404
    assert send(api, "GET", f"/v1/jobs/{hidden}/events", key=key).status == 404
    assert send(api, "GET", f"/v1/jobs/{visible}/events", key=key).status == 200
    assert send(api, "GET", f"/v1/jobs/{hidden}", key=key, prefer="wait=30").status == 404
    assert send(api, "POST", f"/v1/jobs/{hidden}/poll", key=key).status == 404
    resolution = {"status": "failed", "reason": "so"}
    assert send(api, "POST", f"/v1/jobs/{hidden}/resolve", resolution, key=key).status == 404
    items = send(api, "GET", "/v1/jobs?limit=500", key=key).json["items"]
    assert {item["provider"] for item in items} == {"another"}


def test_submit_key_sees_jobs_of_its_own_requests_only(api: Server, web_connection: Connection) -> None:
    key = create_key(api, scopes=["submit"])
    submitted = send(api, "POST", "/v1/requests", build_submission(), key=key).json["id"]
    reference, other, unmatched = f"ref-{uuid4().hex}", create_job(web_connection), f"ref-{uuid4().hex}"
    reconcile(web_connection, [event(reference, request_id=UUID(submitted)), event(unmatched)])
    own, unmatched_id = (str(derive_job_id("sandbox", name)) for name in (reference, unmatched))
    for hidden in (other, unmatched_id):
        assert send(api, "GET", f"/v1/jobs/{hidden}", key=key).status == 404
        assert send(api, "GET", f"/v1/jobs/{hidden}", key=key, prefer="wait=30").status == 404
        assert send(api, "GET", f"/v1/jobs/{hidden}/events", key=key).status == 404
    assert len(send(api, "GET", f"/v1/jobs/{own}/events", key=key).json["items"]) == 1
    for headers in ({}, {"prefer": "wait=30"}):
        assert len(send(api, "GET", f"/v1/jobs/{own}", key=key, **headers).json["events"]) == 1
    queries = ("", "?status=succeeded", f"?reference={reference}", f"?request_id={submitted}", "?provider=sandbox")
    for query in queries:
        assert [item["id"] for item in send(api, "GET", f"/v1/jobs{query}", key=key).json["items"]] == [own]
    assert send(api, "GET", f"/v1/jobs?reference={unmatched}", key=key).json["items"] == []
    assert send(api, "POST", f"/v1/jobs/{own}/poll", key=key).status == 403
    assert [job["id"] for job in send(api, "GET", f"/v1/requests/{submitted}", key=key).json["jobs"]] == [own]


def test_actions_on_unknown_job_are_404(api: Server) -> None:
    assert send(api, "GET", f"/v1/jobs/{UNKNOWN_ID}/events").status == 404
    assert send(api, "POST", f"/v1/jobs/{UNKNOWN_ID}/poll").status == 404
    assert send(api, "POST", f"/v1/jobs/{UNKNOWN_ID}/resolve", {"status": "failed", "reason": "so"}).status == 404
