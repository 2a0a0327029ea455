"""What a poll says of its jobs, and when each is asked about again."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import orjson

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.domain.sending import NoResponse, Response
from receiver.followup.poll import PollBatch, PollOutcome, interpret_poll
from receiver.providers.base import PollPolicy
from receiver.providers.registry import build_provider
from receiver.store.jobs import SilentJob
from tests.factories import NOON
from tests.kinds import DECLARED

FOLLOWING = PollPolicy(deadline=3_600.0, first_after=10.0, max_interval=600.0, give_up_after=1_000.0)
POLL = {"path": "/v1/jobs?ids={references}", "items": "jobs", "batch": 10, "not_found": "failed"}
ACME = replace(build_provider("acme", {**DECLARED, "poll": POLL}), poll_policy=FOLLOWING)


def silent(*references: str, since: float = 100.0, polls: int = 1) -> PollBatch:
    accepted_at = NOON - timedelta(seconds=since)
    return PollBatch(
        "acme",
        [
            SilentJob(
                derive_job_id("acme", one), "acme", one, None, polls, accepted_at, accepted_at + timedelta(hours=1)
            )
            for one in references
        ],
    )


def told(states: Mapping[str, str], status: int = 200, **headers: str) -> Response:
    jobs = [{"id": reference, "state": state} for reference, state in states.items()]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, orjson.dumps({"jobs": jobs}))


def judged(poll: PollBatch, outcome: Response | NoResponse) -> PollOutcome:
    return interpret_poll(ACME, poll, outcome, NOON, 1.0)


def said(polled: PollOutcome) -> dict[str, JobStatus | None]:
    return {event.reference: event.status for event in polled.events}


def next_times(polled: PollOutcome) -> list[float | None]:
    return [next_poll.next_in for next_poll in polled.next_polls]


def test_each_job_of_a_poll_is_judged_by_itself() -> None:
    polled = judged(silent("a", "b", "c"), told({"c": "DONE", "a": "PONDERING", "z": "DONE"}))
    assert said(polled) == {"a": None, "c": JobStatus.SUCCEEDED}
    assert next_times(polled) == [20.0, 20.0, None]
    assert {event.source for event in polled.events} == {EventSource.POLL}


def test_the_first_word_of_several_about_one_job_counts() -> None:
    body = orjson.dumps({"jobs": [{"id": "a", "state": "DONE"}, {"id": "a", "state": "?"}]})
    assert said(judged(silent("a"), Response(200, {}, body))) == {"a": JobStatus.SUCCEEDED}


def test_a_404_says_of_every_job_what_the_settings_say() -> None:
    polled = judged(silent("a", "b"), told({}, 404))
    assert said(polled) == {"a": JobStatus.FAILED, "b": JobStatus.FAILED}
    assert next_times(polled) == [None, None]


def test_no_answer_and_refused_credentials_say_nothing() -> None:
    for outcome in (NoResponse("dropped", sent=True), told({}, 401)):
        polled = judged(silent("a"), outcome)
        assert (said(polled), next_times(polled)) == ({}, [20.0])


def test_silence_for_too_long_gives_up_only_the_jobs_it_concerns() -> None:
    old, young = silent("old", since=1_000.0), silent("young", since=990.0)
    polled = judged(PollBatch("acme", [*old.jobs, *young.jobs]), told({}))
    assert said(polled) == {"old": JobStatus.UNRESOLVED}
    assert next_times(polled) == [None, 10.0]


def test_retry_after_holds_for_all_jobs_of_a_poll() -> None:
    assert next_times(judged(silent("a", "b"), told({"a": "RUNNING"}, retry_after="90"))) == [90.0, 90.0]
