"""The guides to the API are correct: their calls are made, responses compared, tables checked against the code."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from shutil import which
from threading import Thread
from typing import Any, NamedTuple

import pytest
from marshmallow import fields
from werkzeug.serving import make_server

from receiver.domain.access import Scope
from receiver.domain.callbacks import MAX_SHOWN_JOBS
from receiver.domain.jobs import Effect, JobStatus
from receiver.domain.notifications import NotificationStatus, NotifyEvent
from receiver.domain.sending import MAX_BATCH_SIZE, RequestStatus
from receiver.domain.targets import MAX_URL_LENGTH
from receiver.exchange.webhook_client import MAX_CONCURRENCY_PER_HOST
from receiver.inbound.refusals import MAX_SAMPLES_PER_PROVIDER
from receiver.providers.webhook import DEADLINE_S, SEND_POLICY
from receiver.schemas.api.common import MAX_PAGE_SIZE
from receiver.schemas.api.jobs import MAX_SHOWN_EVENTS
from receiver.schemas.api.notifications import MAX_CHANGED_JOBS, MAX_NOTIFIED_JOBS
from receiver.schemas.api.requests import (
    MAX_METADATA_KEY_LENGTH,
    MAX_METADATA_VALUE_LENGTH,
)
from receiver.store.callbacks import Verdict
from receiver.web.problems import ProblemType
from receiver.web.v1 import api
from receiver.web.waiting import MAX_WAIT_S
from tests.acceptance.guides import (
    Block,
    Service,
    extract_section,
    find_difference,
    parse_blocks,
    parse_first_column,
    parse_table,
    read_guide,
)
from tests.support.http import Server, sign_callback
from tests.support.processes import wait_for

GUIDE = read_guide("docs/submit-and-follow.md")
NOTIFICATIONS_GUIDE = read_guide("docs/notifications.md")
CURLRC = "silent\nshow-error\ninclude\nmax-time = 30\n"
TIMEOUT_S = 10.0
"""Within this time a request must reach the state that the guide shows."""


class CurlResponse(NamedTuple):
    """A response as curl printed it; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    document: Any


def parse_response(printed: str) -> CurlResponse:
    """Parse a response that curl printed with its headers."""
    head, _, body = printed.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return CurlResponse(int(first.split()[1]), headers, json.loads(body))


class Reader:
    """Makes the calls of the guide, with ids and keys from earlier responses."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.values: dict[str, str] = {}
        (service.directory / ".curlrc").write_text(CURLRC)

    def call(self, block: Block) -> CurlResponse:
        response = parse_response(self.service.sh(block.text, **self.values))
        self._store_values(block, response.document)
        return response

    def find_difference(self, block: Block, expected_block: Block | None) -> str | None:
        """Make a call and return how its response differs from that of the guide, or None if it does not."""
        response = self.call(block)
        if expected_block is None:
            return None if response.status < 300 else str(response)
        if expected_block.language == "json":
            return find_difference(json.loads(expected_block.text), response.document)
        expected = parse_response(expected_block.text)
        headers = {name: response.headers.get(name) for name in expected.headers}
        actual = [response.status, headers, response.document]
        return find_difference([expected.status, dict(expected.headers), expected.document], actual)

    def _store_values(self, block: Block, document: Any) -> None:
        """Store the id, the job's id, the cursor, the token and the API key in a response, for later calls.

        Of a list the first id is stored if no id is known yet; of several new keys the first one is used.
        """
        [collection] = re.findall(r"/v1/(\w+)s\b", block.text)
        if "id" in document:
            self.values[f"{collection.upper()}_ID"] = document["id"]
        elif document.get("items") and "id" in document["items"][0]:
            self.values.setdefault(f"{collection.upper()}_ID", document["items"][0]["id"])
        if document.get("jobs") and isinstance(document["jobs"][0], dict):
            self.values["JOB_ID"] = document["jobs"][0]["id"]
        if document.get("next_cursor"):
            self.values["CURSOR"] = document["next_cursor"]
        if "token" in document:
            self.values["TOKEN"] = document["token"]
        if "key" in document:
            self.service.environ.setdefault("RECEIVER_KEY", document["key"])


def iterate_calls() -> Iterator[tuple[Block, Block | None]]:
    """Yield each call of the guides with its response there, if any; the second guide continues the first."""
    blocks = [
        block
        for block in (*parse_blocks(GUIDE), *parse_blocks(NOTIFICATIONS_GUIDE))
        if "export RECEIVER" not in block.text and block.language != "python"
    ]
    for block, next_block in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "sh":
            yield block, next_block if next_block and next_block.language != "sh" else None


@pytest.mark.skipif(which("curl") is None, reason="the guide's calls need curl")
def test_every_call_has_the_response_of_the_guide(guide_service: Service) -> None:
    reader = Reader(guide_service)
    calls = list(iterate_calls())
    assert len(calls) > 10
    for block, expected in calls:
        until = time.monotonic() + TIMEOUT_S
        while problem := reader.find_difference(block, expected):
            # What a call has submitted or changed shows in later ones only after a while.
            if " -d " in block.text or time.monotonic() > until:
                pytest.fail(f"{problem} in the response to:\n{block.text}")
            time.sleep(0.05)


def test_every_response_of_the_guide_follows_a_call() -> None:
    blocks = [
        block for block in (*parse_blocks(GUIDE), *parse_blocks(NOTIFICATIONS_GUIDE)) if block.language != "python"
    ]
    assert {block.language for block in blocks} == {"sh", "json", "http"}
    assert len([block for block in blocks if block.language != "sh"]) == len(
        [expected for _, expected in iterate_calls() if expected]
    )


def test_notification_receiver_of_the_guide_works(guide_service: Service) -> None:
    [block] = [block for block in parse_blocks(NOTIFICATIONS_GUIDE) if block.language == "python"]
    namespace: dict[str, Any] = {"__name__": "receiver_of_the_guide"}
    exec(block.text, namespace)
    server = make_server("127.0.0.1", 0, namespace["app"])
    serving = Thread(target=server.serve_forever)
    serving.start()
    try:
        payload = {"client_reference": "order-82", "to": ["2348030000000"], "text": "On its way."}
        submission = {"provider": "sandbox", "operation": "send", "payload": payload}
        submission["notify_url"] = f"http://127.0.0.1:{server.port}/notifications"
        for notify_event in ("request", "job"):
            namespace["processed_ids"].clear()
            body = json.dumps(submission | {"notify_events": [notify_event]}).encode()
            headers = {"content-type": "application/json"}
            assert guide_service.api.call("POST", "/v1/requests", body, headers).status == 202
            wait_for(lambda: namespace["processed_ids"])
        assert (
            Server("127.0.0.1", server.port).call("POST", "/notifications", b"{}", sign_callback(b"{}")).status == 401
        )
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_notification_limits_of_the_guide() -> None:
    text = " ".join(NOTIFICATIONS_GUIDE.split())
    assert f"within {SEND_POLICY.timeout:.0f} seconds" in text
    assert DEADLINE_S == 3 * 86_400
    assert "for three days" in text
    assert f"its first {MAX_NOTIFIED_JOBS:,} jobs" in text
    assert f"jobs of one request, up to {MAX_CHANGED_JOBS}:" in text
    assert [event.partition("`")[0] for event in parse_first_column(NOTIFICATIONS_GUIDE, "`notify_events`")] == list(
        NotifyEvent
    )
    assert f"at most {MAX_URL_LENGTH:,} characters" in text
    assert MAX_CONCURRENCY_PER_HOST == 4
    assert "at most four notifications to one host at the same time" in text


def test_other_results_of_the_sandbox(guide_service: Service) -> None:
    results = dict(re.findall(r"`(order-\d+)` is\s+(\w+)", GUIDE))
    assert set(results.values()) == {"disputed", "unknown", "rejected", "completed"}
    for reference, result in results.items():
        payload = {"client_reference": reference, "to": ["2348030000000"], "text": "On its way."}
        body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload}).encode()
        request = guide_service.api.call("POST", "/v1/requests", body, {"content-type": "application/json"}).json["id"]
        until = time.monotonic() + TIMEOUT_S
        while not _has_result(guide_service, request, result):
            assert time.monotonic() < until, (reference, result)
            time.sleep(0.05)


def _has_result(service: Service, request_id: str, result: str) -> bool:
    request = service.api.call("GET", f"/v1/requests/{request_id}").json
    is_disputed = any(job["disputed"] for job in request["jobs"])
    return bool(request["status"] == result or (result == "disputed" and is_disputed))


def test_every_operation_is_listed_with_its_scope() -> None:
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in parse_table(GUIDE, "operation")}
    assert listed == {
        (f"{operation.method} {re.sub('<[^>]+>', 'ID', operation.path)}", operation.scope.value)
        for operation in api.operations
    }


def test_every_filter_of_every_list_is_listed() -> None:
    listed = {row[0].strip("`"): set(re.findall(r"`([\w.]+)`", row[1])) for row in parse_table(GUIDE, "list")}
    paging = {"limit", "cursor"}
    filters = {
        operation.path: {name.replace("metadata", "metadata.KEY") for name in operation.query.fields}
        for operation in api.operations
    }
    assert listed == {path: names - paging for path, names in filters.items() if paging < names}


@pytest.mark.parametrize(
    ("guide", "first_column", "values"),
    [
        (GUIDE, "scope", Scope),
        (GUIDE, "status of a request", RequestStatus),
        (GUIDE, "status of a job", JobStatus),
        (NOTIFICATIONS_GUIDE, "status of a notification", NotificationStatus),
        (GUIDE, "verdict", Verdict),
    ],
    ids=["scope", "request", "job", "notification", "callback"],
)
def test_every_value_is_explained(guide: str, first_column: str, values: type[StrEnum]) -> None:
    assert sorted(parse_first_column(guide, first_column)) == sorted(values)


def test_every_effect_and_flag_is_explained() -> None:
    assert sorted(parse_first_column(GUIDE, "effect of an event")) == sorted([*Effect, "null"])
    schema = next(operation.response for operation in api.operations if operation.name == "show_job")
    flags = {name for name, field in schema.fields.items() if isinstance(field, fields.Boolean)}
    assert set(parse_first_column(GUIDE, "flag of a job")) == flags


def test_every_problem_type_is_listed() -> None:
    listed = [tuple(row[:4]) for row in parse_table(extract_section(GUIDE, "Errors"), "type")]
    assert listed == [(f"`{item.slug}`", str(item.status), item.title, item.occurrence) for item in ProblemType]
    assert {item.uri for item in ProblemType} == {
        f"urn:callback-receiver:problem:{row[0].strip('`')}" for row in listed
    }
    assert "`urn:callback-receiver:problem:` followed by" in GUIDE


def test_limits_of_the_guide() -> None:
    limits = {row[0]: row[1] for row in parse_table(GUIDE, "what")}
    submit_batch = next(operation for operation in api.operations if operation.name == "submit_batch")
    assert f"{MAX_BATCH_SIZE:,}" == limits["submissions in a batch"]
    assert str(MAX_PAGE_SIZE) == limits["items on a page"]
    assert limits["events that a job shows"].startswith(f"the newest {MAX_SHOWN_EVENTS};")
    assert limits["jobs that a callback shows"].startswith(f"the first {MAX_SHOWN_JOBS};")
    assert limits["`Prefer: wait`"].startswith(f"{MAX_WAIT_S:.0f} seconds")
    assert submit_batch.body_size_factor == 4
    assert "four times" in limits["a body"]
    assert f"newest {MAX_SAMPLES_PER_PROVIDER} of each provider" in GUIDE
    assert (
        f"keys of up to {MAX_METADATA_KEY_LENGTH} and values of up to {MAX_METADATA_VALUE_LENGTH} characters"
        in " ".join(GUIDE.split())
    )


def test_public_paths_of_the_guide_need_no_key(guide_service: Service) -> None:
    [paths] = re.findall(r"^((?:`/\S+`.*?, )+.*?) require\s+no key", GUIDE, re.MULTILINE | re.DOTALL)
    for path in re.findall(r"`(/\w[\w.]*)`", paths):
        assert guide_service.api.call("GET", path, headers={"authorization": ""}).status == 200, path


def test_command_prints_served_document(guide_service: Service) -> None:
    assert "`receiver openapi`" in GUIDE
    printed = json.loads(guide_service.sh("receiver openapi"))
    assert printed["paths"] == guide_service.api.call("GET", "/openapi.json").json["paths"]


def test_too_long_request_line_is_414(guide_service: Service) -> None:
    assert "The request line exceeds 8,190 bytes." in " ".join(GUIDE.split())
    paths = [f"/v1/jobs?reference={'a' * size}" for size in (8_000, 8_200)]
    assert [guide_service.api.call("GET", path).status for path in paths] == [400, 414]
