"""Interpretation of polls: the events of the jobs, and when each job is polled next."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import orjson
import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.domain.sending import RETRY_UNSENT_AFTER_S, NoResponse, NotSent, Outcome, Response
from receiver.exchange.channels import Channel
from receiver.exchange.work import CompletedExchange, ExchangeResult
from receiver.followup.poll import PollBatch, PollTask
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.registry import build_provider
from receiver.store.jobs import NextPoll, SilentJob
from tests.support.factories import NOON
from tests.support.kinds import DECLARED

POLL_SETTINGS = {
    "path": "/v1/jobs?ids={references}",
    "items": "jobs",
    "batch": 10,
    "not_found": "failed",
    "first_after": 10.0,
    "max_interval": 600.0,
    "give_up_after": 1_000.0,
}
ACME = build_provider("acme", {**DECLARED, "poll": POLL_SETTINGS})


def build_poll(*references: str, since: float = 100.0, polls: int = 1) -> PollBatch:
    accepted_at = NOON - timedelta(seconds=since)
    return PollBatch(
        "acme",
        [
            SilentJob(
                derive_job_id("acme", reference),
                "acme",
                reference,
                None,
                polls,
                accepted_at,
                accepted_at + timedelta(hours=1),
                NOON,
            )
            for reference in references
        ],
    )


def build_response(states: Mapping[str, str], status: int = 200, **headers: str) -> Response:
    jobs = [{"id": reference, "state": state} for reference, state in states.items()]
    response_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, response_headers, orjson.dumps({"jobs": jobs}))


def interpret(poll: PollBatch, outcome: Outcome) -> ExchangeResult[Sequence[NextPoll]]:
    return PollTask({"acme": ACME}).interpret(CompletedExchange(ACME, poll, outcome, NOON, jitter=1.0))


@pytest.mark.parametrize("reference", ["..", ".", "../admin", "a/../b", "..\\b"])
def test_reference_that_leads_to_another_path_is_not_polled(reference: str) -> None:
    task, channel = PollTask({"acme": ACME}), cast("Channel", SimpleNamespace(provider=ACME))
    outcome = task.compose(channel, build_poll(reference))
    assert isinstance(outcome, NotSent)
    [next_poll] = interpret(build_poll(reference), outcome).update
    assert next_poll.next_in is None
    assert isinstance(task.compose(channel, build_poll("a..b", "...")), OutgoingRequest)


def collect_statuses(result: ExchangeResult[Sequence[NextPoll]]) -> dict[str, JobStatus | None]:
    return {event.reference: event.status for event in result.events}


def collect_delays(result: ExchangeResult[Sequence[NextPoll]]) -> list[float | None]:
    return [next_poll.next_in for next_poll in result.update]


def test_poll_interprets_each_job_separately() -> None:
    result = interpret(build_poll("a", "b", "c"), build_response({"c": "DONE", "a": "PONDERING", "z": "DONE"}))
    assert collect_statuses(result) == {"a": None, "c": JobStatus.SUCCEEDED}
    assert collect_delays(result) == [20.0, 20.0, None]
    assert {event.source for event in result.events} == {EventSource.POLL}


def test_poll_is_about_the_job_that_was_polled() -> None:
    """The job may be a later one of a reference that the provider used again."""
    [job] = build_poll("a").jobs
    later = replace(job, id=UUID(int=2))
    [polled] = interpret(PollBatch("acme", [later]), build_response({"a": "DONE"})).events
    assert (polled.job_id, polled.names_job) == (later.id, True)


def test_poll_uses_first_of_several_items_about_one_job() -> None:
    body = orjson.dumps({"jobs": [{"id": "a", "state": "DONE"}, {"id": "a", "state": "?"}]})
    assert collect_statuses(interpret(build_poll("a"), Response(200, {}, body))) == {"a": JobStatus.SUCCEEDED}


def test_404_gives_every_job_the_not_found_status() -> None:
    result = interpret(build_poll("a", "b"), build_response({}, 404))
    assert collect_statuses(result) == {"a": JobStatus.FAILED, "b": JobStatus.FAILED}
    assert collect_delays(result) == [None, None]


def test_no_response_or_refused_credentials_create_no_event() -> None:
    for outcome in (NoResponse("dropped", sent=True), build_response({}, 401)):
        result = interpret(build_poll("a"), outcome)
        assert (collect_statuses(result), collect_delays(result)) == ({}, [20.0])


def test_poll_without_a_token_reports_why_it_was_refused() -> None:
    result = interpret(build_poll("a"), NotSent("no access token", refusal="the client is unknown"))
    assert (collect_statuses(result), collect_delays(result)) == ({}, [RETRY_UNSENT_AFTER_S])
    assert result.refusal is not None
    assert result.refusal.reason == "the client is unknown"


def test_only_jobs_past_give_up_time_become_unresolved() -> None:
    old, young = build_poll("old", since=1_000.0), build_poll("young", since=990.0)
    result = interpret(PollBatch("acme", [*old.jobs, *young.jobs]), build_response({}))
    assert collect_statuses(result) == {"old": JobStatus.UNRESOLVED}
    assert collect_delays(result) == [None, 10.0]


def test_retry_after_applies_to_all_jobs_of_a_poll() -> None:
    result = interpret(build_poll("a", "b"), build_response({"a": "RUNNING"}, retry_after="90"))
    assert collect_delays(result) == [90.0, 90.0]


@pytest.mark.parametrize(
    ("outcome", "last"),
    [
        (NoResponse("timed out", sent=True), "; last: no response: timed out"),
        (
            Response(200, {"content-type": "text/html"}, b"<h1>Off</h1>"),
            "; last: the body is not JSON (text/html): Off",
        ),
        (Response(500, {}, b""), "; last: the provider responded with 500"),
        (build_response({"r": "RUNNING"}), ""),
    ],
)
def test_job_that_is_given_up_shows_what_the_last_poll_brought(outcome: Outcome, last: str) -> None:
    result = interpret(build_poll("r", since=1_000.0), outcome)
    assert result.events[-1].detail == f"gave up polling after 1000 s{last}"


def test_poll_of_several_jobs_need_not_name_all() -> None:
    assert interpret(build_poll("r", "s"), build_response({"r": "RUNNING"})).problem is None
    assert interpret(build_poll("r", "s"), Response(200, {}, b"<html>")).problem == "the body is not JSON:"
