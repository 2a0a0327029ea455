"""`receiver job`: show, list, poll and resolve."""

from tests.support.command_service import FAR_FUTURE, Service, parse_rows
from tests.support.http import build_report, build_reports
from tests.support.provider import state


def test_job_show_prints_the_history_of_a_message(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name, "SENT")
    service.call_back(name)
    output = service.ok("job", "show", "--reference", f"{name}-0")
    assert output == service.ok("job", "show", job)
    assert ["status", "succeeded"] in parse_rows(output)
    timeline = [
        row[1:5] for row in parse_rows(output.partition("events\n")[2].partition("callbacks\n")[0]) if len(row) > 4
    ]
    assert timeline == [
        ["source", "status", "effect", "provider status"],
        ["response", "accepted", "applied", "ACK / 1801"],
        ["callback", "in_progress", "applied", "SENT"],
        ["callback", "succeeded", "applied", "DELIVERED"],
    ]
    for event in service.json("job", "show", job)["events"][1:]:
        assert event["callback_id"] in output


def test_job_show_says_if_older_events_exist(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    assert "receiver job events" not in service.ok("job", "show", job)
    report = {"id": f"{name}-0", "state": "SENT"}
    assert service.web.call_back(build_reports(*[report] * 120), "acme").status == 200
    assert f"\nevents (the newest 100; all: receiver job events {job})\n" in service.ok("job", "show", job)


def test_job_events_lists_all_newest_first(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name, "SENT")
    service.call_back(name)
    assert [row[1:5] for row in parse_rows(service.ok("job", "events", job))[1:]] == [
        ["callback", "succeeded", "applied", "DELIVERED"],
        ["callback", "in_progress", "applied", "SENT"],
        ["response", "accepted", "applied", "ACK / 1801"],
    ]
    page = service.json("job", "events", job, "--limit", 2)
    [oldest] = service.json("job", "events", job, "--cursor", page["next_cursor"])["items"]
    assert [*page["items"], oldest] == service.json("job", "events", job, "--all")["items"]
    assert "--cursor" in service.run("job", "events", job, "--limit", 2).stderr


def test_job_show_advises_on_an_open_job(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    assert f"receiver job poll {job}" in service.ok("job", "show", job)


def test_job_show_reports_unknown_and_ambiguous_references(service: Service, name: str) -> None:
    assert "No job has this reference" in service.fails("job", "show", "--reference", name)
    for provider in ("acme", "other"):
        assert service.web.call_back(build_report(name), provider).status == 200
    assert "acme, other" in service.fails("job", "show", "--reference", name)
    assert service.json("job", "show", "--reference", name, "--provider", "other")["provider"] == "other"


def test_job_poll_polls_the_provider(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.scene.script(f"{name}-0", state("DELIVERED"))
    polled = service.run("job", "poll", job, "--reason", "it is late")
    assert polled.exit_code == 0
    assert f"receiver job wait {job}" in polled.stderr
    assert service.json("job", "wait", job)["items"][0]["status"] == "succeeded"
    assert "already" in service.fails("job", "poll", job)


def test_job_resolve_sets_the_final_status(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.fails("job", "resolve", job, "--status", "succeeded", code=2)
    service.fails("job", "resolve", job, "--status", "accepted", "--reason", "no", code=2)
    output = service.ok("job", "resolve", job, "--status", "failed", "--reason", "seen at the provider")
    assert any(
        row[1:] == ["operator", "failed", "applied", "seen at the provider", "bootstrap"] for row in parse_rows(output)
    )


def test_job_list_filters(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name)
    service.call_back(name, "UNDELIVERED")
    shown = service.json("job", "show", job)
    filters = ["--status", "succeeded", "--provider", "acme", "--reference", f"{name}-0", "--disputed", "--matched"]
    filters += ["--request", shown["request_id"], "--accepted-from", "5m", "--finished-from", "5m"]
    filters += ["--accepted-to", FAR_FUTURE, "--finished-to", FAR_FUTURE]
    [listed_job] = service.json("job", "list", *filters)["items"]
    assert listed_job["id"] == job
    assert "disputed" in service.ok("job", "list", *filters)
    assert "job resolve" in service.ok("job", "show", job)
    for other in ("--not-disputed", "--unmatched", "--status=failed", "--accepted-to=1h"):
        assert service.json("job", "list", *filters, other)["items"] == []
