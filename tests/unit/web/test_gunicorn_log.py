"""gunicorn's log, without what a caller sent."""

import logging

import pytest
from gunicorn.config import Config

from receiver.web.gunicorn_log import EventLogger, redact_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("POST /callbacks/acme/a-token", "POST /callbacks/acme/…"),
        ('"POST http://h/callbacks/acme?sig=x HTTP/1.1" 200 0', '"POST http://h/callbacks/acme/… HTTP/1.1" 200 0'),
        ("GET /v1/requests?limit=1", "GET /v1/requests?limit=1"),
        ("Invalid request from ip=::1: Invalid HTTP Header: 'Authorization x'", "Invalid request from ip=::1"),
        ("Invalid request from ip=1.2.3.4: Invalid HTTP request line: 'x'", "Invalid request from ip=1.2.3.4"),
    ],
)
def test_line_is_logged_without_what_was_sent(line: str, expected: str) -> None:
    assert redact_line(line) == expected


def test_error_log_and_access_log_are_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    config = Config()
    config.set("accesslog", "-")
    config.set("loglevel", "debug")
    log = EventLogger(config)
    try:
        log.debug("%s %s", "POST", "/callbacks/acme/a-token")
        log.access_log.info('"%s"', "POST /callbacks/acme/a-token HTTP/1.1")
        output = "".join(capfd.readouterr())
        assert output.count("/callbacks/acme/…") == 2
        assert "a-token" not in output
    finally:
        for name in ("gunicorn.error", "gunicorn.access"):
            logging.getLogger(name).handlers.clear()
