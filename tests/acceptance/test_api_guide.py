"""What the guide to the API shows is so: its calls are made, its answers compared, its tables held against the code."""

import importlib
import json
import pkgutil
import re
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from inspect import getmembers, isclass
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any, NamedTuple

import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

import receiver.web
from receiver.domain.access import Scope
from receiver.domain.jobs import Effect, JobStatus
from receiver.domain.sending import RequestStatus
from receiver.domain.targets import MAX_URL_LENGTH
from receiver.exchange.webhook_client import MAX_CONCURRENCY_PER_HOST
from receiver.inbound.authentication import MAX_SAMPLES_PER_PROVIDER
from receiver.providers.webhook import DEADLINE, DISPATCHING
from receiver.schemas.api.common import MOST_ITEMS
from receiver.schemas.api.requests import LONGEST_KEY, LONGEST_VALUE, MOST_IN_BATCH, MOST_JOBS_TOLD
from receiver.store.callbacks import Verdict
from receiver.web import problems
from receiver.web.v1 import api
from receiver.web.waiting import MAX_WAIT_S
from tests.acceptance.guides import Block, Service, blocks_of, difference, guide, rows_of, section_of, words_of
from tests.http import Server, signed
from tests.processes import wait_for

GUIDE = guide("receiver/web/README.md")
CURLRC = "silent\nshow-error\ninclude\nmax-time = 30\n"
SOON = 10.0
"""Seconds in which what is asked for must have become as it is shown."""


class Answer(NamedTuple):
    """What curl printed of an answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    document: Any


def read(printed: str) -> Answer:
    """Read an answer as curl prints it with its head."""
    head, _, body = printed.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, json.loads(body))


class Reader:
    """Somebody who follows the guide: makes its calls, and puts in what earlier answers told."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.known: dict[str, str] = {}
        (service.directory / ".curlrc").write_text(CURLRC)

    def call(self, block: Block) -> Answer:
        response = read(self.service.sh(block.text, **self.known))
        self._note(block, response.document)
        return response

    def difference(self, block: Block, shown: Block | None) -> str | None:
        """Make a call; tell how its answer differs from the one that is shown, or fails where none is."""
        response = self.call(block)
        if shown is None:
            return None if response.status < 300 else str(response)
        if shown.language == "json":
            return difference(json.loads(shown.text), response.document)
        expected = read(shown.text)
        headers = {name: response.headers.get(name) for name in expected.headers}
        given = [response.status, headers, response.document]
        return difference([expected.status, dict(expected.headers), expected.document], given)

    def _note(self, block: Block, document: Any) -> None:
        """Remember the id in an answer, or the first of a list if none is known, by what was asked for; and a key."""
        [collection] = re.findall(r"/v1/(\w+)s\b", block.text)
        if "id" in document:
            self.known[f"{collection.upper()}_ID"] = document["id"]
        elif document.get("items"):
            self.known.setdefault(f"{collection.upper()}_ID", document["items"][0]["id"])
        if document.get("jobs") and isinstance(document["jobs"][0], dict):
            self.known["JOB_ID"] = document["jobs"][0]["id"]
        if document.get("next_cursor"):
            self.known["CURSOR"] = document["next_cursor"]
        if "key" in document:
            self.service.environ["RECEIVER_KEY"] = document["key"]


def calls() -> Iterator[tuple[Block, Block | None]]:
    """Give each call of the guide with the answer that is shown, if one is."""
    blocks = [one for one in blocks_of(GUIDE) if "export RECEIVER" not in one.text and one.language != "python"]
    for block, poll_policy in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "sh":
            yield block, poll_policy if poll_policy and poll_policy.language != "sh" else None


@pytest.mark.skipif(which("curl") is None, reason="makes the guide's calls with curl")
def test_every_call_that_the_guide_shows_is_answered_as_it_shows(service: Service) -> None:
    reader = Reader(service)
    made = list(calls())
    assert len(made) > 10
    for block, shown in made:
        until = time.monotonic() + SOON
        while told := reader.difference(block, shown):
            assert " -d " not in block.text, (block.text, told)
            assert time.monotonic() < until, (block.text, told)
            time.sleep(0.05)


def test_answers_that_the_guide_shows_follow_calls() -> None:
    blocks = [block for block in blocks_of(GUIDE) if block.language != "python"]
    assert {block.language for block in blocks} == {"sh", "json", "http"}
    assert len([block for block in blocks if block.language != "sh"]) == len([shown for _, shown in calls() if shown])


def test_the_receiver_that_the_guide_shows_is_told_and_believes_nobody_else(service: Service) -> None:
    [block] = [block for block in blocks_of(GUIDE) if block.language == "python"]
    shown: dict[str, Any] = {"__name__": "shown"}
    exec(block.text, shown)
    server = make_server("127.0.0.1", 0, shown["app"])
    serving = Thread(target=server.serve_forever)
    serving.start()
    try:
        payload = {"client_reference": "order-82", "to": ["2348030000000"], "text": "On its way."}
        wanted = {"provider": "sandbox", "operation": "send", "payload": payload}
        wanted["notify_url"] = f"http://127.0.0.1:{server.port}/told"
        body = json.dumps(wanted).encode()
        assert service.api.call("POST", "/v1/requests", body, {"content-type": "application/json"}).status == 202
        wait_for(lambda: shown["seen"])
        assert Server("127.0.0.1", server.port).call("POST", "/told", b"{}", signed(b"{}")).status == 401
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_when_and_for_how_long_a_client_is_told_is_as_the_guide_says() -> None:
    told = " ".join(section_of(GUIDE, "Be told").split())
    assert f"within {DISPATCHING.timeout:.0f} seconds" in told
    assert DEADLINE == 3 * 86_400
    assert "for three days" in told
    assert f"its first {MOST_JOBS_TOLD:,} jobs" in told
    assert f"at most {MAX_URL_LENGTH:,} characters" in told
    assert MAX_CONCURRENCY_PER_HOST == 4
    assert "at most four of its notifications under way at one host" in told


def test_submissions_that_the_guide_says_end_otherwise_do(service: Service) -> None:
    told = re.findall(r"`(order-\d+)` is\s+(\w+)|`(order-\d+)` (\w+)", GUIDE)
    ends = {first or second: one or other for first, one, second, other in told}
    assert set(ends.values()) == {"disputed", "unknown", "rejected", "completed"}
    for reference, end in ends.items():
        payload = {"client_reference": reference, "to": ["2348030000000"], "text": "On its way."}
        body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload}).encode()
        request = service.api.call("POST", "/v1/requests", body, {"content-type": "application/json"}).json["id"]
        until = time.monotonic() + SOON
        while not _ended_as(service, request, end):
            assert time.monotonic() < until, (reference, end)
            time.sleep(0.05)


def _ended_as(service: Service, request: str, end: str) -> bool:
    found = service.api.call("GET", f"/v1/requests/{request}").json
    return bool(found["status"] == end or (end == "disputed" and any(job["disputed"] for job in found["jobs"])))


def test_every_operation_is_listed_with_its_scope() -> None:
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in rows_of(GUIDE, "operation")}
    assert listed == {(f"{one.method} {re.sub('<[^>]+>', 'ID', one.path)}", one.scope.value) for one in api.operations}


def test_every_filter_of_every_list_is_listed() -> None:
    listed = {row[0].strip("`"): set(re.findall(r"`([\w.]+)`", row[1])) for row in rows_of(GUIDE, "list")}
    paging = {"limit", "cursor"}
    served = {one.path: set(one.query.fields) for one in api.operations if paging < set(one.query.fields)}
    renamed = {path: {name.replace("metadata", "metadata.KEY") for name in names} for path, names in served.items()}
    assert listed == {path: names - paging for path, names in renamed.items()}


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("scope", Scope),
        ("status of a request", RequestStatus),
        ("status of a job", JobStatus),
        ("verdict", Verdict),
    ],
)
def test_every_word_is_explained(first: str, words: type[StrEnum]) -> None:
    assert sorted(words_of(GUIDE, first)) == sorted(words)


def test_every_effect_and_flag_is_explained() -> None:
    assert sorted(words_of(GUIDE, "effect of an event")) == sorted([*Effect, "null"])
    shown = next(one.response for one in api.operations if one.name == "show_job")
    flags = {name for name, one in shown.fields.items() if type(one).__name__ == "Boolean"}
    assert set(words_of(GUIDE, "flag of a job")) == flags


def answerable() -> set[int]:
    """Give the error statuses that the API's code can answer: by problems, by refusals, by exceptions of HTTP."""
    told = {int(status) for status in re.findall(r"problem\((\d+)", Path(problems.__file__).read_text())}
    refused = {status for one in api.operations for status in one.refusals}
    modules = pkgutil.walk_packages(receiver.web.__path__, "receiver.web.")
    raised = {
        one.code
        for module in modules
        if not module.name.endswith("gunicorn_conf")
        for _, one in getmembers(importlib.import_module(module.name), isclass)
        if issubclass(one, HTTPException) and one.code is not None
    }
    return told | refused | raised


def test_the_errors_that_are_listed_are_those_that_can_be_answered() -> None:
    assert {int(word) for word in words_of(section_of(GUIDE, "Errors"), "status")} == answerable()


def test_limits_that_are_told_are_the_limits() -> None:
    limits = {row[0]: row[1] for row in rows_of(GUIDE, "what")}
    submit_batch = next(one for one in api.operations if one.name == "submit_batch")
    assert f"{MOST_IN_BATCH:,}" == limits["submissions in a batch"]
    assert str(MOST_ITEMS) == limits["items on a page"]
    assert limits["`Prefer: wait`"].startswith(f"{MAX_WAIT_S:.0f} seconds")
    assert submit_batch.body_cap == 4
    assert "four times" in limits["a body"]
    assert f"newest {MAX_SAMPLES_PER_PROVIDER} of each provider" in GUIDE
    assert f"keys of up to {LONGEST_KEY} and values of up to {LONGEST_VALUE} characters" in " ".join(GUIDE.split())


def test_what_is_said_to_need_no_key_needs_none(service: Service) -> None:
    [told] = re.findall(r"^((?:`/\S+`.*?, )+.*?) ask for no key", GUIDE, re.MULTILINE | re.DOTALL)
    for path in re.findall(r"`(/\w[\w.]*)`", told):
        assert service.api.call("GET", path, headers={"authorization": ""}).status == 200, path


def test_the_command_prints_the_document_that_is_served(service: Service) -> None:
    assert "`receiver openapi`" in GUIDE
    printed = json.loads(service.sh("receiver openapi"))
    assert printed["paths"] == service.api.call("GET", "/openapi.json").json["paths"]


def test_a_call_that_is_too_long_is_refused_as_the_guide_says(service: Service) -> None:
    assert "a request line above 8,190 bytes is 414" in " ".join(GUIDE.split())
    assert [service.api.call("GET", f"/v1/jobs?reference={'a' * size}").status for size in (8_000, 8_200)] == [400, 414]
