"""`receiver request track`."""

from tests.support.command_service import Service, parse_rows
from tests.support.http import build_report


def test_request_track_prints_the_job(service: Service, name: str) -> None:
    assert service.web.call_back(build_report(f"{name}-0"), "acme").status == 200
    printed = service.run("request", "track", "acme", f"{name}-0", "--metadata", "order=7", "--deadline", "2d")
    rows = parse_rows(printed.stdout)
    assert ["status", "succeeded"] in rows
    assert ["reference", f"{name}-0"] in rows
    assert "`receiver job wait " in printed.stderr


def test_request_track_is_repeated_with_its_key(service: Service, name: str) -> None:
    track = ("request", "track", "acme", name, "--idempotency-key", name)
    assert service.json(*track) == service.json(*track)
    assert "Idempotency-Key" in service.fails("request", "track", "acme", f"{name}x", "--idempotency-key", name)


def test_request_track_prints_errors_with_their_fields(service: Service, name: str) -> None:
    output = service.fails("request", "track", "acme", name, "--notify-url", "https://a.b/")
    assert "notify_url: The host a.b is not allowed." in output
