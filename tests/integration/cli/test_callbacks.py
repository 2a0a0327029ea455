"""`receiver callback`: list, show and replay one."""

from tests.support.command_line import CommandLine
from tests.support.command_service import FAR_FUTURE, Service
from tests.support.http import build_report
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
    assert output[-1] == r"→ look \x1b there"
    assert all(line.isprintable() for line in output)
