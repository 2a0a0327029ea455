"""Options that several commands share: times, and the pages of lists."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.command_service import (
    FAR_FUTURE,
    Service,
    build_payload,
    build_submission_line,
    list_requests,
    parse_rows,
)


def test_times_may_be_absolute_or_spans(service: Service, name: str) -> None:
    request = service.submit(name, "--send-after", "2126-01-01T01:00:00+01:00", "--deadline", "2126-01-02T00:00:00Z")
    shown = service.json("request", "show", request)
    assert datetime.fromisoformat(shown["due_at"]) == datetime.fromisoformat(FAR_FUTURE)
    soon = service.json("request", "submit", "acme", "send", "--payload", build_payload(name), "--send-after", "2h")
    assert abs(datetime.fromisoformat(soon["due_at"]) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize("time", ["tomorrow", "2126-01-01T00:00:00", "999999w", "0001-01-01T00:00:00+14:00", "-2h"])
def test_invalid_time_is_a_usage_error(service: Service, time: str) -> None:
    assert "--send-after" in service.fails("request", "submit", "acme", "send", f"--send-after={time}", code=2)


def test_list_continues_at_a_cursor_or_shows_all(service: Service, name: str) -> None:
    lines = "\n".join(build_submission_line(name, metadata={"list": name}) for _ in range(501))
    ids = [item["id"] for item in service.json("request", "submit-many", "-", stdin=lines)["items"]]
    page = service.run("request", "list", "--metadata", f"list={name}", "--limit", 2)
    [cursor] = re.findall(r"--cursor (\S+)", page.stderr)
    shown = [row[0] for row in parse_rows(page.stdout)][1:]
    next_page = list_requests(service, name, "--limit", 2, "--cursor", cursor)
    everything = list_requests(service, name, "--all")
    assert {item["id"] for item in everything} == set(ids)
    assert [item["id"] for item in everything[:4]] == shown + [item["id"] for item in next_page]
    table = service.ok("request", "list", "--metadata", f"list={name}", "--all").splitlines()
    assert table[0].split()[0] == "id"
    assert [line.split()[0] for line in table[1:]] == [item["id"] for item in everything]
    assert "--limit" in service.fails("request", "list", "--all", "--limit", 1, code=2)
