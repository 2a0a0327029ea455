"""`receiver request submit` and `submit-many`."""

import json
import re
import socket
from pathlib import Path
from threading import Thread

import pytest

from tests.support.command_line import CommandLine
from tests.support.command_service import (
    FAR_FUTURE,
    Service,
    build_payload,
    build_submission_line,
    list_requests,
    parse_rows,
)
from tests.support.stub_api import hang_up_once


def test_request_submit_accepts_a_notify_url(service: Service, name: str) -> None:
    url = "https://shop.example/notify"
    request = service.submit(name, "--notify-url", url, "--send-after", FAR_FUTURE)
    assert ["notify URL", url] in parse_rows(service.ok("request", "show", request))
    request = service.submit(name, "--notify-url", url, "--notify-event", "job", "--send-after", FAR_FUTURE)
    assert ["notified of", "job"] in parse_rows(service.ok("request", "show", request))
    refused = service.fails(
        "request", "submit", "acme", "send", "--payload", build_payload(name), "--notify-url", "https://a.b/"
    )
    assert "notify_url: The host a.b is not allowed. Add it to RECEIVER_NOTIFY_HOSTS." in refused


def test_payload_may_come_from_a_file_or_stdin(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text(build_payload(name), encoding="utf-8-sig")
    submit = ("request", "submit", "acme", "send", "--send-after", FAR_FUTURE, "--payload")
    for source, stdin in ((f"@{file}", None), ("-", build_payload(name))):
        assert service.json(*submit, source, stdin=stdin)["payload"] == json.loads(build_payload(name))


@pytest.mark.parametrize("text", ["{", "[]", "7", "@/nowhere/at all", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 9999])
def test_invalid_payload_is_a_usage_error(service: Service, text: str) -> None:
    assert "--payload" in service.fails("request", "submit", "acme", "send", "--payload", text, code=2)


def test_idempotency_key_prevents_a_second_request(service: Service, name: str) -> None:
    submit = ("--send-after", FAR_FUTURE, "--idempotency-key", f"key-{name}")
    first = service.submit(name, *submit)
    assert service.submit(name, *submit) == first
    output = service.fails("request", "submit", "acme", "send", "--payload", build_payload(f"{name}x"), *submit)
    assert output.startswith("error: ")


def test_request_submit_prints_all_errors_with_their_fields(service: Service, name: str) -> None:
    output = service.fails(
        "request", "submit", "acme", "send", "--payload", build_payload(name, to=["1", 5], text=None)
    )
    assert re.search(r"^payload\.to\.1: ", output, re.MULTILINE)
    assert re.search(r"^payload\.text: ", output, re.MULTILINE)


def test_submit_many_submits_batches_once(service: Service, name: str, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(build_submission_line(f"{name}-{number}") for number in range(1_203)) + "\n\n")
    submitted_items = service.json("request", "submit-many", file)["items"]
    assert [item["payload"]["client_reference"] for item in submitted_items] == [
        f"{name}-{number}" for number in range(1_203)
    ]
    again = service.run("request", "submit-many", file, "--json")
    assert [item["id"] for item in json.loads(again.stdout)["items"]] == [item["id"] for item in submitted_items]
    assert "1,203 of 1,203 requests submitted" in again.stderr


def test_submit_many_with_a_new_key_submits_again(service: Service, name: str) -> None:
    array = f" [{build_submission_line(name)}, {build_submission_line(name)}]"
    ids = [
        [item["id"] for item in service.json("request", "submit-many", "-", *key, stdin=array)["items"]]
        for key in ((), (), ("--idempotency-key", name), ("--idempotency-key", name))
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert len({*ids[0], *ids[2]}) == 4


def test_submit_many_limits_the_size_of_batches(service: Service, name: str) -> None:
    lines = "\n".join(build_submission_line(name, metadata={"text": "é" * 100_000}) for _ in range(6))
    assert len(service.json("request", "submit-many", "-", stdin=lines)["items"]) == 6


def test_submit_many_reports_all_faults_before_submitting(service: Service, name: str) -> None:
    good = build_submission_line(name, metadata={"list": name})
    lines = [good, "{", "7", good, '{"a": 1, "a": 2}']
    output = service.fails("request", "submit-many", "-", stdin="\n".join(lines), code=2)
    places = [line.partition(":")[0] for line in output.splitlines() if line.startswith("line")]
    assert places == ["line 2", "line 3", "line 5"]
    assert "item 2: " in service.fails("request", "submit-many", "-", stdin=f"[{good}, 7]", code=2)
    assert "Contains no requests" in service.fails("request", "submit-many", "-", stdin="\n", code=2)
    assert list_requests(service, name) == []


def test_submit_many_reports_lines_of_a_refused_batch(service: Service, name: str) -> None:
    lines = [build_submission_line(f"{name}-{number}") for number in range(1_001)]
    wrong = [*lines, build_submission_line(name, metadata=7), build_submission_line(name, surprise=1)]
    result = service.run("request", "submit-many", "-", "--json", stdin="\n".join(wrong))
    assert result.exit_code == 1
    assert "line 1002: metadata: " in result.stderr
    assert "line 1003: surprise: " in result.stderr
    before = [item["id"] for item in json.loads(result.stdout)["items"]]
    assert len(before) == 1_000
    fixed = service.json("request", "submit-many", "-", stdin="\n".join(lines))["items"]
    assert [item["id"] for item in fixed[:1_000]] == before
    assert len(fixed) == 1_001


def test_lost_response_to_submit_names_the_idempotency_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server_thread = Thread(target=hang_up_once, args=(listener,))
        server_thread.start()
        submit = ("request", "submit", "acme", "send", "--idempotency-key", "the-key")
        output = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails(*submit)
        server_thread.join()
    assert "--idempotency-key the-key" in output
