"""`receiver callback`: list, show and replay one."""

from receiver.domain.jobs import derive_job_id
from tests.support.command_line import CommandLine
from tests.support.command_service import FAR_FUTURE, Service, parse_rows
from tests.support.http import build_report, build_reports
from tests.support.provider import Provider
from tests.support.stub_api import HOSTILE, JOB_ID, build_reply


def test_callback_is_listed_shown_and_replayed(service: Service, name: str) -> None:
    job = service.create_accepted_job(name)
    service.call_back(name)
    callback = service.json("job", "show", job)["events"][-1]["callback_id"]
    filters = ("--provider", "acme", "--verdict", "accepted", "--received-from", "5m", "--received-to", FAR_FUTURE)
    assert callback in service.ok("callback", "list", *filters)
    shown = service.ok("callback", "show", callback)
    assert build_report(f"{name}-0").decode() in shown
    assert job in shown
    assert "accepted" in service.ok("callback", "replay", callback, "--reason", "to be sure")
    assert "to be sure" in service.ok("callback", "show", callback)


def test_callback_events_lists_what_it_reports(service: Service, name: str) -> None:
    references = [f"{name}-{number}" for number in range(120)]
    reports = [{"id": reference, "state": "SENT"} for reference in references]
    assert service.web.call_back(build_reports(*reports), "acme").status == 200
    callback = service.json("callback", "list", "--provider", "acme", "--limit", 1)["items"][0]["id"]
    shown = service.ok("callback", "show", callback)
    assert f"(the first; all: receiver callback events {callback})" in shown
    assert str(derive_job_id("acme", references[99])) in shown
    assert str(derive_job_id("acme", references[100])) not in shown
    rows = parse_rows(service.ok("callback", "events", callback, "--all"))
    assert [row[4] for row in rows] == ["reference", *references]
    assert rows[1][1:4] == [str(derive_job_id("acme", references[0])), "in_progress", "SENT"]


def test_callback_show_hides_headers_and_body_without_admin(service: Service, name: str) -> None:
    service.create_accepted_job(name)
    service.call_back(name)
    key = service.ok("key", "create", "--name", name, "--scope", "read").strip()
    callback = service.json("callback", "list", "--limit", 1)["items"][0]["id"]
    shown = service.with_key(key).run("callback", "show", callback)
    assert "admin" in shown.stderr
    assert "webhook-signature" not in shown.stdout


def test_callback_body_is_printed_line_by_line(stub: Provider, command: CommandLine) -> None:
    document = {
        "id": JOB_ID,
        "provider": "acme",
        "received_at": "2026-11-23T12:00:05Z",
        "verdict": "refused",
        "method": "POST",
        "target": "/callbacks/acme",
        "headers": {"x-signature": HOSTILE.replace("\n", "")},
        "body": "one\n\x1b[2Jtwo\n",
        "errors": {"token": ["wrong"]},
        "explanation": {"part": "token", "message": "wrong", "causes": ["look \x1b there"]},
        "jobs": [],
        "actions": [],
    }
    stub.script(JOB_ID, build_reply(document))
    output = command.ok("callback", "show", JOB_ID).splitlines()
    assert output[3:6] == ["one", r"\x1b[2Jtwo", ""]
    assert output[-2:] == ["→ It is not proven to be genuine: no job was changed.", r"→ look \x1b there"]
    assert all(line.isprintable() for line in output)
