"""`receiver request`: list, cancel, retry and resolve."""

import pytest

from tests.support.command_service import FAR_FUTURE, Service, parse_rows
from tests.support.processes import wait_for
from tests.support.provider import DROP, Reply, state


def test_request_list_filters_by_metadata(service: Service, name: str) -> None:
    order = f"a&b={name}=%2B é"
    request = service.submit(name, "--metadata", f"order={order}", "--metadata", "k=v", "--send-after", FAR_FUTURE)
    service.submit(name, "--metadata", "k=v", "--send-after", FAR_FUTURE)
    document = service.json(
        "request", "list", "--metadata", f"order={order}", "--metadata", "k=v", "--status", "queued"
    )
    assert [item["id"] for item in document["items"]] == [request]
    assert document["items"][0]["metadata"] == {"order": order, "k": "v"}
    filters = ("--created-from", "1m", "--created-to", FAR_FUTURE, "--provider", "acme", "--operation", "send")
    assert service.json("request", "list", "--metadata", f"order={order}", *filters) == document
    assert (
        service.run("request", "list", "--metadata", f"order={order}", "--created-to", "1h").stderr
        == "no items found\n"
    )


def test_request_is_cancelled_and_retried_with_reasons(service: Service, name: str) -> None:
    request = service.submit(name, "--send-after", FAR_FUTURE)
    assert ["status", "cancelled"] in parse_rows(
        service.ok("request", "cancel", request, "--reason", "sent by mistake")
    )
    assert "cancelled" in service.fails("request", "cancel", request)
    service.scene.script(name, Reply(400))
    assert service.json("request", "retry", request, "--reason", "no, it was right")["status"] == "queued"
    output = wait_for(lambda: text if "rejected" in (text := service.ok("request", "show", request)) else "")
    assert f"receiver request retry {request}" in output
    assert [row[2:] for row in parse_rows(output.partition("actions\n")[2])] == [
        ["action", "reason"],
        ["cancel", "sent by mistake"],
        ["retry", "no, it was right"],
    ]
    assert [row[3] for row in parse_rows(output.partition("attempts\n")[2].partition("\n\n")[0])] == ["response", "400"]


def test_request_show_prints_last_response_to_admin(service: Service, name: str) -> None:
    body = b'{"message": "No such number.\x1b[2J", "more": "' + b"x" * 2_000 + b'"}'
    service.scene.script(name, Reply(422, body, {"x-trace": "t-1", "set-cookie": "session=secret"}))
    request = service.submit(name)
    output = wait_for(lambda: text if "rejected" in (text := service.ok("request", "show", request)) else "")
    assert "The provider responded: No such number." in " ".join(output.split())
    response = output.partition("response of attempt 1\n")[2]
    assert {"x-trace: t-1", "set-cookie: [redacted]"} <= set(response.splitlines())
    assert r'{"message": "No such number.\x1b[2J"' in response
    assert "more characters: --json" in response
    attempt = service.json("request", "show", request)["attempts"][0]
    assert (attempt["response_body"], attempt["response_truncated"]) == (body.decode(), False)


def test_request_waits_for_send_after_until_send_now(service: Service, name: str) -> None:
    service.scene.script(name, Reply(204))
    request = service.submit(name, "--send-after", FAR_FUTURE, "--priority", 9)
    assert ["priority", "9"] in parse_rows(service.ok("request", "show", request))
    assert "send-now" in service.ok("request", "send-now", request, "--reason", "the customer called")
    wait_for(lambda: service.json("request", "show", request)["status"] == "completed")
    assert "completed" in service.fails("request", "send-now", request)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(504), "responded with 504, a timeout on its side"),
        (Reply(202, b"<p>Thank you"), "responded with 202, so that it probably acted on it, but the body is not JSON"),
    ],
)
def test_unknown_request_with_a_response_is_explained_by_it(
    service: Service, name: str, reply: Reply, reason: str
) -> None:
    service.scene.script(name, reply)
    request = service.submit(name)
    output = wait_for(lambda: text if "unknown" in (text := service.ok("request", "show", request)) else "")
    assert reason in output
    assert "no response arrived" not in output


def test_request_resolve_settles_an_unknown_request(service: Service, name: str) -> None:
    service.scene.script(name, DROP)
    request = service.submit(name)
    output = wait_for(lambda: text if "unknown" in (text := service.ok("request", "show", request)) else "")
    assert f"receiver request resolve {request} --status accepted" in output
    resolve = ("request", "resolve", request, "--reason", "seen in their console", "--status")
    service.fails(*resolve, "unknown", code=2)
    assert "references: " in service.fails(*resolve, "accepted")
    references = [f"{name}-a", f"{name}-b"]
    for reference in references:
        service.scene.script(reference, state("DELIVERED"))
    output = service.ok(
        *resolve, "accepted", *(part for reference in references for part in ("--reference", reference))
    )
    assert ["status", "accepted"] in parse_rows(output)
    assert "resolve" in output.partition("actions\n")[2]
    jobs = service.json("request", "show", request)["jobs"]
    assert sorted(job["reference"] for job in jobs) == references
    for job in jobs:
        assert service.json("job", "wait", job["id"])["items"][0]["status"] == "succeeded"
    assert "accepted" in service.fails(*resolve, "completed")
